# One test of whole machines: nodes that have the module and the shared rig, and a script over the shared prelude.
{
  self,
  pkgs,
  sops-nix,
  ...
}:
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
      # Not `default`: the test driver gives its machines the packages, overlay and all, and refuses `nixpkgs.*`.
      self.nixosModules.ccorch
      sops-nix.nixosModules.sops
      ./machine.nix
      node
    ];
  }) nodes;
  testScript = builtins.readFile ./prelude.py + script;
}
