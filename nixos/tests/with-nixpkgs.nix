# The tests of the module as part of a whole NixOS; without sops-nix its options are stood in for.
{
  nixpkgs,
  sopsNix ? null,
}:
import ./module.nix (import ./evaluate.nix { inherit nixpkgs sopsNix; })
