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
  known = builtins.toJSON {
    hasCompletedOnboarding = true;
    bypassPermissionsModeAccepted = true;
    projects = lib.genAttrs [
      "/srv/rig"
      "/srv/rig/work"
      "/srv/rig/adversary"
    ] (_: trusted);
  };
  login = builtins.toJSON { note = "a test: no account stands behind this"; };
  pace = builtins.toJSON {
    interval_ms = 1000;
    work = true;
  };
  # Where the sandbox of the lease's unit lets it write.
  arbiter = "/var/lib/ccorch/arbiter.git";
  remote = config.services.ccorch.settings.workspace.repositories.work.url;
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
          url = lib.mkDefault "/srv/git/work.git";
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
        remote = lib.mkDefault arbiter;
        heartbeat = "5s";
      };
      hosts = {
        vm.ssh = "root@vm";
        other.ssh = "root@other";
      };
    };
  };

  # What a person brings to a fresh machine.
  systemd.services.test-home = {
    wantedBy = [ "multi-user.target" ];
    before = [
      "ccorch-supervisor.service"
      "test-workspace.service"
    ];
    path = [
      pkgs.bash
      pkgs.git
      pkgs.util-linux
    ];
    unitConfig.ConditionPathExists = "!${home}/.claude.json";
    serviceConfig.Type = "oneshot";
    script = ''
      set -eu
      install -d -o loops -g users ${home}/.claude
      runuser -u loops -- env HOME=${home} sh -eu <<'AS_LOOPS'
      umask 077
      echo '${login}' > ${home}/.claude/.credentials.json
      echo '${pace}' > ${home}/.claude/stub.json
      umask 022
      git config --global user.name loops
      git config --global user.email loops@example.org
      git config --global init.defaultBranch main
      umask 077
      echo '${known}' > ${home}/.claude.json
      AS_LOOPS
    '';
  };

  # The remotes and the work; the second boot finds them there.
  systemd.services.test-workspace = {
    wantedBy = [ "multi-user.target" ];
    # A target is no barrier for what it wants.
    before = [
      "ccorch-lease.service"
      "ccorch-supervisor.service"
      "ccorch-resume.service"
    ];
    wants = [ "network-online.target" ];
    after = [
      "network-online.target"
      "sshd.service"
    ];
    path = [
      pkgs.bash
      pkgs.git
      pkgs.openssh
      pkgs.util-linux
    ];
    unitConfig.ConditionPathExists = "!${arbiter}";
    serviceConfig.Type = "oneshot";
    script = ''
      set -eu
      install -d -o loops -g users /srv/rig /srv/git/work.git
      runuser -u loops -- env HOME=${home} sh -eu <<'AS_LOOPS'
      git init --quiet --bare /srv/git/work.git
      git clone --quiet /srv/git/work.git /srv/rig/work
      cd /srv/rig/work
      for file in prompt plan1 plan2; do echo "# $file" > $file.md; done
      git add -A
      git commit --quiet -m 'the first commit'
      git push --quiet origin HEAD:main
      git clone --quiet /srv/git/work.git /srv/rig/adversary
      for clone in work adversary; do git -C /srv/rig/$clone remote set-url origin ${remote}; done
      AS_LOOPS
      git init --quiet --bare ${arbiter}
      CCORCH_RIG=/etc/ccorch/rig.json ${config.services.ccorch.package}/bin/ccorch lease init --holder vm
    '';
  };
}
