# Packages by the names that this project uses, none of which is built.
{
  overlays,
  system ? "x86_64-linux",
  ...
}:
let
  lib = import ./lib;
  drv = import ./drv.nix;
  base =
    lib.genAttrs [
      "age"
      "cargo"
      "clippy"
      "coreutils"
      "deadnix"
      "nixfmt"
      "nixfmt-tree"
      "python3"
      "rust-analyzer"
      "rustfmt"
      "sops"
      "ssh-to-age"
      "systemd"
    ] drv
    // {
      inherit lib;
      path = ./.;
      stdenv.hostPlatform = { inherit system; };
      callPackage = file: _: drv (builtins.baseNameOf file);
      mkShell = _: drv "shell";
      runCommand =
        name: _: text:
        builtins.seq text (drv name);
      testers.runNixOSTest = test: drv test.name;
    };
in
builtins.foldl' (pkgs: overlay: pkgs // overlay pkgs pkgs) base overlays
