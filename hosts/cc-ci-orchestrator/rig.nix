# The rig of this host, as plain data in the schema of the rig file (`ccorch schema`).
{
  rig = "cc-ci";

  workspace = {
    root = "/srv/cc-ci";
    user = "loops";
    repositories = {
      "." = {
        url = "ssh://git@git.example.org/ci/orchestrator.git";
        branch = "main";
      };
      cc-ci = {
        url = "ssh://git@git.example.org/ci/cc-ci.git";
        branch = "main";
      };
      cc-ci-adv = {
        url = "ssh://git@git.example.org/ci/cc-ci.git";
        branch = "main";
      };
    };
    copies.references.from = "/srv/recipe-maintainer";
    carry = [ ".cc-ci-logs" ];
    phase_file = ".cc-ci-logs/.phase-idx";
  };

  phases =
    map
      (id: {
        inherit id;
        plan = "cc-ci-plan/plan-phase${id}.md";
      })
      [
        "1d"
        "1e"
        "2"
        "3"
      ];

  loops = {
    builder = {
      agent = "claude";
      workdir = "cc-ci";
      prompt = "cc-ci-plan/prompts/builder.md";
      inbox = "machine-docs/INBOX.md";
    };
    adversary = {
      agent = "claude";
      workdir = "cc-ci-adv";
      prompt = "cc-ci-plan/prompts/adversary.md";
      inbox = "machine-docs/INBOX.md";
    };
    orchestrator = {
      agent = "claude";
      workdir = ".";
      role = "orchestrator";
      remote_control = "autonomous-orchestrator";
    };
  };

  proxy = {
    backend = "tailscaled";
    listen = "127.0.0.1:1055";
    check = "gitea.example.ts.net:22";
    hosts = [ "gitea.example.ts.net" ];
  };

  secrets = {
    file = "secrets/cc-ci.yaml";
    items.testenv.path = "/srv/cc-ci/.testenv";
  };

  lease = {
    remote = "ssh://git@git.example.org/ops/lease.git";
    identity = "/run/secrets/lease-key";
    heartbeat = "60s";
  };

  tools = [
    "git"
    "jq"
    "python3"
  ];

  hosts = {
    pi = {
      ssh = "pi@raspberrypi";
      runs = {
        stop = [
          "cc-ci-plan/launch.sh"
          "stop"
        ];
        start = [
          "cc-ci-plan/launch.sh"
          "start"
        ];
        units = [ "cc-ci-loops.service" ];
      };
    };
    cc-ci-orchestrator.ssh = "root@cc-ci-orchestrator";
  };

  cutover = {
    from = "pi";
    to = "cc-ci-orchestrator";
  };
}
