# What the tests ask a machine, in the words of DESIGN.md.
import json


def status(machine):
    # Exit status 1 says that something is degraded; the test looks at what.
    return json.loads(machine.execute("ccorch status --json")[1])


def loop(machine, name):
    return next(one for one in status(machine)["loops"] if one["name"] == name)


def in_mid_turn(machine):
    # Returns while an agent is at a unit of its work: git runs for it. Asked there, since that is over in a moment.
    machine.succeed("timeout 120 bash -c 'until pgrep -u loops -x git; do sleep 0.01; done'")


def at_work(machine, loops=3, remote=None):
    # Every loop runs, nothing is degraded, and new work reaches the remote, which lies on the machine itself or another.
    remote = remote or machine

    def well(_):
        try:
            seen = status(machine)
        except json.JSONDecodeError:
            return False
        running = [one for one in seen["loops"] if one["state"] == "running"]
        return seen["degraded"] == [] and len(running) == loops

    retry(well)
    for name in ["builder", "adversary"]:
        count = f"git --git-dir=/srv/git/work.git log --format=%s main | grep -c '^{name}: work '"
        as_loops = f"runuser -u loops -- sh -c \"{count}\""
        before = int(remote.execute(as_loops)[1] or 0)
        remote.wait_until_succeeds(f"test $({as_loops}) -gt {before}")
        remote.succeed(
            f"runuser -u loops -- claude verify-numbering --git /srv/git/work.git --ref main --label {name}"
        )


def agents(machine):
    # What an agent has just forked bears its name until it runs something else.
    lines = machine.succeed("ps -C claude -o pid= -o ppid= || true").splitlines()
    parents = dict(line.split() for line in lines)
    return sorted(pid for pid, parent in parents.items() if parent not in parents)


def receipt(machine):
    boot = machine.succeed("cat /proc/sys/kernel/random/boot_id").strip()
    path = f"/var/lib/ccorch/receipts/{boot}.json"
    machine.wait_for_file(path)
    found = json.loads(machine.succeed(f"cat {path}"))
    assert found["complete"], found
    return found


def reboots(machine):
    return json.loads(machine.succeed("ccorch reboots --json"))
