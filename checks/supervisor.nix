# The supervisor killed, a loop's tmux killed, a crash loop, and a start on a host that does not hold the lease.
inputs:
import ./lib inputs {
  name = "ccorch-supervisor";
  script = ''
    at_work(vm)
    with subtest("the supervisor is killed"):
        before = agents(vm)
        vm.succeed("systemctl kill --signal=KILL ccorch-supervisor")
        at_work(vm)
        assert agents(vm) == before, "agents did not outlive the supervisor"
    with subtest("a loop's tmux is killed"):
        vm.succeed("systemctl kill --kill-whom=main --signal=KILL ccorch-loop@builder")
        at_work(vm)
    with subtest("a loop that crashes again and again leaves the others alone"):
        others = "systemctl show --value -p MainPID ccorch-loop@adversary ccorch-loop@orchestrator"
        before = vm.succeed(others)
        for _ in range(5):
            vm.execute("systemctl kill --signal=KILL ccorch-loop@builder")
        assert vm.succeed(others) == before
        at_work(vm)
    with subtest("a host that does not hold the lease starts nothing"):
        vm.succeed("systemctl stop ccorch-supervisor ccorch-lease.timer ccorch-loops.slice")
        vm.succeed("rm /run/ccorch/lease-ok")
        vm.execute("systemctl start ccorch-loop@builder")
        vm.fail("pgrep -x claude")
  '';
}
