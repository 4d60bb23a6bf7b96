# The tests of the module with nixpkgs' lib alone; sops-nix's own module is taken where there is one.
{
  nixpkgsLib,
  sopsNix ? null,
}:
import ./module.nix (import ./evaluate.nix { inherit nixpkgsLib sopsNix; })
