# The scripts of the tests of whole machines, by check: nothing else of them is forced.
let
  pkgs = {
    testers.runNixOSTest = test: test;
    lib = { };
  };
  test =
    file:
    import (../../checks + "/${file}") {
      inherit pkgs;
      self = { };
    };
  text = file: builtins.readFile (../../checks + "/${file}");
  isTest =
    file:
    builtins.match ".*import ./lib inputs.*" (builtins.replaceStrings [ "\n" ] [ " " ] (text file))
    != null;
  files = builtins.filter (file: builtins.match ".*\\.nix" file != null && isTest file) (
    builtins.attrNames (builtins.readDir ../../checks)
  );
in
builtins.listToAttrs (
  map (file: {
    name = file;
    value = (test file).testScript;
  }) files
)
