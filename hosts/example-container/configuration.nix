# What this machine is, whatever it runs on.
{
  imports = [ ../../nixos/example-host.nix ];

  networking.hostName = "example-container";

  services.ccorch = {
    enable = true;
    openFirewall = true;
    settings = import ./rig.nix;
  };

  system.stateVersion = "26.05";
}
