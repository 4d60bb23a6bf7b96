# Two machines and a git remote: over, back, and over again with the source rebooted in the middle.
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
    def holds(host, standing):
        lease = json.loads(other.succeed("ccorch lease show --json"))["arbiter"]
        return (lease["holder"], lease["state"]) == (host, standing)

    vm.start(allow_reboot=True)
    other.start(allow_reboot=True)
    at_work(vm)
    other.wait_for_unit("multi-user.target")
    # The operator's machine is the target itself.
    move = "ccorch --rig /etc/ccorch/rig.json "
    with subtest("over, and back"):
        other.succeed(move + "stage other")
        # A loop that is stopped before its push would be a reason to refuse.
        other.wait_until_succeeds(move + "cutover --rescue")
        vm.fail("pgrep -x claude")
        at_work(other, remote=vm)
        other.wait_until_succeeds(move + "rollback --rescue")
        other.fail("pgrep -x claude")
        at_work(vm)
    with subtest("the source reboots in the middle"):
        other.succeed(f"systemd-run --unit=move {move} cutover --rescue")
        retry(lambda _: not holds("vm", "active"))
        vm.crash()
        vm.start(allow_reboot=True)
        vm.wait_for_unit("multi-user.target")
        # Whatever the first run came to, the same command goes on from its journal.
        other.wait_until_succeeds(move + "cutover --rescue")
        vm.fail("pgrep -x claude")
        at_work(other, remote=vm)
  '';
}
