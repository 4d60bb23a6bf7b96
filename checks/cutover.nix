# Two machines and a git remote: over, a standby that boots, back, and over again with the source rebooted in the middle.
inputs:
let
  inherit (inputs) pkgs;
  inherit (pkgs) lib;
  keys = import ./lib/ssh-keys.nix inputs;
  key = user: {
    inherit user;
    source = keys.snakeOilPrivateKey;
    mode = "0400";
  };
  authorized.openssh.authorizedKeys.keys = [ keys.snakeOilPublicKey ];
  login = name: {
    services.openssh = {
      enable = true;
      hostKeys = [ ];
      extraConfig = "HostKey /etc/test-host-key";
    };
    environment.etc = {
      test-host-key = key "root";
      test-root-key = key "root";
      test-loops-key = key "loops";
    };
    users.users = {
      root = authorized;
      loops = authorized;
    };
    networking.hostName = name;
    programs.ssh.extraConfig = ''
      IdentityFile /etc/test-%u-key
      GlobalKnownHostsFile /etc/ccorch/known_hosts
    '';
    services.ccorch.knownHosts = lib.concatMapStrings (host: "${host} ${keys.snakeOilPublicKey}\n") [
      "vm"
      "other"
    ];
    # Both reach the remotes on `vm` by ssh.
    services.ccorch.settings = {
      workspace.repositories = lib.genAttrs [ "work" "adversary" ] (_: {
        url = "ssh://loops@vm/srv/git/work.git";
      });
      lease.remote = "ssh://root@vm/var/lib/ccorch/arbiter.git";
      lease.identity = "/etc/test-root-key";
      hosts = lib.genAttrs [ "vm" "other" ] (_: {
        host_key = keys.snakeOilPublicKey;
      });
      cutover = {
        from = "vm";
        to = "other";
        confirm.settle = "5s";
      };
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
    def gives_up():
        # Without an answer of the remote, which lies on `vm`, nothing is known.
        lease = json.loads(other.succeed("ccorch lease show --json"))["arbiter"]
        return lease and (lease["holder"], lease["state"]) != ("vm", "active")

    def is_standby():
        vm.fail("runuser -u loops -- touch /srv/rig/written")
        vm.fail("touch /srv/rig/written")
        for unit in ["ccorch-proxy", "ccorch-supervisor"]:
            vm.fail(f"systemctl is-active {unit}.service")
        other.succeed(move + "standby-status --host vm")

    vm.start(allow_reboot=True)
    other.start(allow_reboot=True)
    at_work(vm)
    other.wait_for_unit("multi-user.target")
    # The operator's machine is the target itself.
    move = "ccorch --rig /etc/ccorch/rig.json "
    with subtest("over"):
        other.succeed(move + "stage other")
        # A loop that is stopped before its push would be a reason to refuse.
        other.wait_until_succeeds(move + "cutover --rescue --verify-timeout 3m")
        vm.fail("pgrep -x claude")
        at_work(other, remote=vm)
        is_standby()
    with subtest("a standby stays one over a boot"):
        vm.crash()
        vm.start(allow_reboot=True)
        vm.wait_for_unit("multi-user.target")
        is_standby()
        vm.fail("pgrep -x claude")
        at_work(other, remote=vm)
    with subtest("and back"):
        other.wait_until_succeeds(move + "rollback --rescue --verify-timeout 3m")
        other.fail("pgrep -x claude")
        vm.succeed("runuser -u loops -- touch /srv/rig/written && rm /srv/rig/written")
        at_work(vm)
    with subtest("the source reboots in the middle"):
        other.succeed(f"systemd-run --unit=move {move} cutover --rescue --verify-timeout 3m")
        retry(lambda _: gives_up())
        vm.crash()
        vm.start(allow_reboot=True)
        vm.wait_for_unit("multi-user.target")
        # The first run goes on by itself when the source is back in time; else somebody asks again.
        over = move + "standby-status --host vm"
        other.wait_until_succeeds(f"{over} || systemctl is-active move.service || {move} cutover --rescue --verify-timeout 3m; {over}")
        vm.fail("pgrep -x claude")
        at_work(other, remote=vm)
        is_standby()
  '';
}
