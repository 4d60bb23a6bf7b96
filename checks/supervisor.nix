# The supervisor killed, a crash loop, a loop's tmux killed, and a start on a host that does not hold the lease.
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
    with subtest("a loop that crashes again and again is left down, and the others alone"):
        def others():
            return [loop(vm, name)["pid"] for name in ["adversary", "orchestrator"]]

        def again(pid):
            seen = loop(vm, "builder")
            # Its unit runs a little earlier than its agent.
            return seen["state"] == "running" and seen.get("pid") not in (None, pid)

        before = others()
        # Five ends within 15 minutes are too many: after each but the last it is started again.
        for end in range(1, 6):
            pid = loop(vm, "builder")["pid"]
            vm.succeed("systemctl kill --signal=KILL ccorch-loop@builder")
            if end < 5:
                retry(lambda _: again(pid))
        retry(lambda _: loop(vm, "builder")["state"] == "crash-looping")
        said = status(vm)["degraded"]
        assert len(said) == 1 and said[0].startswith("loop builder is crash-looping"), said
        vm.fail("systemctl is-active ccorch-loop@builder")
        assert others() == before, "a crash loop touched other loops"
        vm.succeed("ccorch loops start builder")
        at_work(vm)
        assert others() == before
    with subtest("a loop's tmux is killed"):
        vm.succeed("systemctl kill --kill-whom=main --signal=KILL ccorch-loop@builder")
        at_work(vm)
    with subtest("a host that does not hold the lease starts nothing"):
        vm.succeed("systemctl stop ccorch-supervisor ccorch-lease.timer ccorch-loops.slice")
        vm.succeed("rm /run/ccorch/lease-ok")
        vm.execute("systemctl start ccorch-loop@builder")
        vm.fail("pgrep -x claude")
  '';
}
