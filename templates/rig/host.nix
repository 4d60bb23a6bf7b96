# The machine the rig lives on.
{
  lib,
  modulesPath,
  pkgs,
  ...
}:
{
  imports = [ (modulesPath + "/virtualisation/incus-virtual-machine.nix") ];

  networking.hostName = "vm";

  services.openssh = {
    enable = true;
    settings.PasswordAuthentication = false;
  };
  users.users.root.openssh.authorizedKeys.keys = [
    "ssh-ed25519 AAAA... put your own public key here"
  ];
  # The image lets root in at the console with an empty password.
  users.users.root.initialHashedPassword = lib.mkForce "!";
  users.users.loops.isNormalUser = true;

  services.ccorch = {
    enable = true;
    openFirewall = true;
    agents = [ pkgs.claude-code ];
    settings = import ./rig.nix;
    # Git hosts the lease and the loops use: `ssh-keyscan HOST`, compared with what the host publishes.
    knownHosts = "";
  }
  // lib.optionalAttrs (builtins.pathExists ./secrets/rig.yaml) {
    secrets = {
      file = ./secrets/rig.yaml;
      items = {
        testenv.path = "/srv/rig/.testenv";
        lease-key.owner = "root";
      };
    };
  };

  nixpkgs.config.allowUnfreePredicate = package: lib.getName package == "claude-code";

  system.stateVersion = "26.05";
}
