# Two machines and a git remote: over, back, and over again with the source rebooted in the middle.
inputs:
let
  inherit (inputs) pkgs;
  inherit (pkgs) lib;
  keys = import (pkgs.path + "/nixos/tests/ssh-keys.nix") pkgs;
  login = name: {
    services.openssh = {
      enable = true;
      hostKeys = [ ];
      extraConfig = "HostKey /etc/host-key";
    };
    environment.etc = {
      "host-key" = {
        source = keys.snakeOilPrivateKey;
        mode = "0400";
      };
      "operator-key" = {
        source = keys.snakeOilPrivateKey;
        mode = "0400";
      };
    };
    users.users.root.openssh.authorizedKeys.keys = [ keys.snakeOilPublicKey ];
    networking.hostName = name;
    programs.ssh.extraConfig = "IdentityFile /etc/operator-key";
    services.ccorch.knownHosts = lib.concatMapStrings (host: "${host} ${keys.snakeOilPublicKey}\n") [
      "vm"
      "other"
    ];
    # Both reach the remotes on `vm` by ssh.
    services.ccorch.settings = {
      lease.remote = "ssh://root@vm/var/lib/ccorch/arbiter.git";
      lease.identity = "/etc/operator-key";
      hosts = lib.genAttrs [ "vm" "other" ] (_: {
        host_key = keys.snakeOilPublicKey;
      });
    };
  };
in
import ./lib inputs {
  name = "ccorch-cutover";
  nodes = {
    vm = login "vm";
    other = {
      imports = [ (login "other") ];
      # The work and the lease come from the first machine.
      systemd.services.test-workspace.enable = false;
    };
  };
  script = ''
    vm.start(allow_reboot=True)
    other.start(allow_reboot=True)
    at_work(vm)
    other.wait_for_unit("multi-user.target")
    move = "ccorch --rig /root/ccorch.yaml "
    other.succeed("jq '. + {cutover: {from: \"vm\", to: \"other\"}}' /etc/ccorch/rig.json > /root/ccorch.yaml")
    with subtest("over, and back"):
        other.succeed(move + "stage other", move + "cutover")
        vm.fail("pgrep -x claude")
        assert len(agents(other)) == 3
        other.succeed(move + "rollback")
        other.fail("pgrep -x claude")
        at_work(vm)
    with subtest("the source reboots in the middle"):
        other.succeed(f"systemd-run --unit=move {move} cutover")
        other.wait_until_succeeds("ccorch --rig /root/ccorch.yaml lease show --host vm --json | jq -e '.file.state == \"standby\"'")
        vm.crash()
        vm.start(allow_reboot=True)
        vm.wait_for_unit("multi-user.target")
        # Whatever the first run came to, the same command goes on from its journal.
        other.wait_until_succeeds(move + "cutover")
        vm.fail("pgrep -x claude")
        assert len(agents(other)) == 3
  '';
}
