# A machine with a whole rig, for the tests of the module.
{
  networking.hostName = "vm";
  users.users.loops = {
    isNormalUser = true;
    group = "users";
  };
  services.ccorch = {
    enable = true;
    settings = {
      rig = "cc-ci";
      workspace = {
        root = "/srv/cc-ci";
        repositories.cc-ci = {
          url = "ssh://git@git.example.org/ci/cc-ci.git";
          branch = "main";
        };
      };
      phases = [
        {
          id = "1";
          plan = "cc-ci/plans/1.md";
        }
      ];
      loops.builder = {
        agent = "claude";
        workdir = "cc-ci";
        prompt = "cc-ci/prompts/builder.md";
      };
      lease = {
        remote = "ssh://git@git.example.org/ops/lease.git";
        heartbeat = "30s";
      };
      hosts = {
        pi.ssh = "pi@raspberrypi";
        vm = {
          provider = "incus";
          incus = {
            url = "https://b1.example.org:8443";
            certificate = "terraform.crt";
            key = "terraform.key";
            image = "nixos";
            authorized_key = "id_ed25519.pub";
          };
        };
      };
      cutover = {
        from = "pi";
        to = "vm";
      };
    };
    proxy = {
      backend = "tailscaled";
      hosts = [ "b1.example.ts.net" ];
    };
    orchestrator = {
      enable = true;
      remoteControl = "autonomous-orchestrator";
    };
    secrets = {
      file = ../../secrets/cc-ci.yaml;
      items.testenv.path = "/srv/cc-ci/.testenv";
    };
    ssh.hosts.b1 = {
      hostName = "b1.example.ts.net";
      user = "ci";
    };
    loops.serviceConfig.MemoryMax = "1G";
  };
}
