# A machine with a whole rig whose agents are the project's stand-in; git remotes lie on the machine itself.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  home = "/home/loops";
  trusted.hasTrustDialogAccepted = true;
  json = name: value: pkgs.writeText name (builtins.toJSON value);
  known = json "claude.json" {
    hasCompletedOnboarding = true;
    bypassPermissionsModeAccepted = true;
    projects = lib.genAttrs [
      "/srv/rig"
      "/srv/rig/work"
      "/srv/rig/adversary"
    ] (_: trusted);
  };
  login = json "credentials.json" { note = "a test: no account stands behind this"; };
  pace = json "stub.json" {
    interval_ms = 1000;
    work = true;
  };
  worker = workdir: {
    agent = "claude";
    inherit workdir;
    prompt = "work/prompt.md";
  };
in
{
  networking.hostName = lib.mkDefault "vm";
  users.users.loops.isNormalUser = true;
  environment.systemPackages = [
    pkgs.git
    pkgs.jq
  ];
  virtualisation.memorySize = 1536;
  system.switch.enable = true;

  services.ccorch = {
    enable = true;
    agents = [ pkgs.ccorch-agent-stub ];
    settings = {
      rig = "test";
      workspace = {
        root = "/srv/rig";
        repositories = lib.genAttrs [ "work" "adversary" ] (_: {
          url = "/srv/git/work.git";
          branch = "main";
        });
      };
      phases =
        map
          (id: {
            inherit id;
            plan = "work/plan${id}.md";
          })
          [
            "1"
            "2"
          ];
      loops = {
        builder = worker "work";
        adversary = worker "adversary";
        orchestrator = {
          agent = "claude";
          workdir = ".";
          role = "orchestrator";
        };
      };
      lease = {
        remote = lib.mkDefault "/srv/git/lease.git";
        heartbeat = "5s";
      };
      hosts = {
        vm.ssh = "root@vm";
        other.ssh = "root@other";
      };
    };
  };

  # What a person brings to a fresh machine; the second boot finds it there.
  systemd.services.test-workspace = {
    wantedBy = [ "multi-user.target" ];
    before = [ "ccorch.target" ];
    path = [
      pkgs.git
      pkgs.util-linux
    ];
    unitConfig.ConditionPathExists = "!/srv/git/lease.git";
    serviceConfig.Type = "oneshot";
    script = ''
      git init --quiet --bare /srv/git/lease.git
      install -d -o loops -g users /srv/rig /srv/git/work.git ${home}/.claude
      install -m 600 -o loops -g users ${known} ${home}/.claude.json
      install -m 600 -o loops -g users ${login} ${home}/.claude/.credentials.json
      install -m 600 -o loops -g users ${pace} ${home}/.claude/stub.json
      runuser -u loops -- sh -eu <<'AS_LOOPS'
      export HOME=${home}
      git config --global user.name loops
      git config --global user.email loops@example.org
      git config --global init.defaultBranch main
      git init --quiet --bare /srv/git/work.git
      git clone --quiet /srv/git/work.git /srv/rig/work
      cd /srv/rig/work
      for file in prompt plan1 plan2; do echo "# $file" > $file.md; done
      git add -A
      git commit --quiet -m 'the first commit'
      git push --quiet origin HEAD:main
      git clone --quiet /srv/git/work.git /srv/rig/adversary
      AS_LOOPS
      CCORCH_RIG=/etc/ccorch/rig.json ${config.services.ccorch.package}/bin/ccorch lease init --holder vm
    '';
  };
}
