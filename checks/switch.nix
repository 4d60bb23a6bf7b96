# A changed configuration is switched to: agents keep their processes, the supervisor gets a new one.
inputs:
import ./lib inputs {
  name = "ccorch-switch";
  nodes.vm.specialisation.changed.configuration.services.ccorch = {
    settings.lease.heartbeat = inputs.pkgs.lib.mkForce "7s";
    loops.serviceConfig.MemoryMax = "900M";
  };
  script = ''
    at_work(vm)
    before = agents(vm)
    supervisor = vm.succeed("systemctl show --value -p MainPID ccorch-supervisor")
    vm.succeed("/run/current-system/specialisation/changed/bin/switch-to-configuration test")
    vm.wait_for_unit("ccorch-supervisor.service")
    assert agents(vm) == before, "a switch touched an agent"
    assert vm.succeed("systemctl show --value -p MainPID ccorch-supervisor") != supervisor
    vm.succeed("systemctl cat ccorch-lease.timer | grep -x OnUnitInactiveSec=7")
    at_work(vm)
    assert agents(vm) == before
  '';
}
