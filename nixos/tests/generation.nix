# A machine of one of the tests of whole machines as data, to be put on a system that is no NixOS: what the module makes
# of it, and the test's own script.
{
  check,
  # Stands for the keys that nixpkgs has for its tests.
  publicKey,
  nixpkgs ? null,
  nixpkgsLib ? null,
  sopsNix ? null,
}:
let
  tests = import ./evaluate.nix { inherit nixpkgs nixpkgsLib sopsNix; };
  inherit (tests) lib;
  own = import ../lib.nix;
  standIns = import ./stand-ins.nix { inherit lib; };
  privateKey = "/the/private/key";
  checks = import ./checks.nix;
  # `evaluate` brings both modules.
  test = checks.test {
    self.nixosModules.ccorch = { };
    sops-nix.nixosModules.sops = { };
    pkgs = checks.packages standIns.pkgs lib;
    sshKeys = {
      snakeOilPublicKey = publicKey;
      snakeOilPrivateKey = privateKey;
    };
  } "${check}.nix";

  # Units of the module and of the test; all else is the system's own.
  ours = name: lib.hasPrefix "ccorch" name || lib.hasPrefix "test-" name;
  packaged = name: builtins.pathExists (../../crates/ccorch/units + "/${name}");
  some = lib.filterAttrs (name: one: ours name && (one.enable or true));

  # The programs that units of these services run, by path. They would be built, each from a text that is known.
  scripts =
    config: texts:
    let
      program =
        name: text:
        let
          found = builtins.match ".*\nExecStart=(/nix/store/[^ \n]+).*" texts."${name}.service";
        in
        lib.nameValuePair (builtins.unsafeDiscardStringContext (builtins.head found)) text;
      services = lib.filterAttrs (_: one: one ? script && one.script != "") (
        some config.systemd.services
      );
    in
    lib.mapAttrs' program (
      lib.mapAttrs (_: one: one.script) services
      // lib.optionalAttrs (config.services.ccorch.secrets.items != { }) {
        ccorch-secrets = own.lookForSecrets {
          inherit (config.services.ccorch.secrets) items file ageKeyFile;
        };
      }
    );

  generation =
    config:
    let
      texts = some (import ./rendering.nix { inherit lib; } config);
      wanted =
        kind: set:
        lib.mapAttrs' (name: one: lib.nameValuePair "${name}.${kind}" (one.wantedBy or [ ])) (some set);
      cfg = config.services.ccorch;
    in
    {
      # What the package brings itself gets a drop-in.
      dropIns = lib.filterAttrs (name: text: packaged name && text != "") texts;
      units = lib.filterAttrs (name: _: !packaged name) texts;
      wantedBy = wanted "service" config.systemd.services // wanted "target" config.systemd.targets;
      scripts = scripts config texts;
      rig = cfg.rendered;
      host = config.environment.etc."ccorch/host".text;
      knownHosts = config.environment.etc."ccorch/known_hosts".text;
      keys = lib.mapAttrs (_: file: {
        inherit (file) mode;
        user = file.user or "root";
      }) (lib.filterAttrs (_: file: file.source or null == privateKey) config.environment.etc);
      # Files of the test's own.
      files = lib.mapAttrs (_: file: file.text) (
        lib.filterAttrs (
          name: file: lib.hasPrefix "test-" name && file.text or null != null
        ) config.environment.etc
      );
      users = builtins.attrNames (
        lib.filterAttrs (_: user: user.isNormalUser or false) config.users.users
      );
      ssh = config.programs.ssh.extraConfig;
      sshd = config.services.openssh.extraConfig;
      authorized = lib.filterAttrs (_: keys: keys != [ ]) (
        lib.mapAttrs (_: user: user.openssh.authorizedKeys.keys or [ ]) config.users.users
      );
      tmpfiles = builtins.filter (
        rule: lib.hasInfix "ccorch" rule || lib.hasInfix cfg.rendered.workspace.root rule
      ) config.systemd.tmpfiles.rules;
      package = "${cfg.package}";
      # Of what is on the system's path, what Debian has in packages of these names.
      programs = builtins.filter (
        name:
        builtins.elem name [
          "git"
          "rsync"
        ]
      ) (map lib.getName config.environment.systemPackages);
      agents = map (agent: "${agent}") cfg.agents;
    };

  machine =
    node:
    let
      modules = [ node ];
      config = tests.evaluate modules;
      # Later trees of nixpkgs have evaluated it already.
      special =
        _: one:
        generation (
          if one.configuration ? systemd.units then
            one.configuration
          else
            tests.evaluate (modules ++ [ one.configuration ])
        );
    in
    generation config // { specialisations = lib.mapAttrs special config.specialisation; };
in
{
  inherit (tests) how;
  machines = lib.mapAttrs (_: machine) test.nodes;
  script = test.testScript;
}
