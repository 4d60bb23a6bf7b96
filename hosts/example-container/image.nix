# A container of Incus or LXC.
{ lib, modulesPath, ... }:
{
  imports = [ (modulesPath + "/virtualisation/lxc-container.nix") ];

  # The resolver of systemd-networkd, which a container would have in vain beside its host's.
  networking.useHostResolvConf = lib.mkForce false;
}
