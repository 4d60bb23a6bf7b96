# The tests of the module as part of a whole NixOS; without sops-nix its options are stood in for.
{
  nixpkgs,
  sopsNix ? null,
}:
let
  lib = import (nixpkgs + "/lib");
  standIns = import ./stand-ins.nix { inherit lib; };
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
      };
  # Trees of before September 2020 have no `pkgs.formats`.
  old = _: prev: lib.optionalAttrs (!(prev ? formats)) { inherit (standIns.pkgs) formats; };
in
import ./module.nix {
  inherit lib;
  evaluate =
    modules:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = "x86_64-linux";
      modules = [
        ../.
        (if sopsNix == null then standIns.sops else sopsNix + "/modules/sops")
        # The test is about the module; the package has its own.
        {
          services.ccorch.package = lib.mkDefault standIns.pkgs.ccorch;
          nixpkgs.overlays = [ old ];
        }
        oldOptions
      ]
      ++ modules;
    }).config;
}
