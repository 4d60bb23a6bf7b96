"""Measures, inside one container, how supervisors keep the same child alive. Plan and result are JSON files.

The child's first act is one line, `RIVAL NAME PID`, into a pipe that is read here: no clock but this one takes part.
"""

import glob
import json
import os
import select
import signal
import subprocess
import sys
import time

FIFO = "/run/bench.fifo"
PATIENCE = 60
MOST = 900


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*argv, **options):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)[:300]}: status {done.returncode}: {done.stdout}{done.stderr}"[-3000:])
    return done.stdout


class Children:
    """The children that told of themselves: (rival, name) -> pid."""

    def __init__(self):
        os.mkfifo(FIFO)
        os.chmod(FIFO, 0o666)
        # For writing too: the pipe never ends, and no child waits for a reader.
        self.pipe = os.open(FIFO, os.O_RDWR | os.O_NONBLOCK)
        self.rest = b""
        self.pids = {}

    def wait(self, wanted, patience):
        """Reads until `wanted()` holds; the moment of the line that made it so."""
        until = time.monotonic() + patience
        while not wanted():
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.pipe], [], [], left)[0]:
                raise SystemExit(f"waited {patience} s in vain; there are {len(self.pids)} children")
            self.rest += os.read(self.pipe, 65536)
            now = time.monotonic()
            *lines, self.rest = self.rest.split(b"\n")
            for line in lines:
                rival, name, pid = line.decode().split()
                self.pids[rival, name] = int(pid)
        return now if wanted else None

    def drain(self):
        while select.select([self.pipe], [], [], 0)[0]:
            self.rest += os.read(self.pipe, 65536)
            *lines, self.rest = self.rest.split(b"\n")
            for line in lines:
                rival, name, pid = line.decode().split()
                self.pids[rival, name] = int(pid)

    def of(self, rival):
        return {pid for (whose, _), pid in self.pids.items() if whose == rival}

    def restart(self, rival, name):
        """Kills one; seconds until its successor's first act."""
        self.drain()
        old = self.pids[rival, name]
        began = time.monotonic()
        os.kill(old, signal.SIGKILL)
        return self.wait(lambda: self.pids[rival, name] != old, PATIENCE) - began


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def processes(*units):
    """All processes in the cgroups of these units, which may hold `*`."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/cgroup"):
        text = read(path)
        for unit in units:
            head, star, tail = unit.partition("*")
            if any(
                (part == unit) if not star else (part.startswith(head) and part.endswith(tail))
                for line in text.splitlines()
                for part in line.split("/")
            ):
                found.add(int(path.split("/")[2]))
    return found


def memory(pids):
    """RSS and PSS in KiB, threads."""
    total = {"processes": len(pids), "rss": 0, "pss": 0, "threads": 0}
    for pid in pids:
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            words = line.split()
            if words[0] in ("Rss:", "Pss:"):
                total[words[0][:-1].lower()] += int(words[1])
        total["threads"] += len(glob.glob(f"/proc/{pid}/task/*"))
    return total


def activity(pids):
    """CPU seconds and voluntary context switches of all threads, by thread."""
    seen = {}
    for pid in pids:
        for task in glob.glob(f"/proc/{pid}/task/*"):
            switches = [
                int(line.split()[1])
                for line in read(f"{task}/status").splitlines()
                if line.startswith("voluntary_ctxt_switches")
            ]
            cpu = read(f"{task}/schedstat").split()
            if switches and cpu:
                seen[task] = (int(cpu[0]) / 1e9, switches[0])
    return seen


def groups(plan, children):
    """What each rival has beside its children."""
    found = {}
    for rival in plan["rivals"]:
        pids = processes(*rival["units"]) - children.of(rival["name"])
        found[rival["name"]] = pids
        if rival["name"] == "ccorch":
            found["ccorch's loops"] = processes("ccorch-loop@*.service") - children.of("ccorch")
    return found


def latency(plan, children):
    samples = {rival["name"]: [] for rival in plan["rivals"]}
    names = plan["children"]
    for turn in range(plan["kills"]):
        # Long enough that nobody takes the next end for one of a child that cannot stay up.
        time.sleep(1.5)
        for rival in plan["rivals"]:
            samples[rival["name"]].append(children.restart(rival["name"], names[turn % len(names)]))
        # A second end in a row is answered with a pause, which is policy and no cost: every end is a first one, of a loop
        # that the running supervisor has started, as nearly all are.
        silence()
        children.drain()
        for name in names:
            children.pids.pop(("ccorch", name))
        run("systemctl", "start", "ccorch-supervisor.service")
        children.wait(lambda: len(children.of("ccorch")) == len(names), PATIENCE)
        if turn % 10 == 9:
            say(f"{turn + 1} kills each")
    return samples


def idle(plan, children):
    time.sleep(5)
    before = {name: activity(pids) for name, pids in groups(plan, children).items()}
    sizes = {name: memory(pids) for name, pids in groups(plan, children).items()}
    time.sleep(plan["idle"])
    result = {}
    for name, pids in groups(plan, children).items():
        cpu = switches = 0
        for task, (seconds, count) in activity(pids).items():
            then = before[name].get(task, (0, 0))
            cpu += seconds - then[0]
            switches += count - then[1]
        result[name] = {**sizes[name], "cpu": cpu, "wakeups": switches}
    return result


def used():
    """CPU seconds of this whole container."""
    for path in ("/sys/fs/cgroup/unified/cpu.stat", "/sys/fs/cgroup/cpu.stat"):
        for line in read(path).splitlines():
            if line.startswith("usage_usec "):
                return int(line.split()[1]) / 1e6
    # Of all that live, and of all that ended, whom their parents have counted.
    total = 0
    for path in glob.glob("/proc/[0-9]*/task/[0-9]*/schedstat"):
        total += int((read(path).split() or ["0"])[0]) / 1e9
    for path in glob.glob("/proc/[0-9]*/stat"):
        fields = read(path).rpartition(")")[2].split()
        if fields:
            total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def timed(children, rival, count, act):
    children.drain()
    children.pids = {key: pid for key, pid in children.pids.items() if key[0] != rival}
    cpu, began = used(), time.monotonic()
    act()
    end = children.wait(lambda: len(children.of(rival)) == count, MOST)
    # What is still being written down when the last child is there is a cost too.
    time.sleep(1)
    return {"seconds": end - began, "cpu": used() - cpu}


def growth(plan, children):
    result = []
    for count in plan["growth"]:
        with open("/etc/ccorch/rig.json", "w") as file:
            json.dump(plan["rigs"][str(count)], file)
        names = list(plan["rigs"][str(count)]["loops"])
        units = [f"bench-bare@{name}.service" for name in names]
        row = {"loops": count}
        row["bare"] = timed(children, "bare", count, lambda: run("systemctl", "start", *units))
        run("systemctl", "stop", *units)
        start = ("systemctl", "start", "--no-block", "ccorch-supervisor.service")
        row["ccorch"] = timed(children, "ccorch", count, lambda: run(*start))
        time.sleep(3)
        supervisor = processes("ccorch-supervisor.service")
        loops = processes("ccorch-loop@*.service") - children.of("ccorch")
        row["supervisor"], row["each"] = memory(supervisor), memory(loops)
        before, began = activity(supervisor), time.monotonic()
        time.sleep(plan["watch"])
        after = activity(supervisor)
        row["idle"] = {
            "seconds": time.monotonic() - began,
            "cpu": sum(now[0] - before.get(task, (0, 0))[0] for task, now in after.items()),
            "wakeups": sum(now[1] - before.get(task, (0, 0))[1] for task, now in after.items()),
        }
        silence()
        result.append(row)
        say(f"{count} loops: bare {row['bare']['seconds']:.2f} s, ccorch {row['ccorch']['seconds']:.2f} s")
    return result


def silence():
    run("systemctl", "stop", "ccorch-supervisor.service")
    # Nobody waits for safe points here.
    subprocess.run(["systemctl", "kill", "--signal=KILL", "ccorch-loops.slice"], capture_output=True)
    run("systemctl", "stop", "ccorch-loops.slice")
    for path in glob.glob("/var/lib/ccorch/loops/*.json"):
        os.remove(path)


def main():
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    children = Children()
    run("systemctl", "daemon-reload")
    for rival in plan["rivals"]:
        for argv in rival["start"]:
            run(*argv)
        mine = rival["name"]
        children.wait(lambda: len(children.of(mine)) == len(plan["children"]), PATIENCE)
        say(f"{mine}: {len(plan['children'])} children")
    result = {"idle": idle(plan, children), "latency": latency(plan, children)}
    say(json.dumps(result))
    for rival in plan["rivals"]:
        for argv in rival["stop"]:
            run(*argv)
    silence()
    result["growth"] = growth(plan, children)
    with open(sys.argv[2], "w") as file:
        json.dump(result, file)


main()
