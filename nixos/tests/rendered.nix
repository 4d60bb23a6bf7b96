# What nixos/lib.nix makes of a rig, for a comparison with what the program makes of it.
{ rig }:
let
  lib = import ../lib.nix;
  data = builtins.fromJSON rig;
in
{
  dropIns = builtins.mapAttrs (_: lib.toText) (lib.dropIns data);
  hostRig = lib.hostRig data;
}
