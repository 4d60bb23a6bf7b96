# Every machine of every test of whole machines, evaluated with `builtins` alone and the flake's own modules, as NixOS's
# test driver would: there the packages are given, and a module that sets `nixpkgs.*` is refused.
let
  inherit (builtins) attrNames attrValues concatMap;
  bare = import ./bare.nix;
  inherit (bare) lib;
  standIns = import ./stand-ins.nix { inherit lib; };
  checks = import ./checks.nix;
  sops-nix.nixosModules.sops = standIns.sops;
  self = (import ../../flake.nix).outputs {
    inherit self sops-nix;
    nixpkgs = {
      inherit lib;
      outPath = ../..;
    };
  };
  pkgs = checks.packages standIns.pkgs lib;

  # nixos/modules/misc/nixpkgs/read-only.nix
  given = lib.genAttrs [
    "config"
    "overlays"
    "hostPlatform"
  ];
  readOnly = {
    options.nixpkgs = given (
      _:
      lib.mkOption {
        readOnly = true;
      }
    );
    config.nixpkgs = given (_: "of the packages that are given");
  };

  works =
    node:
    let
      config = bare.evaluate { inherit pkgs; } [
        standIns.module
        readOnly
        node
      ];
      look = with config; [
        nixpkgs
        assertions
        environment.etc
        systemd.services
        services.ccorch.rendered
      ];
    in
    builtins.deepSeq look (builtins.all (one: one.assertion) config.assertions);

  nodes =
    file:
    let
      test = checks.test { inherit self pkgs sops-nix; } file;
      named = name: {
        name = "${file}: ${name}";
        value = works test.nodes.${name};
      };
    in
    map named (attrNames test.nodes);
  cases = builtins.listToAttrs (concatMap nodes checks.files);
in
{
  count = builtins.length (attrValues cases);
  failed = builtins.filter (name: !cases.${name}) (attrNames cases);
}
