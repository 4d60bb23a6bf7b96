# Secrets are there before they are used, with their modes; a missing key fails one unit and nothing else.
inputs:
let
  secrets = {
    file = ../secrets/cc-ci.yaml;
    items.testenv = {
      path = "/srv/rig/.testenv";
      restartUnits = [ "declares-it.service" ];
    };
  };
  idle = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig.ExecStart = "${inputs.pkgs.coreutils}/bin/sleep infinity";
  };
  # The activation decrypts, so the key has to be there before it.
  key.system.activationScripts.setupSecrets.deps = [ "test-key" ];
  key.system.activationScripts.test-key = ''
    install -D -m 600 ${../secrets/test-only.agekey} /var/lib/ccorch-secrets/age.key
  '';
in
import ./lib inputs {
  name = "ccorch-secrets";
  nodes = {
    vm = {
      imports = [ key ];
      services.ccorch.secrets = secrets;
      systemd.services.declares-it = idle;
      systemd.services.does-not = idle;
      # The same secret from another file stands for a rotation.
      specialisation.rotated.configuration.services.ccorch.secrets.items.testenv.key = "lease-key";
    };
    other = {
      networking.hostName = "other";
      services.openssh.enable = true;
      services.ccorch.secrets = secrets;
    };
  };
  script = ''
    start_all()
    with subtest("decrypted before use"):
        at_work(vm)
        vm.succeed("grep -x TEST_TOKEN=of-the-example /srv/rig/.testenv")
        assert vm.succeed("stat -L -c '%a %U' /srv/rig/.testenv").strip() == "600 loops"
    with subtest("a rotation restarts what declares it"):
        main = "systemctl show --value -p MainPID "
        declares, does_not, running = vm.succeed(main + "declares-it"), vm.succeed(main + "does-not"), agents(vm)
        vm.succeed("/run/current-system/specialisation/rotated/bin/switch-to-configuration test")
        assert vm.succeed(main + "declares-it") != declares
        assert vm.succeed(main + "does-not") == does_not
        assert agents(vm) == running
    with subtest("a missing key"):
        other.wait_for_unit("multi-user.target")
        other.wait_until_succeeds("systemctl is-failed ccorch-secrets.service")
        other.succeed("journalctl -u ccorch-secrets | grep 'hint: put the age key at /var/lib/ccorch-secrets/age.key'")
        # One at a time: of several it is enough that one is active.
        for unit in ["ccorch-supervisor.service", "sshd.service"]:
            other.wait_for_unit(unit)
  '';
}
