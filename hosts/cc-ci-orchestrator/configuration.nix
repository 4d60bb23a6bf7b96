# What this machine is, whatever it runs on.
{ lib, pkgs, ... }:
{
  imports = [ ../../nixos/example-host.nix ];

  networking.hostName = "cc-ci-orchestrator";

  # 2 GB of memory: a build in a loop is to be slowed down before it takes the others along.
  zramSwap.enable = true;
  services.ccorch = {
    enable = true;
    openFirewall = true;
    agents = [ pkgs.claude-code ];
    settings = import ./rig.nix;
    # Git hosts the lease and the loops use: `ssh-keyscan HOST`, compared with what the host publishes. Without a line for
    # git.example.org the lease cannot be renewed, and no loop starts.
    knownHosts = "";
    loops.sliceConfig = {
      MemoryHigh = "1400M";
      MemoryMax = "1700M";
    };
    secrets = {
      file = ../../secrets/cc-ci.yaml;
      items = {
        testenv.path = "/srv/cc-ci/.testenv";
        lease-key.owner = "root";
      };
    };
  };

  nixpkgs.config.allowUnfreePredicate = package: lib.getName package == "claude-code";

  system.stateVersion = "26.05";
}
