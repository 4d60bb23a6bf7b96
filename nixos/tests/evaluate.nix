# A configuration of a list of modules: as part of a whole NixOS where nixpkgs is at hand; with its lib alone and
# stand-ins for the options; else with a stand-in for that lib too, so of `builtins` alone.
{
  nixpkgs ? null,
  nixpkgsLib ? null,
  sopsNix ? null,
  # Packages of this project, where they can be built.
  packages ? null,
  system ? "x86_64-linux",
}:
let
  bare = import ./bare.nix;
  lib =
    if nixpkgs != null then
      import (nixpkgs + "/lib")
    else if nixpkgsLib != null then
      import nixpkgsLib
    else
      bare.lib;
  standIns = import ./stand-ins.nix { inherit lib system; };
  sops = if sopsNix == null then standIns.sops else sopsNix + "/modules/sops";

  # Trees of before 2022 have no such option.
  oldOptions =
    lib.optionalAttrs
      (
        !(lib.hasInfix "extraDaemonFlags" (
          builtins.readFile (nixpkgs + "/nixos/modules/services/networking/tailscale.nix")
        ))
      )
      {
        options.services.tailscale.extraDaemonFlags = lib.mkOption { default = [ ]; };
        options.system.switch.enable = lib.mkOption { default = true; };
      };
  # Trees of before September 2020 have no `pkgs.formats`.
  overlay =
    _: prev:
    (if packages != null then packages else { inherit (standIns.pkgs) ccorch ccorch-agent-stub; })
    // {
      util-linux = prev.util-linux or prev.utillinux;
    }
    // lib.optionalAttrs (!(prev ? formats)) { inherit (standIns.pkgs) formats; };

  whole =
    modules:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      inherit system;
      modules = [
        ../.
        sops
        # The tests are about the module; the package has its own.
        { nixpkgs.overlays = [ overlay ]; }
        # Of the virtual machines that tests run in.
        { options.virtualisation.memorySize = lib.mkOption { default = 0; }; }
        oldOptions
      ]
      ++ modules;
    }).config;

  withLib =
    modules:
    (lib.evalModules {
      modules = [
        ../.
        standIns.module
        sops
        { _module.args = { inherit (standIns) pkgs; }; }
      ]
      ++ lib.optional (sopsNix != null) standIns.aroundSops
      ++ modules;
    }).config;

  alone =
    modules:
    bare.evaluate { inherit (standIns) pkgs; } (
      [
        ../.
        standIns.module
        standIns.sops
      ]
      ++ modules
    );
in
{
  inherit lib;
  typed = lib.types.bool != null;
  how =
    if nixpkgs != null then
      "a whole NixOS of nixpkgs ${lib.version or "?"}"
    else if nixpkgsLib != null then
      "nixpkgs' lib and stand-ins for options"
    else
      "builtins alone and stand-ins for options";
  evaluate =
    if nixpkgs != null then
      whole
    else if nixpkgsLib != null then
      withLib
    else
      alone;
}
