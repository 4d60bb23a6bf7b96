# All checks of the flake: every file here is one, called with `{ self, pkgs, sops-nix }`; lib/ is what they share.
inputs:
let
  files = builtins.attrNames (builtins.readDir ./.);
  checks = builtins.filter (
    file: builtins.match ".*\\.nix" file != null && file != "default.nix"
  ) files;
  name = file: builtins.head (builtins.match "(.*)\\.nix" file);
in
builtins.listToAttrs (
  map (file: {
    name = name file;
    value = import (./. + "/${file}") inputs;
  }) checks
)
