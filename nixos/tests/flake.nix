# Tests of the flake's outputs, without any input: nothing is forced but names.
let
  lib = {
    genAttrs =
      names: f:
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = f name;
        }) names
      );
    optionalAttrs = condition: set: if condition then set else { };
    nixosSystem = { modules }: { inherit modules; };
  };
  flake = import ../../flake.nix;
  self = flake.outputs {
    inherit self;
    nixpkgs = {
      inherit lib;
      outPath = ../..;
    };
    sops-nix.nixosModules.sops = { };
  };
  names = builtins.attrNames;
  both =
    set:
    names set == [
      "aarch64-linux"
      "x86_64-linux"
    ];
  has = wanted: set: builtins.all (name: set ? ${name}) wanted;

  cases = {
    "per system" = builtins.all (output: both self.${output}) [
      "apps"
      "checks"
      "devShells"
      "formatter"
      "packages"
    ];
    "packages for both" = builtins.all (has [
      "ccorch"
      "default"
    ]) (builtins.attrValues self.packages);
    "an image where it can be built" = has [ "incus-image" ] self.packages.x86_64-linux;
    "modules" = has [ "ccorch" "default" ] self.nixosModules;
    "an overlay" = has [ "default" ] self.overlays;
    "every host has a configuration" =
      names self.nixosConfigurations == names (builtins.readDir ../../hosts);
    "every check" = has [
      "cutover"
      "clippy"
      "formatting"
      "module-eval"
      "proxy"
      "reboot"
      "secrets"
      "supervisor"
      "switch"
      "units"
    ] self.checks.x86_64-linux;
    "a template that is there" = builtins.pathExists (self.templates.default.path + "/flake.nix");
    "sops-nix follows our nixpkgs" = flake.inputs.sops-nix.inputs.nixpkgs.follows == "nixpkgs";
  };
in
{
  count = builtins.length (names cases);
  failed = builtins.filter (name: !cases.${name}) (names cases);
}
