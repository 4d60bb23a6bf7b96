# Runs the script of a test of whole machines on containers of the test bed: the words of NixOS's test driver that these
# scripts use. Arguments: a description of the machines as JSON, the script.
import json
import subprocess
import sys
import time
from contextlib import contextmanager

# Nothing waited for takes near as long; a loaded machine gets far more than it takes.
PATIENCE = 180
LONG = 30
SETUP = "set -euo pipefail; export PATH=/run/wrappers/bin:/run/current-system/sw/bin:$PATH; "


def retry(look, timeout=PATIENCE):
    deadline = time.monotonic() + timeout
    while not look(False):
        if time.monotonic() > deadline:
            if look(True):
                return
            raise Exception(f"waited {timeout} s in vain")
        time.sleep(0.2)


@contextmanager
def subtest(name):
    began = time.monotonic()
    yield
    print(f"{name}: {time.monotonic() - began:.1f} s")


class Machine:
    def __init__(self, name, about):
        self.name, self.ssh, self.incus = name, about["ssh"], about["incus"]
        self.booted = False

    def run(self, command):
        argv = self.ssh + ["bash -s"]
        return subprocess.run(argv, input=SETUP + command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def execute(self, command):
        self.start()
        done = self.run(command)
        return done.returncode, done.stdout

    def succeed(self, *commands):
        self.start()
        said = ""
        for command in commands:
            done = self.run(command)
            if done.returncode != 0:
                raise Exception(f"{self.name}: `{command}` failed ({done.returncode}): {done.stdout}{done.stderr}")
            said += done.stdout
        return said

    def fail(self, *commands):
        for command in commands:
            status, said = self.execute(command)
            # 255 is ssh's own: the machine was not asked.
            if status in (0, 255):
                raise Exception(f"{self.name}: `{command}` did not fail ({status}): {said}")

    def wait_until_succeeds(self, command, timeout=PATIENCE):
        self.start()
        last = None
        tries = 0

        def look(_):
            nonlocal last, tries
            tries += 1
            since = time.monotonic()
            last = self.run(command)
            # What took long and led to nothing is worth a look, whatever comes after it.
            if last.returncode != 0 and time.monotonic() - since > LONG:
                print(f"  try {tries} took {time.monotonic() - since:.1f} s and said: {last.stdout}{last.stderr}")
            return last.returncode == 0

        began = time.monotonic()
        try:
            retry(look, timeout)
        except Exception as error:
            # The end of what is said is what a report shows.
            said = f"{last.stdout}{last.stderr}" if last else ""
            raise Exception(f"{self.name}: `{command}`: {error}, {tries} tries; at last it said: {said}") from None
        if "ccorch" in command:
            print(f"  {command}: {time.monotonic() - began:.1f} s, tries: {tries}")
        return last.stdout

    def wait_for_file(self, path, timeout=PATIENCE):
        self.wait_until_succeeds(f"test -e '{path}'", timeout)

    def wait_for_unit(self, unit, timeout=PATIENCE):
        def look(_):
            state = self.run(f"systemctl show --value -p ActiveState '{unit}'").stdout.strip()
            if state == "failed":
                raise Exception(f"{self.name}: {unit} failed\n{self.journal()}")
            return state == "active"

        self.start()
        retry(look, timeout)

    def journal(self):
        return self.run("systemctl --failed --no-legend; ccorch status; journalctl -b --no-pager -n 200 | grep -vE ' (sshd|systemd-logind)\\[|session-|Session ' | tail -n 40").stdout

    def control(self, *words):
        subprocess.run(self.incus + list(words), check=True, stdin=subprocess.DEVNULL)

    def up(self):
        retry(lambda _: self.run("systemctl is-active --quiet dbus").returncode == 0)

    def start(self, allow_reboot=True):
        if not self.booted:
            self.control("start", self.name)
            self.booted = True
            self.up()

    def reboot(self):
        self.control("restart", "--timeout", "120", self.name)
        self.up()

    def crash(self):
        self.control("stop", "--force", self.name)
        self.booted = False



def main():
    described, script = json.load(open(sys.argv[1])), open(sys.argv[2]).read()
    machines = {name: Machine(about["instance"], about) for name, about in described.items()}

    def start_all():
        for machine in machines.values():
            machine.start()

    words = {"retry": retry, "subtest": subtest, "start_all": start_all, **machines}
    try:
        exec(compile(script, sys.argv[2], "exec"), words)
    except BaseException:
        for machine in machines.values():
            if machine.booted:
                print(f"--- {machine.name}\n{machine.journal()}", file=sys.stderr)
        raise


main()
