# The tests of whole machines: their files, and one of them as what it gives NixOS's test driver.
let
  checks = ../../checks;
  text = file: builtins.readFile (checks + "/${file}");
  isTest =
    file:
    builtins.match ".*import ./lib inputs.*" (builtins.replaceStrings [ "\n" ] [ " " ] (text file))
    != null;
in
{
  files = builtins.filter (file: builtins.match ".*\\.nix" file != null && isTest file) (
    builtins.attrNames (builtins.readDir checks)
  );

  # Packages whose test driver gives back what it is given.
  packages =
    pkgs: lib:
    pkgs
    // {
      inherit lib;
      testers.runNixOSTest = test: test;
    };

  # `inputs` as the flake gives them; keys of one's own stand for those that nixpkgs has for its tests.
  test =
    inputs: file:
    import (checks + "/${file}") (
      {
        sshKeys = {
          snakeOilPublicKey = "ssh-ed25519 AAAA of a test";
          snakeOilPrivateKey = "/the/private/key";
        };
      }
      // inputs
    );
}
