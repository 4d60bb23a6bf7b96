# An Incus VM: its image, serial console and guest agent. The instance needs `security.secureboot=false`.
{ modulesPath, ... }:
{
  imports = [ (modulesPath + "/virtualisation/incus-virtual-machine.nix") ];
}
