# Every host and the template's, evaluated with `builtins` alone and stand-ins for the modules of their images.
{
  # Whether templates/rig/secrets/rig.yaml is there.
  secrets,
}:
let
  bare = import ./bare.nix;
  inherit (bare) lib;
  standIns = import ./stand-ins.nix { inherit lib; };
  hosts = ../../hosts;
  any = lib.mkOption { default = { }; };
  # Options of NixOS that hosts set and the module does not.
  around.options = {
    networking.useHostResolvConf = any;
    networking.useNetworkd = lib.mkOption { default = false; };
    nix.gc = any;
    nix.settings = any;
    services.cloud-init = any;
    services.journald.extraConfig = any;
    services.openssh.settings = any;
    time.timeZone = any;
    users.allowNoPasswordLogin = any;
    users.mutableUsers = any;
    zramSwap.enable = any;
  };
  evaluate =
    folder:
    bare.evaluate
      {
        modulesPath = ./inputs/nixpkgs/nixos/modules;
        pkgs = standIns.pkgs // {
          claude-code = standIns.pkgs.ccorch-agent-stub;
        };
      }
      [
        ../.
        standIns.module
        standIns.sops
        around
        folder
      ];
  machines = builtins.mapAttrs (name: _: evaluate (hosts + "/${name}")) (builtins.readDir hosts);
  template = evaluate ../../templates/rig/host.nix;

  # True, or an error that says what is wrong.
  well =
    config:
    let
      failed = map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions);
    in
    if failed == [ ] then true else throw (builtins.concatStringsSep "\n" failed);
  forAll = f: builtins.all f (builtins.attrValues machines);

  cases = {
    "every host is well" = forAll well;
    "every host's units can be rendered" = forAll (
      config: builtins.deepSeq (import ./rendering.nix { inherit lib; } config) true
    );
    "hosts have one manager of their network" = forAll (config: config.networking.useNetworkd);
    "a container resolves by itself" = !machines.example-container.networking.useHostResolvConf;
    "no console lets root in without a password" =
      forAll (config: config.users.users.root.initialHashedPassword == "!")
      && template.users.users.root.initialHashedPassword == "!";
    "the template is well" = well template;
    "the template has secrets when their file is there" =
      template.systemd.services ? ccorch-secrets == secrets && (template.sops.secrets != { }) == secrets;
  };
in
{
  count = builtins.length (builtins.attrNames cases);
  failed = builtins.filter (name: !cases.${name}) (builtins.attrNames cases);
}
