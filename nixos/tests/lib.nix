# Tests of nixos/lib.nix, evaluated without nixpkgs: a list of the cases that are not as expected.
let
  lib = import ../lib.nix;

  rig = {
    rig = "r";
    workspace = {
      root = "/srv/50%";
      user = "loops";
    };
    loops.builder.workdir = "cc-ci";
    hosts.vm = {
      provider = "incus";
      incus.url = "https://b1:8443";
      identity = "~/.ssh/id";
      port = 22;
    };
    lease = {
      remote = "x";
      key = "lease_ed25519";
      heartbeat = "2m";
    };
    secrets = {
      file = "../secrets/r.yaml";
      items.testenv.path = "/srv/r/.testenv";
    };
    proxy = {
      backend = "ssh";
      ssh = "b1";
      identity = "/etc/100%/id";
      listen = "127.0.0.1:1055";
    };
  };

  facts = {
    users = [ "loops" ];
    host = "vm";
    system = "x86_64-linux";
    tailscaleFlags = [ ];
    ports = [ 22 ];
    secrets = true;
    sopsFile = true;
    unfree = [ ];
  };

  problems =
    change: more:
    lib.problems {
      rig = rig // change;
      facts = facts // more;
    };

  # A single sentence that has these words.
  says =
    words: sentences:
    builtins.length sentences == 1 && builtins.match ".*${words}.*" (builtins.head sentences) != null;

  units = lib.units {
    folder = ../../crates/ccorch/units;
    program = "/nix/store/x/bin/ccorch";
  };

  has = words: text: builtins.length (builtins.split words text) > 1;

  cases = {
    "a loop's unit names no store path" =
      has "ExecStart=/run/current-system/sw/bin/ccorch loop-start" units."ccorch-loop@.service"
      && !(has "/nix/store" units."ccorch-loop@.service");
    "a daemon's start names the program itself, so that an upgrade restarts it" =
      has "ExecStart=/nix/store/x/bin/ccorch supervise"
        units."ccorch-supervisor.service";
    "a condition outlives its generation" =
      has "ExecCondition=/run/current-system/sw/bin/ccorch proxy wanted" units."ccorch-proxy.service"
      && has "ExecStart=/nix/store/x/bin/ccorch proxy run" units."ccorch-proxy.service";
    "no unit names the path of other systems" =
      !(builtins.any (has lib.installed) (builtins.attrValues units));
    "drop-ins escape specifiers" =
      lib.toText (lib.dropIns rig)."ccorch-loop@.service" == ''
        [Unit]
        RequiresMountsFor=/srv/50%%
        Wants=ccorch-secrets.service

        [Service]
        User=loops
      '';
    "a heartbeat clears the unit's own" =
      lib.toText (lib.dropIns rig)."ccorch-lease.timer" == ''
        [Timer]
        OnActiveSec=
        OnActiveSec=120
        OnUnitInactiveSec=120
      '';
    "the proxy gets its key from systemd" =
      (lib.dropIns rig)."ccorch-proxy.service".Service.LoadCredential == "identity:/etc/100%%/id";
    "without a lease and a key there is no drop-in for them" =
      builtins.attrNames (
        lib.dropIns {
          inherit (rig) workspace;
        }
      ) == [
        "ccorch-loop@.service"
        "ccorch-resume.service"
        "ccorch-supervisor.service"
      ];
    "durations" =
      map lib.seconds [
        7
        "7s"
        "5m"
        "1h30m"
        "2d 1s"
      ] == [
        7
        7
        300
        5400
        172801
      ];
    "a wrong duration is refused" = !(builtins.tryEval (lib.seconds "soon")).success;
    "the operator's own things stay off the host" =
      (lib.hostRig rig).hosts.vm == {
        ssh = "root@vm";
        port = 22;
      };
    "the lease's key is where the host has it" =
      (lib.hostRig rig).lease == {
        remote = "x";
        heartbeat = "2m";
        identity = "/etc/ccorch/lease_key";
      };
    "the sops file lies beside the rig" = (lib.hostRig rig).secrets.file == "secrets/r.yaml";
    "items become sops secrets of the loops' user" =
      lib.sopsSecrets {
        items.testenv = {
          path = "/srv/r/.testenv";
          key = null;
          restartUnits = [ "x.service" ];
        };
        file = "r.yaml";
        user = "loops";
      } == {
        testenv = {
          sopsFile = "r.yaml";
          key = "testenv";
          mode = "0600";
          owner = "loops";
          restartUnits = [ "x.service" ];
          path = "/srv/r/.testenv";
        };
      };
    "an item without a path lies with the others" =
      lib.secretPaths {
        a.path = null;
        b.path = "/x";
      } == [
        "/run/secrets/a"
        "/x"
      ];
    "ssh goes through the proxy" =
      lib.sshConfig { b1.user = "ci"; } == ''
        Host b1
            User ci
            ProxyCommand /run/current-system/sw/bin/ccorch connect %h %p
      '';
    "what is not set is left out" =
      lib.given {
        a = null;
        b = [ { c = null; } ];
      } == {
        b = [ { } ];
      };
    "a good rig has no problem" = problems { } { } == [ ];
    "unknown user" = says "users.users.loops" (problems { } { users = [ ]; });
    "relative workspace" = says "not an absolute path" (
      problems {
        workspace = rig.workspace // {
          root = "srv";
        };
      } { }
    );
    "loop outside the workspace" = says "`bad` works in `../x`" (
      problems { loops.bad.workdir = "../x"; } { }
    );
    "a folder named with two dots in it is no way out" =
      problems { loops.fine.workdir = "a..b/c"; } { } == [ ];
    "another machine" = says "the rig does not know" (problems { } { host = "other"; });
    "a port of tailscale's" = says "services.tailscale" (
      problems { } { tailscaleFlags = [ "--socks5-server=localhost:1055" ]; }
    );
    "another port of tailscale's" =
      problems { } { tailscaleFlags = [ "--socks5-server=localhost:1056" ]; } == [ ];
    "a port of sshd's" = says "sshd" (problems { } { ports = [ 1055 ]; });
    "no sops file" = says "services.ccorch.secrets.file" (problems { } { sopsFile = false; });
    "another system" = says "not made for riscv64-linux" (problems { } { system = "riscv64-linux"; });
    "unfree agent" = says "claude-code is unfree" (problems { } { unfree = [ "claude-code" ]; });
  };
in
{
  count = builtins.length (builtins.attrNames cases);
  failed = builtins.filter (name: !cases.${name}) (builtins.attrNames cases);
}
