//! `ccorch check` as an operator sees it: whole outputs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Env;
use indoc::indoc;
use insta::assert_snapshot;

/// A small rig without a finding.
const GOOD: &str = indoc! {r#"
    rig: demo
    workspace:
      root: /srv/demo
      user: loops
      repositories:
        demo: { url: "ssh://git@git.example.org/demo.git", branch: main }
    phases:
      - { id: one, plan: demo/one.md }
    loops:
      builder: { agent: claude, workdir: demo, prompt: demo/builder.md }
    lease: { remote: "ssh://git@git.example.org/lease.git" }
    hosts:
      pi: { ssh: pi@raspberrypi }
      vm: { ssh: root@vm }
    cutover: { from: pi, to: vm }
"#};

/// The same with hosts that name files of this machine.
fn with_files() -> String {
    let vm = indoc! {r#"
        vm:
            provider: incus
            incus:
              url: "https://b1:8443"
              certificate: vm.crt
              key: keys/vm.key
              image: debian
              authorized_key: ~/.ssh/id.pub
    "#};
    GOOD.replace("vm: { ssh: root@vm }\n", vm)
}

#[test]
fn a_good_file() {
    let env = Env::new();
    env.write("ccorch.yaml", GOOD);
    assert_snapshot!(env.ccorch(&["check"]), @"
    $ ccorch check
    --- stdout
    ccorch.yaml: rig `demo` is good: 0 errors, 0 warnings
    --- status 0
    ");
}

#[test]
fn a_file_may_be_named_in_three_ways() {
    let env = Env::new().set("CCORCH_RIG", "b.yaml");
    env.write("a.yaml", GOOD).write("b.yaml", GOOD.replace("rig: demo", "rig: other"));
    assert_snapshot!(env.ccorch(&["check"]), @"
    $ ccorch check
    --- stdout
    b.yaml: rig `other` is good: 0 errors, 0 warnings
    --- status 0
    ");
    assert_snapshot!(env.ccorch(&["--rig", "a.yaml", "check"]), @"
    $ ccorch --rig a.yaml check
    --- stdout
    a.yaml: rig `demo` is good: 0 errors, 0 warnings
    --- status 0
    ");
    assert_snapshot!(env.ccorch(&["--rig", "b.yaml", "check", "a.yaml"]), @"
    $ ccorch --rig b.yaml check a.yaml
    --- stdout
    a.yaml: rig `demo` is good: 0 errors, 0 warnings
    --- status 0
    ");
}

#[test]
fn the_rig_of_this_host_when_there_is_no_other() {
    let env = Env::new();
    env.write(env.root().join("etc/ccorch/rig.json"), GOOD);
    assert_snapshot!(env.ccorch(&["check"]), @"
    $ ccorch check
    --- stdout
    $TEST/root/etc/ccorch/rig.json: rig `demo` is good: 0 errors, 0 warnings
    --- status 0
    ");
}

#[test]
fn without_a_lease_remote_it_says_what_that_means() {
    let env = Env::new();
    env.write("ccorch.yaml", GOOD.replace("lease: {", "# {"));
    assert_snapshot!(env.ccorch(&["check"]), @"
    $ ccorch check
    --- stdout
    ccorch.yaml:1: lease: warning: no lease remote: each host's own file alone decides, so nothing stops a copied disk, or a source that comes back, from running the loops a second time
    ccorch.yaml: rig `demo` is good: 0 errors, 1 warning
    --- status 0
    ");
}

#[test]
fn an_unknown_key_with_its_nearest() {
    let env = Env::new();
    env.write("ccorch.yaml", GOOD.replace("branch: main", "brunch: main"));
    assert_snapshot!(env.ccorch(&["check"]), @"
    $ ccorch check
    --- stdout
    ccorch.yaml:6: workspace.repositories.demo.brunch: unknown key; did you mean `branch`?
    ccorch.yaml: 1 error, 0 warnings
    --- status 3
    ");
}

const MANY: &str = indoc! {r#"
    rig: Demo
    workspace:
      root: srv/demo
      user: loops
      repositories:
        demo: { url: "ssh://git@git.example.org/demo.git" }
    phases: []
    loops:
      builder: { agent: gpt, workdir: demo }
      runner: { agent: command, workdir: .., env: { API_KEY: hunter2 } }
    proxy: { listen: "0.0.0.0:1055", backend: ssh }
    hosts:
      vm: { provider: incus, size: { memory: lots } }
    cutover: { from: pi, to: vm }
    colour: red
"#};

#[test]
fn many_problems_at_once() {
    let env = Env::new();
    env.write("ccorch.yaml", MANY);
    assert_snapshot!(env.ccorch(&["check"]), @"
    $ ccorch check
    --- stdout
    ccorch.yaml:1: rig: rig name `Demo` is not allowed: 1 to 32 characters of a-z, 0-9 and `-`, not starting with `-`
    ccorch.yaml:1: lease: warning: no lease remote: each host's own file alone decides, so nothing stops a copied disk, or a source that comes back, from running the loops a second time
    ccorch.yaml:3: workspace.root: expected an absolute path without `.`, `..`, a doubled or a trailing `/`, found `srv/demo`
    ccorch.yaml:6: workspace.repositories.demo.branch: missing; expected here: The branch the loops work on
    ccorch.yaml:7: phases: expected at least one phase
    ccorch.yaml:9: loops.builder.agent: `gpt` is not known; expected `claude` or `command`
    ccorch.yaml:10: loops.runner.workdir: expected a relative path without `.`, `..`, `~`, a doubled or a trailing `/`, found `..` (`.` is the root itself)
    ccorch.yaml:10: loops.runner.command: missing; `agent: command` needs the program and its arguments
    ccorch.yaml:10: loops.runner.env.API_KEY: warning: looks like a secret, and this file is not the place for one; expected it in `secrets`, as a file the agent reads
    ccorch.yaml:11: proxy.listen: expected a loopback address (others could use the proxy), found `0.0.0.0:1055`
    ccorch.yaml:11: proxy.ssh: missing; `backend: ssh` needs the destination of `ssh -N -D`
    ccorch.yaml:13: hosts.vm.incus: missing; `provider: incus` needs this section
    ccorch.yaml:13: hosts.vm.size.memory: expected a size like `2GiB` or `512MiB`, found `lots`
    ccorch.yaml:14: cutover.from: there is no host `pi`; expected one of `vm`
    ccorch.yaml:15: colour: unknown key; expected one of `rig`, `workspace`, `phases`, `loops`, `done_when`, `state_file`, `stall_after`, `continue_after`, `stop_grace`, `proxy`, `secrets`, `lease`, `tools`, `hosts`, `cutover` and `notify`
    ccorch.yaml: 13 errors, 2 warnings
    --- status 3
    ");
    assert!(!env.ccorch(&["check", "--json"]).contains("hunter2"), "a secret is never repeated");
}

#[test]
fn json_for_scripts() {
    let env = Env::new();
    env.write("ccorch.yaml", GOOD.replace("branch: main", "brunch: main").replace("lease: {", "# {"));
    assert_snapshot!(env.ccorch(&["check", "--json"]), @r#"
    $ ccorch check --json
    --- stdout
    {
      "rig": null,
      "file": "ccorch.yaml",
      "errors": 1,
      "warnings": 1,
      "findings": [
        {
          "file": "ccorch.yaml",
          "line": 1,
          "key": "lease",
          "severity": "warning",
          "message": "no lease remote: each host's own file alone decides, so nothing stops a copied disk, or a source that comes back, from running the loops a second time"
        },
        {
          "file": "ccorch.yaml",
          "line": 6,
          "key": "workspace.repositories.demo.brunch",
          "severity": "error",
          "message": "unknown key; did you mean `branch`?"
        }
      ]
    }
    --- status 3
    "#);
    env.write("ccorch.yaml", GOOD);
    assert_snapshot!(env.ccorch(&["check", "--json"]), @r#"
    $ ccorch check --json
    --- stdout
    {
      "rig": "demo",
      "file": "ccorch.yaml",
      "errors": 0,
      "warnings": 0,
      "findings": []
    }
    --- status 0
    "#);
}

#[test]
fn what_is_no_rig_file_at_all() {
    let env = Env::new();
    assert_snapshot!(env.ccorch(&["check"]), @"
    $ ccorch check
    --- stderr
    error: no rig file: looked for ccorch.yaml and $TEST/root/etc/ccorch/rig.json
    hint: name one with `--rig FILE`, or start from examples/cc-ci.yaml
    --- status 3
    ");
    assert_snapshot!(env.ccorch(&["check", "nowhere.yaml"]), @"
    $ ccorch check nowhere.yaml
    --- stderr
    error: read rig file nowhere.yaml: No such file or directory (os error 2)
    hint: name the rig file with `--rig FILE`
    --- status 3
    ");
    assert_snapshot!(env.ccorch(&["check", "."]), @"
    $ ccorch check .
    --- stderr
    error: read rig file .: Is a directory (os error 21)
    hint: name the rig file with `--rig FILE`
    --- status 3
    ");
    env.write("tab.yaml", "rig: x\n\tworkspace: {}\n");
    assert_snapshot!(env.ccorch(&["check", "tab.yaml"]), @"
    $ ccorch check tab.yaml
    --- stdout
    tab.yaml:2: not valid YAML: a tab indents this line; expected spaces
    tab.yaml: 1 error, 0 warnings
    --- status 3
    ");
    env.write("empty.yaml", "");
    assert_snapshot!(env.ccorch(&["check", "empty.yaml"]), @"
    $ ccorch check empty.yaml
    --- stdout
    empty.yaml:1: the file is empty; a rig file starts with `rig: NAME`
    empty.yaml: 1 error, 0 warnings
    --- status 3
    ");
    env.write("latin1.yaml", b"rig: x\nworkspace: \xe4\n");
    assert_snapshot!(env.ccorch(&["check", "latin1.yaml"]), @"
    $ ccorch check latin1.yaml
    --- stderr
    error: latin1.yaml:2: not UTF-8 text; expected YAML or JSON in UTF-8
    hint: save the file as UTF-8
    --- status 3
    ");
    env.write("large.yaml", "# a log, not a rig\n".repeat(600_000));
    assert_snapshot!(env.ccorch(&["check", "large.yaml"]), @"
    $ ccorch check large.yaml
    --- stderr
    error: large.yaml: too large for a rig file; expected at most 1048576 bytes
    hint: see that this is the right file
    --- status 3
    ");
    assert_snapshot!(env.ccorch(&["check", "/dev/zero"]), @"
    $ ccorch check /dev/zero
    --- stderr
    error: /dev/zero: too large for a rig file; expected at most 1048576 bytes
    hint: see that this is the right file
    --- status 3
    ");
}

#[test]
fn named_files_are_looked_at() {
    let env = Env::new();
    env.write("rig/ccorch.yaml", with_files());
    assert_snapshot!(env.ccorch(&["check", "rig/ccorch.yaml"]), @"
    $ ccorch check rig/ccorch.yaml
    --- stdout
    rig/ccorch.yaml:18: hosts.vm.incus.certificate: warning: no file rig/vm.crt on this machine
    rig/ccorch.yaml:19: hosts.vm.incus.key: warning: no file rig/keys/vm.key on this machine
    rig/ccorch.yaml:21: hosts.vm.incus.authorized_key: warning: no file $TEST/home/.ssh/id.pub on this machine
    rig/ccorch.yaml: rig `demo` is good: 0 errors, 3 warnings
    --- status 0
    ");
    assert_snapshot!(env.ccorch(&["check", "--files", "rig/ccorch.yaml"]), @"
    $ ccorch check --files rig/ccorch.yaml
    --- stdout
    rig/ccorch.yaml:18: hosts.vm.incus.certificate: no file rig/vm.crt on this machine
    rig/ccorch.yaml:19: hosts.vm.incus.key: no file rig/keys/vm.key on this machine
    rig/ccorch.yaml:21: hosts.vm.incus.authorized_key: no file $TEST/home/.ssh/id.pub on this machine
    rig/ccorch.yaml: 3 errors, 0 warnings
    --- status 3
    ");

    env.write("rig/vm.crt", "").write("rig/keys/vm.key", "").mode("rig/keys/vm.key", 0o640);
    let pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    env.write(env.home().join(".ssh/id.pub"), pem);
    assert_snapshot!(env.ccorch(&["check", "rig/ccorch.yaml"]), @"
    $ ccorch check rig/ccorch.yaml
    --- stdout
    rig/ccorch.yaml:19: hosts.vm.incus.key: others can get at the private key rig/keys/vm.key (mode 0640); expected 0600: `chmod 600 rig/keys/vm.key`
    rig/ccorch.yaml:21: hosts.vm.incus.authorized_key: $TEST/home/.ssh/id.pub is a private key; expected the public one beside it (`.pub`)
    rig/ccorch.yaml: 2 errors, 0 warnings
    --- status 3
    ");

    env.mode("rig/keys/vm.key", 0o600).write(env.home().join(".ssh/id.pub"), "ssh-ed25519 AAAA me\n");
    assert_snapshot!(env.ccorch(&["check", "--files", "rig/ccorch.yaml"]), @"
    $ ccorch check --files rig/ccorch.yaml
    --- stdout
    rig/ccorch.yaml: rig `demo` is good: 0 errors, 0 warnings
    --- status 0
    ");
}

#[test]
fn help_has_an_example() {
    let env = Env::new();
    assert_snapshot!(env.ccorch(&["check", "--help"]), @"
    $ ccorch check --help
    --- stdout
    Check the rig file: every problem at once, with file, line and key

    Prints one line per finding, `FILE:LINE: KEY: MESSAGE`. Exit status 0 when the rig can be used,
    warnings or not; 3 when it has errors. Files the rig names on this machine (keys, certificates,
    images, secrets) are looked at: one that is not there is a warning, because the rig may be checked
    elsewhere, and a private key that others can read is an error.

    Usage: ccorch check [OPTIONS] [FILE]

    Arguments:
      [FILE]
              The rig file, in place of the one `--rig` or its default names

    Options:
          --files
              Take a named file that is not on this machine for an error

          --host <HOST>
              Check on this host of the rig, over ssh: its rig file, and whether its agents would start
              without a question

          --json
              Print one JSON object: rig, file, errors, warnings, findings

          --rig <FILE>
              The rig file [default: ./ccorch.yaml, else this host's /etc/ccorch/rig.json]
              
              [env: CCORCH_RIG]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      ccorch check
      ccorch check --files ccorch.yaml    before `ccorch provision`: every named file has to be there
      ccorch check --host vm              the agents there: trust dialog, permissions, first run, login
      ccorch check --json /etc/ccorch/rig.json
    --- status 0
    ");
}
