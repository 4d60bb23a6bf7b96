# A reboot in order and one in mid-turn: everything comes back where it was, and the log has exactly two.
inputs:
import ./lib inputs {
  name = "ccorch-reboot";
  script = ''
    vm.start(allow_reboot=True)
    at_work(vm)
    vm.reboot()
    assert receipt(vm)["reboot"]["clean"]
    at_work(vm)
    in_mid_turn(vm)
    vm.crash()
    vm.start(allow_reboot=True)
    assert not receipt(vm)["reboot"]["clean"]
    at_work(vm)
    assert [one["clean"] for one in reboots(vm)] == [True, False]
    vm.wait_until_succeeds("grep -l 'Reboot 2:' /home/loops/.claude/projects/-srv-rig/*.jsonl")
    vm.succeed("test $(grep -c '^- Reboot ' /srv/rig/REBOOTS.md) = 2")
    # A restart of a service is no reboot.
    vm.succeed("systemctl restart ccorch-supervisor")
    at_work(vm)
    assert len(reboots(vm)) == 2
  '';
}
