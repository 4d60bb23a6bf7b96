# The tests of the module with nixpkgs' lib alone.
{ nixpkgsLib }:
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
        standIns.sops
        { _module.args = { inherit (standIns) pkgs; }; }
      ]
      ++ modules;
    }).config;
}
