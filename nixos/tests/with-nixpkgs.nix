# The tests of the module as part of a whole NixOS; without sops-nix its options are stood in for. Packages that can be
# built are given by whoever builds what comes out.
{
  nixpkgs,
  sopsNix ? null,
  packages ? null,
  system ? "x86_64-linux",
}:
import ./module.nix (
  import ./evaluate.nix {
    inherit
      nixpkgs
      sopsNix
      packages
      system
      ;
  }
)
