# The module as part of a whole NixOS: assertions fire, defaults render, and systemd takes every unit.
{ pkgs, sops-nix, ... }:
let
  inherit (pkgs) lib;
  result = import ../nixos/tests/with-nixpkgs.nix {
    nixpkgs = pkgs.path;
    sopsNix = sops-nix;
    packages = { inherit (pkgs) ccorch ccorch-agent-stub; };
    inherit (pkgs.stdenv.hostPlatform) system;
  };
  plain = import ../nixos/tests/lib.nix;
  write = name: text: ''
    mkdir -p units/${name}.d
    cat > units/${name}.d/overrides.conf <<'END_OF_UNIT'
    ${text}END_OF_UNIT
  '';
in
assert lib.assertMsg (plain.failed == [ ]) "nixos/tests/lib.nix: ${toString plain.failed}";
assert lib.assertMsg (result.failed == [ ]) "nixos/tests/module.nix: ${toString result.failed}";
# What is rendered below names the package, which has to be one that can be built.
assert lib.assertMsg (result.package == "${pkgs.ccorch}") "evaluated with ${result.package}";
pkgs.runCommand "ccorch-module-eval" { nativeBuildInputs = [ pkgs.systemd ]; } ''
  cp -r ${pkgs.ccorch}/lib/systemd/system units
  chmod -R +w units
  # Not in the sandbox.
  sed -i 's|/run/current-system/sw/bin/ccorch|${pkgs.ccorch}/bin/ccorch|' units/*.service
  ${lib.concatStrings (lib.mapAttrsToList write result.dropIns)}
  SYSTEMD_UNIT_PATH=$PWD/units:${pkgs.systemd}/example/systemd/system \
    systemd-analyze verify --man=no --recursive-errors=no units/ccorch*.service units/ccorch.target 2>&1 | tee said
  if grep units/ said; then exit 1; fi
  touch $out
''
