# SOCKS traffic goes through the rig's proxy, after a reboot and a power cut too, and the unit counts as started when it answers.
inputs:
let
  inherit (inputs) pkgs;
  keys = import ./lib/ssh-keys.nix inputs;
in
import ./lib inputs {
  name = "ccorch-proxy";
  nodes.vm = {
    services.openssh.enable = true;
    users.users.jump = {
      isNormalUser = true;
      openssh.authorizedKeys.keys = [ keys.snakeOilPublicKey ];
    };
    # The proxy's destination is the machine itself: what matters is that traffic goes through it.
    environment.etc."proxy-key" = {
      source = keys.snakeOilPrivateKey;
      mode = "0400";
    };
    services.ccorch.proxy = {
      backend = "ssh";
      ssh = "jump@localhost";
      identity = "/etc/proxy-key";
      check = "localhost:8000";
    };
    environment.etc."test-page/index.html".text = "reached";
    systemd.services.test-page = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig.ExecStart = "${pkgs.python3}/bin/python3 -m http.server --bind 127.0.0.1 --directory /etc/test-page 8000";
    };
    # sshd makes its keys at its first start; this machine then trusts itself.
    systemd.services.test-known-hosts = {
      before = [ "ccorch-proxy.service" ];
      after = [ "sshd.service" ];
      wantedBy = [ "multi-user.target" ];
      serviceConfig.Type = "oneshot";
      script = ''
        echo "localhost $(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)" > /etc/ssh/ssh_known_hosts.test
      '';
    };
    programs.ssh.extraConfig = "GlobalKnownHostsFile /etc/ssh/ssh_known_hosts.test";
  };
  script = ''
    # As ssh of the agents goes through it.
    fetch = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 20 ccorch connect localhost 8000 | tail -n 1"
    vm.start(allow_reboot=True)
    for boot in ["the first", "after a reboot", "after a power cut"]:
        vm.wait_for_unit("test-page.service")
        vm.wait_for_unit("ccorch-proxy.service")
        assert vm.wait_until_succeeds(fetch) == "reached", boot
        at_work(vm)
        if boot == "the first":
            vm.reboot()
        elif boot == "after a reboot":
            in_mid_turn(vm)
            vm.crash()
            vm.start(allow_reboot=True)
    # It listens on the loopback alone.
    vm.fail("ss -Hltn 'sport = 1055' | grep -v 127.0.0.1")
  '';
}
