# One test of whole machines: nodes that have the module and the shared rig, and a script over the shared prelude.
{ self, pkgs, ... }:
{
  name,
  script,
  nodes ? {
    vm = { };
  },
}:
(pkgs.testers.runNixOSTest or pkgs.nixosTest) {
  inherit name;
  nodes = builtins.mapAttrs (_: node: {
    imports = [
      self.nixosModules.default
      ./machine.nix
      node
    ];
  }) nodes;
  testScript = builtins.readFile ./prelude.py + script;
}
