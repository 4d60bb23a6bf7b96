# A container of Incus or LXC.
{ modulesPath, ... }:
{
  imports = [ (modulesPath + "/virtualisation/lxc-container.nix") ];
}
