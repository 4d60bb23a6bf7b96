# A configuration of modules, with stand-ins for NixOS's options.
{ modules, ... }:
let
  bare = import ../../../../bare.nix;
  standIns = import ../../../../stand-ins.nix { inherit (bare) lib; };
in
{
  config = bare.evaluate { inherit (standIns) pkgs; } (
    modules
    ++ [
      standIns.module
      { options.nixpkgs.overlays = bare.lib.mkOption { default = [ ]; }; }
    ]
  );
}
