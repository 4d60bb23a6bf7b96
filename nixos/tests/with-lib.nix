# The tests of the module with nixpkgs' lib alone; sops-nix's own module is taken where there is one.
{
  nixpkgsLib,
  sopsNix ? null,
}:
let
  lib = import nixpkgsLib;
  standIns = import ./stand-ins.nix { inherit lib; };
in
import ./module.nix {
  inherit lib;
  evaluate =
    modules:
    (lib.evalModules {
      modules = [
        ../.
        standIns.module
        (if sopsNix == null then standIns.sops else standIns.aroundSops)
        { _module.args = { inherit (standIns) pkgs; }; }
      ]
      ++ lib.optional (sopsNix != null) (sopsNix + "/modules/sops")
      ++ modules;
    }).config;
}
