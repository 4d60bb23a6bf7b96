# Every file is formatted, and no binding is unused.
{ self, pkgs, ... }:
pkgs.runCommand "ccorch-formatting"
  {
    nativeBuildInputs = [
      pkgs.cargo
      pkgs.deadnix
      pkgs.nixfmt
      pkgs.rustfmt
    ];
  }
  ''
    cd ${self}
    find . -name '*.nix' -exec nixfmt --check {} +
    deadnix --fail .
    cargo fmt --check
    touch $out
  ''
