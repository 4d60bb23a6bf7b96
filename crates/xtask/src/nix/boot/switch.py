#!/usr/bin/python3
# What NixOS's switch-to-configuration does with units, on a machine that is no NixOS: compares the units of the running
# system with those of the one this program lies in, puts the new files in place, and stops, restarts and starts what
# changed as the units themselves ask (X-RestartIfChanged, X-StopIfChanged). Users, bootloader and activation scripts
# are not its business.
import os
import re
import shutil
import subprocess
from pathlib import Path

CURRENT = Path("/run/current-system")
new = Path(os.path.realpath(__file__)).parent.parent
old = CURRENT.resolve()


def text(system, unit):
    folder = system / "etc/systemd/system"
    files = [folder / unit, *sorted((folder / f"{unit}.d").glob("*.conf"))]
    found = [file.read_text() for file in files if file.is_file()]
    return "\n".join(found) if found else None


def says(unit_text, key, default):
    found = re.findall(rf"^{key}=(.*)$", unit_text, re.MULTILINE)
    return (found[-1] if found else default) not in ("false", "no", "0")


def systemctl(verb, units):
    if units:
        subprocess.run(["systemctl", verb, "--", *sorted(units)], check=True)


def active():
    argv = ["systemctl", "list-units", "--plain", "--no-legend", "--full", "--state=active,activating"]
    listed = subprocess.run(argv, check=True, text=True, stdout=subprocess.PIPE).stdout
    return [line.split()[0] for line in listed.splitlines()]


def files(system):
    return {path.relative_to(system) for path in (system / "etc").rglob("*") if not path.is_dir()}


stop, restart, start = set(), set(), set()
for unit in active():
    base = re.sub(r"@[^.]*\.", "@.", unit)
    before, after = text(old, base), text(new, base)
    if before is None:
        continue
    if after is None:
        stop.add(unit)
    elif unit.endswith(".target"):
        # Starts what is new in it, and what was stopped here.
        start.add(unit)
    elif before == after or unit.endswith(".slice"):
        pass
    elif not says(after, "X-RestartIfChanged", "true"):
        print(f"not touched: {unit}")
    elif says(after, "X-StopIfChanged", "true"):
        stop.add(unit)
        start.add(unit)
    else:
        restart.add(unit)

print(f"stop {sorted(stop)}, restart {sorted(restart)}, start {sorted(start)}")
systemctl("stop", stop)
subprocess.run(["mount", "-o", "remount,bind,rw", "/etc/systemd/system"], check=True)
for gone in files(old) - files(new):
    Path("/", gone).unlink(missing_ok=True)
for file in files(new):
    Path("/", file).parent.mkdir(parents=True, exist_ok=True)
    Path("/", file).unlink(missing_ok=True)
    shutil.copy2(new / file, Path("/", file), follow_symlinks=False)
link = CURRENT.with_name("current-system.new")
link.symlink_to(new)
link.rename(CURRENT)
subprocess.run(["mount", "-o", "remount,bind,ro", "/etc/systemd/system"], check=True)
subprocess.run(["systemctl", "daemon-reload"], check=True)
systemctl("restart", restart)
systemctl("start", start)
