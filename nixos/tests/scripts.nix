# The scripts of the tests of whole machines, by check: nothing else of them is forced.
let
  checks = import ./checks.nix;
  inputs = {
    self = { };
    sops-nix = { };
    pkgs = checks.packages { } { };
  };
in
builtins.listToAttrs (
  map (file: {
    name = file;
    value = (checks.test inputs file).testScript;
  }) checks.files
)
