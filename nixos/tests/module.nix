# Tests of the module over `evaluate`, which makes a configuration of a list of modules; see evaluate.nix.
{
  lib,
  evaluate,
  how,
  # Whether the options' types are checked.
  typed,
}:
let
  rig = import ./rig.nix;
  whole = evaluate [ rig ];
  unit = name: whole.systemd.services.${name};

  # The sentences of the assertions that fail.
  sentences =
    change:
    map (one: one.message) (
      builtins.filter (one: !one.assertion && lib.hasInfix "ccorch" one.message)
        (evaluate [
          rig
          change
        ]).assertions
    );
  says =
    words: change:
    let
      found = sentences change;
    in
    builtins.length found == 1 && lib.hasInfix words (builtins.head found);
  refused =
    change:
    !(builtins.tryEval (
      builtins.deepSeq
        (evaluate [
          rig
          change
        ]).services.ccorch.rendered
        true
    )).success;
  force = value: { services.ccorch = value; };

  # As nixpkgs has a package of a licence that is not free: what would build it can be had, or not.
  unfree = drvPath: {
    type = "derivation";
    name = "some-agent-1";
    pname = "some-agent";
    outPath = "/nix/store/00000000000000000000000000000000-some-agent-1";
    meta.unfree = true;
    inherit drvPath;
  };

  cases = {
    "a whole rig has no problem" = sentences { } == [ ];
    "disabled, the module does nothing" =
      let
        none = evaluate [ { } ];
      in
      !(none.environment.etc ? "ccorch/rig.json") && !(none.systemd.services ? ccorch-supervisor);
    "the units come from the package" =
      builtins.elem whole.services.ccorch.package whole.systemd.packages;
    "the target is pulled in at boot" =
      whole.systemd.targets.ccorch.wantedBy == [ "multi-user.target" ];
    "a switch never touches a loop" = !(unit "ccorch-loop@").restartIfChanged;
    "a loop runs as its user" = (unit "ccorch-loop@").serviceConfig.User == "loops";
    "limits of the loops are added" = (unit "ccorch-loop@").serviceConfig.MemoryMax == "1G";
    "the supervisor waits for secrets and proxy" =
      builtins.all (name: builtins.elem name (unit "ccorch-supervisor").after)
        [
          "ccorch-secrets.service"
          "ccorch-proxy.service"
        ];
    "the proxy waits for secrets and asks for them" =
      let
        proxy = unit "ccorch-proxy";
      in
      builtins.elem "ccorch-secrets.service" proxy.wants
      && builtins.elem "ccorch-secrets.service" proxy.after;
    "the lease waits for its key and for the proxy" =
      let
        lease = unit "ccorch-lease";
      in
      builtins.elem "ccorch-secrets.service" lease.wants
      && builtins.all (name: builtins.elem name lease.after) [
        "ccorch-secrets.service"
        "ccorch-proxy.service"
      ];
    "a standby starts nothing and takes no writes over reboots" =
      let
        mark = "/var/lib/ccorch/closed";
        held = name: (unit name).unitConfig.ConditionPathExists == "!${mark}";
        keeps = unit "ccorch-standby";
      in
      builtins.all held [
        "ccorch-supervisor"
        "ccorch-proxy"
        "ccorch-confirm"
        "ccorch-resume"
      ]
      && keeps.unitConfig.ConditionPathExists == mark
      && keeps.wantedBy == [ "multi-user.target" ]
      && lib.hasInfix "bind,ro,noexec ${whole.services.ccorch.settings.workspace.root} " keeps.serviceConfig.ExecStart;
    "a changed rig restarts the supervisor" =
      builtins.elem whole.services.ccorch.rigFile (unit "ccorch-supervisor").restartTriggers;
    "the rig's heartbeat is the timer's" =
      whole.systemd.timers.ccorch-lease.timerConfig.OnActiveSec == [
        ""
        30
      ];
    "shorthands are in the rig" =
      whole.services.ccorch.rendered.loops.orchestrator == {
        agent = "claude";
        role = "orchestrator";
        workdir = ".";
        remote_control = "autonomous-orchestrator";
      }
      &&
        whole.services.ccorch.rendered.proxy == {
          backend = "tailscaled";
          hosts = [ "b1.example.ts.net" ];
        };
    "the user is the workspace's" = whole.services.ccorch.rendered.workspace.user == "loops";
    "what is the operator's stays away" = !(whole.services.ccorch.rendered.hosts.vm ? incus);
    "the host knows its name" = whole.environment.etc."ccorch/host".text == "vm\n";
    "secrets are for the loops' user" =
      let
        item = whole.sops.secrets.testenv;
      in
      item.owner == "loops" && item.mode == "0600" && item.path == "/srv/cc-ci/.testenv";
    "the age key is where the rig expects it" =
      whole.sops.age.keyFile == "/var/lib/ccorch-secrets/age.key";
    "ssh reaches machines through the proxy" =
      lib.hasInfix "Host b1\n    HostName b1.example.ts.net\n    User ci\n    ProxyCommand" whole.programs.ssh.extraConfig
      && lib.hasInfix "Host b1.example.ts.net\n    ProxyCommand" whole.programs.ssh.extraConfig;
    "entries for machines take no line of others' in" =
      let
        text =
          (evaluate [
            rig
            { programs.ssh.extraConfig = "IdentityFile /of/everybody"; }
          ]).programs.ssh.extraConfig;
      in
      builtins.match "(.*\n)?IdentityFile /of/everybody\n(.*\n)?Host b1\n.*" text != null;
    "the firewall stays closed" =
      let
        open =
          module:
          (evaluate [
            rig
            module
            {
              services.openssh.enable = lib.mkForce true;
              services.openssh.ports = [ 2022 ];
            }
          ]).networking.firewall.allowedTCPPorts;
      in
      # sshd's own module opens its ports by itself, so look for what this one does.
      !whole.services.ccorch.openFirewall
      && builtins.elem 2022 (open {
        services.ccorch.openFirewall = true;
      });
    "the loops see the programs of the system" =
      # A list, or in older trees the whole path as text.
      lib.hasInfix "/run/current-system/sw" (toString (unit "ccorch-loop@").path);

    "an undeclared user" = says "users.users.nobody-here" (force {
      user = "nobody-here";
    });
    "a relative workspace" = says "not an absolute path" (force {
      settings.workspace.root = lib.mkForce "srv/x";
    });
    "a loop outside the workspace" = says "outside the workspace" (force {
      settings.loops.bad = {
        agent = "claude";
        workdir = "/etc";
      };
    });
    "a host the rig does not know" = says "services.ccorch.host" (force {
      host = "else";
    });
    "a port of tailscale's" = says "services.tailscale" {
      services.tailscale = {
        enable = true;
        extraDaemonFlags = [ "--socks5-server=127.0.0.1:1055" ];
      };
    };
    "an unfree agent that is refused" = says "is unfree and not allowed" (force {
      agents = [ (unfree (throw "refused")) ];
    });
    "an unfree agent that is allowed, by whatever means" =
      sentences (force {
        agents = [ (unfree "/nix/store/00000000000000000000000000000000-agent.drv") ];
      }) == [ ];
    "no sops file" = says "services.ccorch.secrets.file" (force {
      secrets.file = lib.mkForce null;
    });
    "a sops file that is not there" = says "services.ccorch.secrets.file" (force {
      secrets.file = lib.mkForce ./not-there.yaml;
    });
    "a misspelt option" = refused (force {
      setings = { };
    });
  }
  // lib.optionalAttrs typed {
    "a mode that is none" =
      !(builtins.tryEval (
        builtins.deepSeq
          (evaluate [
            rig
            (force { secrets.items.testenv.mode = "rw"; })
          ]).sops.secrets
          true
      )).success;
    "a wrong backend" = refused (force {
      proxy.backend = lib.mkForce "socks";
    });
  };

  packaged = name: builtins.pathExists (../../crates/ccorch/units + "/${name}");
in
{
  count = builtins.length (builtins.attrNames cases);
  failed = builtins.filter (name: !cases.${name}) (builtins.attrNames cases);

  inherit how;

  # The drop-ins as text, for systemd's own judgement.
  dropIns = lib.filterAttrs (name: _: packaged name) (import ./rendering.nix { inherit lib; } whole);

  # The package that was evaluated with.
  package = "${whole.services.ccorch.package}";

  # The rig as it would lie on the machine.
  rig = whole.services.ccorch.rendered;
}
