# The rig of every host and of the template, as it would lie on a machine.
let
  lib = import ../lib.nix;
  hosts = ../../hosts;
  rig = file: lib.hostRig (import file);
in
{
  hosts = builtins.mapAttrs (name: _: rig (hosts + "/${name}/rig.nix")) (builtins.readDir hosts);
  template = rig ../../templates/rig/rig.nix;
}
