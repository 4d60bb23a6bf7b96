# A configuration of modules, with stand-ins for NixOS's options.
{ modules, system, ... }:
let
  bare = import ../../../../bare.nix;
  standIns = import ../../../../stand-ins.nix {
    inherit (bare) lib;
    inherit system;
  };
  pkgs = builtins.foldl' (all: overlay: all // overlay all all) standIns.pkgs config.nixpkgs.overlays;
  config = bare.evaluate { inherit pkgs; } (
    modules
    ++ [
      standIns.module
      { options.nixpkgs.overlays = bare.lib.mkOption { default = [ ]; }; }
    ]
  );
in
{
  inherit config;
}
