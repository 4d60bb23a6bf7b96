# What every host of the rig has: access by key alone, bounded logs, garbage collection.
{ lib, pkgs, ... }:
{
  services.openssh = {
    enable = true;
    settings = {
      PasswordAuthentication = false;
      KbdInteractiveAuthentication = false;
      PermitRootLogin = "prohibit-password";
    };
  };
  users.mutableUsers = false;
  # The operator's public key comes in through cloud-init; or name it in `users.users.root.openssh.authorizedKeys.keys`.
  users.allowNoPasswordLogin = true;
  services.cloud-init = {
    enable = true;
    network.enable = true;
  };

  # The images set that up; without this the scripts of dhcpcd would do the same a second time.
  networking.useNetworkd = true;
  networking.firewall.enable = true;

  # The images let root in at the console with an empty password.
  users.users.root.initialHashedPassword = lib.mkForce "!";

  users.users.loops = {
    isNormalUser = true;
    description = "the rig's loops";
  };

  environment.systemPackages = with pkgs; [
    git
    jq
    python3
    tmux
  ];

  services.journald.extraConfig = ''
    SystemMaxUse=300M
    RuntimeMaxUse=50M
  '';

  nix.gc = {
    automatic = true;
    dates = "weekly";
    options = "--delete-older-than 14d";
  };
  nix.settings.auto-optimise-store = true;

  time.timeZone = lib.mkDefault "UTC";
}
