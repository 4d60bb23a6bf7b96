//! What the check says about whole files.

use indoc::indoc;
use insta::assert_snapshot;

use super::{Rig, check, parse};

/// A small rig without a finding.
pub(super) const GOOD: &str = indoc! {r#"
    rig: cc-ci
    workspace:
      root: /srv/cc-ci
      user: loops
      repositories:
        ".": { url: "ssh://git@git.example.org/ci/orchestrator.git", branch: main }
        cc-ci: { url: "ssh://git@git.example.org/ci/cc-ci.git", branch: main }
    phases:
      - { id: 1d, plan: plans/1d.md }
      - { id: "2", plan: plans/2.md }
    loops:
      builder: { agent: claude, workdir: cc-ci, prompt: plans/builder.md }
    lease: { remote: "ssh://git@git.example.org/ci/lease.git" }
    hosts:
      pi: { ssh: pi@raspberrypi }
      vm: { ssh: root@vm }
    cutover: { from: pi, to: vm }
"#};

/// All findings, one a line.
fn say(text: &str) -> String {
    let (rig, findings) = check(text);
    assert_eq!(rig.is_none(), findings.iter().any(|f| f.is_error()), "a rig if and only if nothing is wrong");
    let line = |f: &super::Finding| {
        let severity = if f.is_error() { "" } else { "warning: " };
        format!("{}: {}: {severity}{}\n", f.line, f.key, f.message)
    };
    findings.iter().map(line).collect()
}

fn with(change: impl Fn(String) -> String) -> String {
    say(&change(GOOD.to_owned()))
}

fn replaced(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    with(|text| text.replace(from, to))
}

#[test]
fn a_good_rig_has_no_findings() {
    assert_eq!(say(GOOD), "");
    let rig = parse(GOOD).unwrap();
    assert_eq!(rig.phases[1].id, "2");
    assert_eq!(rig.workspace.reboot_log, "REBOOTS.md");
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let windows = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    assert_eq!(parse(&windows), parse(GOOD));
    let wrong = windows.replace("ssh: root@vm", "ssh: -oProxyCommand=x");
    let at = |text: &str| check(text).1[0].line;
    assert_eq!(at(&wrong), at(&GOOD.replace("ssh: root@vm", "ssh: -oProxyCommand=x")));
}

#[test]
fn json_is_read_too() {
    let rig = parse(GOOD).unwrap();
    assert_eq!(parse(&serde_json::to_string_pretty(&rig).unwrap()), Ok(rig));
}

#[test]
fn json_keeps_every_character() {
    let mut rig = parse(GOOD).unwrap();
    let odd: String =
        (1..0x300u32).chain([0x2028, 0x2029, 0xfeff, 0x1f600]).filter_map(char::from_u32).collect();
    rig.loops.values_mut().next().unwrap().env.insert("ODD".into(), odd);
    assert_eq!(parse(&serde_json::to_string(&rig).unwrap()), Ok(rig));
}

#[test]
fn a_quoted_merge_sign_is_a_key_like_any_other() {
    let secrets = "secrets: { file: s.yaml, items: { \"<<\": { path: /x } } }\nlease:";
    assert_eq!(replaced("lease:", secrets), "");
}

#[test]
fn anchors_are_resolved() {
    let text = GOOD.replace("plans/1d.md", "&p plans/1d.md").replace("plans/2.md", "*p");
    assert_eq!(parse(&text).unwrap().phases[1].plan, "plans/1d.md");
}

#[test]
fn all_problems_are_told_at_once_and_none_twice() {
    let text = indoc! {r#"
        rig: CC CI
        workspace:
          root: srv/cc-ci
          user: root
          repositories:
            cc-ci: { url: "https://me:hunter2@git.example.org/x.git", brunch: main }
            ../up: { url: x.git, branch: "a b" }
          phase_file: 7
          tooling: yes
        phases:
          - { id: 2, plan: plans/1d.md }
        loops:
          builder: { agent: claud, workdir: cc-ci }
          runner: { agent: command, workdir: elsewhere }
          "Big Loop": { agent: claude, workdir: . }
        proxy: { listen: "0.0.0.0:1055", backend: ssh }
        hosts:
          pi: {}
          vm: { provider: incus, size: { cpus: many, memory: 2G } }
          qm: { provider: quemu, qemu: { image: a.img, ssh_port: 70000, authorized_key: k.pub } }
        cutover: { from: pi, to: nowhere }
    "#};
    assert_snapshot!(say(text), @r#"
    1: rig: rig name `CC CI` is not allowed: 1 to 32 characters of a-z, 0-9 and `-`, not starting with `-`
    1: lease: warning: no lease remote: each host's own file alone decides, so nothing stops a copied disk, or a source that comes back, from running the loops a second time
    3: workspace.root: expected an absolute path without `.`, `..`, a doubled or a trailing `/`, found `srv/cc-ci`
    4: workspace.user: warning: the agents would run as root; expected a user of their own (Claude Code refuses to skip permissions as root)
    6: workspace.repositories.cc-ci.brunch: unknown key; did you mean `branch`?
    6: workspace.repositories.cc-ci.url: there is a password in this URL, and URLs are seen in process lists and logs; use an ssh key or a credential helper
    7: workspace.repositories."../up": expected a relative path without `.`, `..`, `~`, a doubled or a trailing `/`, found `../up` (`.` is the root itself)
    7: workspace.repositories."../up".branch: expected a git ref name, found `a b`
    8: workspace.phase_file: expected a string, found a number; put it in quotes: "7"
    9: workspace.tooling: unknown key; expected one of `root`, `user`, `repositories`, `copies`, `carry`, `phase_file` and `reboot_log`
    11: phases[0].id: expected a string, found a number; put it in quotes: "2"
    13: loops.builder.agent: `claud` is not known; did you mean `claude`? expected `claude` or `command`
    14: loops.runner.command: missing; `agent: command` needs the program and its arguments
    15: loops."Big Loop": loop name `Big Loop` is not allowed: 1 to 32 characters of a-z, 0-9 and `-`, not starting with `-`
    16: proxy.listen: expected a loopback address (others could use the proxy), found `0.0.0.0:1055`
    16: proxy.ssh: missing; `backend: ssh` needs the destination of `ssh -N -D`
    18: hosts.pi: expected `ssh` (where it is) or `provider` (what makes it)
    19: hosts.vm.size.cpus: expected a whole number from 1 to 4294967295, found a string
    19: hosts.vm.incus: missing; `provider: incus` needs this section
    19: hosts.vm.size.memory: expected a size like `2GiB` or `512MiB`, found `2G`
    20: hosts.qm.provider: `quemu` is not known; did you mean `qemu`? expected `incus` or `qemu`
    20: hosts.qm.qemu.ssh_port: expected a whole number from 1 to 65535, found `70000`
    21: cutover.to: there is no host `nowhere`; expected one of `pi`, `qm`, `vm`
    "#);
}

#[test]
fn an_unknown_key_names_the_nearest_or_all() {
    assert_snapshot!(replaced("branch: main", "brunch: main"), @r#"
    6: workspace.repositories.".".brunch: unknown key; did you mean `branch`?
    7: workspace.repositories.cc-ci.brunch: unknown key; did you mean `branch`?
    "#);
    assert_snapshot!(replaced("user: loops", "user: loops\n  colour: red"), @"5: workspace.colour: unknown key; expected one of `root`, `user`, `repositories`, `copies`, `carry`, `phase_file` and `reboot_log`");
}

#[test]
fn scalars_that_are_not_strings_say_how_to_write_them() {
    assert_snapshot!(replaced("id: \"2\"", "id: 2"), @r#"10: phases[1].id: expected a string, found a number; put it in quotes: "2""#);
    assert_snapshot!(replaced("plan: plans/2.md", "plan:"), @"10: phases[1].plan: expected a string, found nothing");
    assert_snapshot!(replaced("ssh: root@vm", "ssh: root@vm, port: \"22\""), @"16: hosts.vm.port: expected a whole number from 1 to 65535, found a string; leave the quotes out");
    assert_snapshot!(replaced("lease:", "tools: jq\nlease:"), @"13: tools: expected a list, found a string; write [jq]");
    assert_snapshot!(replaced("lease: {", "lease: { heartbeat: 60,"), @r#"13: lease.heartbeat: expected a string, found a number; put it in quotes: "60""#);
    assert_snapshot!(replaced("lease: {", "lease: { heartbeat: \"60\","), @"13: lease.heartbeat: `60` is not a duration like `90s`, `20m` or `1h30m`");
}

#[test]
fn what_is_not_yaml_is_refused_with_its_line() {
    assert_snapshot!(say("rig: x\n\tworkspace: {}\n"), @"2: : not valid YAML: a tab indents this line; expected spaces");
    assert_snapshot!(say("rig: [x\n"), @"1: : not valid YAML: while parsing a flow sequence, expected ',' or ']'");
    assert_snapshot!(say("\0\u{1}"), @r#"1: : not a text file: control character `\u{0}`"#);
    assert_snapshot!(say(""), @"1: : the file is empty; a rig file starts with `rig: NAME`");
    assert_snapshot!(say("# nothing\n"), @"1: : the file is empty; a rig file starts with `rig: NAME`");
    assert_snapshot!(say("- a\n- b\n"), @"1: : expected a mapping of keys to values, found a list");
    assert_snapshot!(say("just text"), @"1: : expected a mapping of keys to values, found a string");
}

#[test]
fn what_yaml_allows_and_a_rig_does_not() {
    assert_snapshot!(with(|t| t + "rig: again\n---\nrig: other\n"), @"
    18: rig: this key is given twice; it stands on line 1 already
    19: : a second YAML document starts here; expected one rig in one file
    ");
    assert_snapshot!(replaced("rig: cc-ci", "rig: !secret cc-ci"), @"1: rig: the tag `!secret` means nothing here; expected a plain value");
    assert_snapshot!(replaced("user: loops", "<<: { user: loops }\n  user: loops"), @r#"4: workspace."<<": merge keys are not part of YAML 1.2; write the keys out"#);
    assert_snapshot!(replaced("user: loops", "user: loops\n  ? [a]\n  : b"), @"5: workspace: a list or mapping stands where a key was expected (a value that starts with `{`, `[`, `*` or `&` needs quotes)");
    assert_snapshot!(say("rig: &a [*a]"), @"1: rig[0]: this alias stands inside what it names");
}

#[test]
fn hostile_files_end_quickly_with_one_clear_error() {
    let laughs: String =
        std::iter::once("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned())
            .chain((1..30).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", "))))
            .collect();
    assert_snapshot!(say(&laughs), @"7: a6[0]: aliases make this file larger than 64 MiB");
    assert_snapshot!(say(&"[".repeat(500_000)), @"1: : not valid YAML: recursion limit exceeded");
    assert_snapshot!(say(&"{a: ".repeat(200_000)), @"1: : not valid YAML: recursion limit exceeded");
    assert_snapshot!(say(&"- ".repeat(200_000)), @"1: : nested deeper than 32 levels");
    assert_snapshot!(say(&"a".repeat(10 << 20)), @"0: : the file has 10485760 bytes; expected a rig file of at most 1048576");
    let many: String = (0..80_000).map(|n| format!("k{n}: 1\n")).collect();
    assert_eq!(say(&many).lines().count(), super::shape::MOST_FINDINGS);
    let many: String = (0..30_000).map(|n| format!("  h{n}: {{}}\n")).collect();
    assert_eq!(
        with(|t| t.replace("hosts:\n", &format!("hosts:\n{many}"))).lines().count(),
        super::shape::MOST_FINDINGS
    );
}

#[test]
fn the_workspace_makes_sense() {
    for root in ["/", "srv", "/srv/", "/srv//x", "/srv/../etc", "/srv/./x", "~/x"] {
        assert!(
            replaced("/srv/cc-ci", root).starts_with("3: workspace.root: expected an absolute path"),
            "{root}"
        );
    }
    assert_snapshot!(replaced("user: loops", "user: loops\n  carry: [../up, /etc, .cache]"), @"
    5: workspace.carry[0]: expected a relative path without `.`, `..`, `~`, a doubled or a trailing `/`, found `../up`
    5: workspace.carry[1]: expected a relative path without `.`, `..`, `~`, a doubled or a trailing `/`, found `/etc`
    ");
    assert_snapshot!(
        replaced("user: loops", "user: loops\n  copies: { a: { from: /srv/cc-ci/x }, b: { from: /srv }, c: { from: /srv/cc-ci2 }, d: { from: x } }"),
        @"
        5: workspace.copies.a.from: is inside the workspace; expected a folder outside (use `workspace.carry` for what git does not hold)
        5: workspace.copies.b.from: holds the workspace itself; expected a folder outside `/srv/cc-ci`
        5: workspace.copies.d.from: expected an absolute path without `.`, `..`, a doubled or a trailing `/`, found `x`
        "
    );
    assert_snapshot!(replaced("user: loops", "user: loops\n  phase_file: REBOOTS.md"), @"2: workspace.reboot_log: is the phase file too; expected two files (the phase file holds one number and nothing else)");
    assert_snapshot!(replaced("loops:\n", "stop_grace: 61s\nloops:\n"), @"11: stop_grace: expected at most 1m: a machine that shuts down waits for it");
    assert_snapshot!(replaced("id: \"2\"", "id: 1d"), @"10: phases[1].id: `1d` is the id of phases[0] already; expected one that is not taken");
    assert_snapshot!(with(|t| t.replace("  - { id: 1d, plan: plans/1d.md }\n  - { id: \"2\", plan: plans/2.md }\n", "  []\n")), @"8: phases: expected at least one phase");
}

#[test]
fn the_loops_make_sense() {
    assert_snapshot!(with(|t| t.replace("    \".\": { url: \"ssh://git@git.example.org/ci/orchestrator.git\", branch: main }\n", "").replace("workdir: cc-ci", "workdir: cc-cii")), @"11: loops.builder.workdir: `cc-cii` is in none of the workspace's repositories and carried folders; expected `.` or a folder in `cc-ci`");
    assert_snapshot!(replaced("workdir: cc-ci", "workdir: cc-ci/../.."), @"12: loops.builder.workdir: expected a relative path without `.`, `..`, `~`, a doubled or a trailing `/`, found `cc-ci/../..` (`.` is the root itself)");
    assert_snapshot!(replaced("agent: claude", "agent: command"), @"12: loops.builder.command: missing; `agent: command` needs the program and its arguments");
    assert_snapshot!(replaced("  builder:", "  a: { agent: claude, workdir: ., role: orchestrator }\n  b: { agent: claude, workdir: ., role: orchestrator }\n  c: { agent: claude, workdir: cc-ci }\n  builder:"), @"
    13: loops.b.role: loop `a` is the orchestrator already; expected one at most
    14: loops.c.prompt: warning: missing; nothing tells this loop what to do when its first conversation starts
    14: loops.c.workdir: warning: loop `builder` works in the same folder; both would change one checkout
    ");
    assert_snapshot!(replaced("agent: claude", "agent: claude, env: { API_TOKEN: hunter2, TOKEN_FILE: /run/t, MAX_TOKENS: \"5\", 1X: y, K: ghp_abc }"), @"
    12: loops.builder.env.1X: expected a variable name (A-Z, a-z, 0-9, `_`), found `1X`
    12: loops.builder.env.API_TOKEN: warning: looks like a secret, and this file is not the place for one; expected it in `secrets`, as a file the agent reads
    12: loops.builder.env.K: warning: looks like a secret, and this file is not the place for one; expected it in `secrets`, as a file the agent reads
    ");
    assert_snapshot!(with(|t| t.replace("  builder: { agent: claude, workdir: cc-ci, prompt: plans/builder.md }\n", "  {}\n")), @"11: loops: expected at least one loop");
}

#[test]
fn services_make_sense() {
    let lease = "remote: \"ssh://git@git.example.org/ci/lease.git\"";
    assert_eq!(replaced("lease: {", "lease: { term: 10m,"), "");
    assert_snapshot!(replaced("lease: {", "lease: { term: 10m, offline: trust,"), @"13: lease.offline: `trust` does not go with `term`, by which the other host takes over from one that the remote does not hear of; expected `wait`");
    assert_snapshot!(with(|t| t.replace("lease: {", "#")), @"1: lease: warning: no lease remote: each host's own file alone decides, so nothing stops a copied disk, or a source that comes back, from running the loops a second time");
    for same in [
        "git@git.example.org:ci/cc-ci",
        "https://GIT.example.org/ci/cc-ci.git/",
        "ssh://git@git.example.org:2222/ci/cc-ci.git",
    ] {
        assert!(replaced(lease, &format!("remote: \"{same}\"")).contains("which agents push to"), "{same}");
    }
    assert_snapshot!(replaced(lease, &format!("{lease}, heartbeat: 0s, ref: main, identity: key")), @"
    13: lease.ref: expected a full ref name like `refs/ccorch/lease/NAME`, found `main`
    13: lease.identity: expected an absolute path without `.`, `..`, a doubled or a trailing `/`, found `key`
    13: lease.heartbeat: expected at least `1s` (a running host asks the remote that often)
    ");
    assert_snapshot!(replaced("lease:", "proxy: { backend: ssh }\nlease:"), @"13: proxy.ssh: missing; `backend: ssh` needs the destination of `ssh -N -D`");
    assert_snapshot!(replaced("lease:", "proxy: { listen: \"192.168.1.1:1055\", ssh: x, check: y, hosts: [a b] }\nlease:"), @"
    13: proxy.listen: expected a loopback address (others could use the proxy), found `192.168.1.1:1055`
    13: proxy.check: expected `host:port`, found `y`
    13: proxy.hosts[0]: expected a host name or address, found `a b`
    13: proxy.ssh: warning: has no effect without `backend: ssh`
    13: proxy.check: warning: has no effect without a backend; expected `backend: tailscaled` or `ssh`
    13: proxy.hosts: warning: has no effect without a backend; expected `backend: tailscaled` or `ssh`
    ");
    assert_snapshot!(replaced("lease:", "secrets:\n  file: s.yaml\n  items:\n    a: { path: /x, mode: \"0644\" }\n    b: { path: /x, mode: 600 }\n    c: { path: x, mode: rw, owner: A }\nlease:"), @r#"
    16: secrets.items.a.mode: mode `0644` lets everybody on the host at a secret; expected `0600` or `0640`
    17: secrets.items.b.mode: expected a string, found a number; put it in quotes: "600"
    17: secrets.items.b.path: `/x` is written by `a` already; expected a path of its own
    18: secrets.items.c.path: expected an absolute path without `.`, `..`, a doubled or a trailing `/`, found `x`
    18: secrets.items.c.mode: expected a mode in octal like `0600`, found `rw`
    18: secrets.items.c.owner: expected a Unix user name (a-z, 0-9, `_`, `-`), found `A`
    "#);
    assert_snapshot!(replaced("lease:", "tools: [jq, /bin/jq, jq]\nnotify: [ { ntfy: ntfy.sh/x }, { ntfy: \"https://a:b@ntfy.sh/x\" }, { token_file: t }, { webhook: \"http://h/x\", command: [say] }, { ntfy: \"http://h/x\", token_file: /t }, { ntfy: \"http://127.0.0.1:80/x\", token_file: /t }, { webhook: \"file://run/x\" }, { webhook: \"file:///run/x\", token_file: /t } ]\nlease:"), @"
    13: tools[1]: expected the bare name of a command, found `/bin/jq`
    13: tools[2]: warning: `jq` is tools[0] already
    14: notify[0].ntfy: expected a URL that starts with `https://` or `http://`, found `ntfy.sh/x`
    14: notify[1].ntfy: there is a password in this URL, and URLs are seen in process lists and logs; use an ssh key or a credential helper
    14: notify[2].token_file: expected an absolute path without `.`, `..`, a doubled or a trailing `/`, found `t`
    14: notify[2]: expected `ntfy: URL`, `webhook: URL` or `command: [PROGRAM, ...]`
    14: notify[3]: expected one of `ntfy`, `webhook` and `command`; make each an entry of its own
    14: notify[4].token_file: the token would cross the network in clear; expected an `https://` URL beside it
    14: notify[6].webhook: expected an absolute path without `.`, `..`, a doubled or a trailing `/`, found `run/x`
    ");
}

#[test]
fn hosts_make_sense() {
    let incus = "provider: incus, incus: { url: \"https://b1:8443\", certificate: a.crt, key: a.key, image: base, authorized_key: a.pub }";
    assert_eq!(replaced("ssh: root@vm", incus), "");
    assert_snapshot!(with(|t| t.replace("vm: { ssh: root@vm }", &format!("1vm: {{ {incus} }}").replace("https", "http")).replace("to: vm", "to: 1vm")), @"
    16: hosts.1vm: expected a name that starts with a letter and does not end with `-` (Incus takes no other), found `1vm`
    16: hosts.1vm.incus.url: `http://b1:8443` is not the URL of an Incus server: `https://HOST:PORT` or `unix:///PATH` is
    ");
    assert_snapshot!(replaced("ssh: root@vm", "provider: incus"), @"16: hosts.vm.incus: missing; `provider: incus` needs this section");
    assert_snapshot!(replaced("ssh: root@vm", "port: 22"), @"16: hosts.vm: expected `ssh` (where it is) or `provider` (what makes it)");
    assert_snapshot!(replaced("ssh: root@vm", "ssh: pi@raspberrypi, port: 0, host_key: ssh-rsa"), @"
    16: hosts.vm.port: expected a whole number from 1 to 65535, found `0`
    16: hosts.vm.host_key: expected a public host key like `ssh-ed25519 AAAA...`, found `ssh-rsa`
    16: hosts.vm.ssh: warning: is where host `pi` is too; they would be one machine
    ");
    assert_snapshot!(replaced("ssh: root@vm", "ssh: pi@raspberrypi, qemu: { image: a, ssh_port: 2222, authorized_key: ~root/x }"), @"
    16: hosts.vm.qemu: expected `provider: qemu` beside this section
    16: hosts.vm.qemu.authorized_key: expected a path: absolute, `~/...` or relative to the rig file, found `~root/x`
    16: hosts.vm.ssh: warning: is where host `pi` is too; they would be one machine
    ");
    assert_snapshot!(replaced("ssh: root@vm", "ssh: root@vm, size: { cpus: 0, memory: 2MiB, disk: 30 GiB }"), @"
    16: hosts.vm.size.cpus: expected a whole number from 1 to 4294967295, found `0`
    16: hosts.vm.size.memory: `2MiB` is too small: expected at least `256MiB`
    16: hosts.vm.size.disk: expected a size like `2GiB` or `512MiB`, found `30 GiB`
    ");
    assert_snapshot!(replaced("ssh: root@vm", "ssh: root@vm, runs: { stop: [], start: [\"\"], units: [a.service, b, c.servce, d@1.timer] }"), @"
    16: hosts.vm.runs.stop: expected a program and its arguments
    16: hosts.vm.runs.start: expected a program and its arguments
    16: hosts.vm.runs.units[1]: expected a unit name with its type, like `name.service` or `name.timer`, found `b`
    16: hosts.vm.runs.units[2]: expected a unit name with its type, like `name.service` or `name.timer`, found `c.servce`
    ");
    assert_snapshot!(replaced("to: vm", "to: pi"), @"17: cutover.to: is the source too; expected another host");
    assert_snapshot!(replaced("to: vm", "to: vn"), @"17: cutover.to: there is no host `vn`; expected one of `pi`, `vm`");
}

#[test]
fn a_proxy_that_is_off_keeps_its_settings_when_written() {
    let rig = parse(&GOOD.replace("lease:", "proxy: { listen: \"127.0.0.1:9\" }\nlease:")).unwrap();
    let written: Rig = parse(&serde_json::to_string(&rig).unwrap()).unwrap();
    assert_eq!(written.proxy.listen, "127.0.0.1:9");
}

#[test]
fn what_a_target_has_to_show_can_be_asked_for() {
    let confirm = |text: &str| replaced("to: vm }", &format!("to: vm, confirm: {{ {text} }} }}"));
    let good = "settle: 5s, health: [{ url: 'https://a/x' }], handoffs: [{ file: cc-ci/INBOX.md }, { commits: cc-ci }]";
    assert_eq!(confirm(good), "");
    let said = confirm("health: [{ url: 'https://hunter1@a/x?token=hunter2' }]");
    assert!(
        said.contains("cutover.confirm.health[0].url: warning: the user or query")
            && !said.contains("hunter"),
        "{said}"
    );
    assert_snapshot!(confirm("health: [{ url: 'ftp://a' }, { url: 'http://a', proxy: true }]"));
    assert_snapshot!(confirm(
        "crashes: 0, handoffs: [{}, { commits: other }, { file: /x }, { file: x, commits: . }]"
    ));
}

#[test]
fn what_keeps_loops_apart_is_checked() {
    let builder = "builder: { agent: claude, workdir: cc-ci, prompt: plans/builder.md }";
    let said = replaced(
        builder,
        &format!(
            "{}, user: Adv, limits: {{ memory_high: 2GiB, memory_max: 1GiB, cpu_wait: 3, tasks: 4 }},\n    read_only: [cc-ci, ../x], hidden: [., /srv/other/], redonly: [] }}",
            builder.trim_end_matches(" }")
        ),
    );
    assert_snapshot!(said, @"
    12: loops.builder.limits.cpu_wait: unknown key; did you mean `cpu_weight`?
    12: loops.builder.limits.memory_high: is above `memory_max`, which ends the loop first; expected less than that
    12: loops.builder.limits.tasks: `4` is too few: a loop needs at least 16 of them
    12: loops.builder.user: expected a Unix user name (a-z, 0-9, `_`, `-`), found `Adv`
    13: loops.builder.redonly: unknown key; did you mean `read_only`?
    13: loops.builder.read_only[0]: warning: the loop cannot write its own working directory `cc-ci`
    13: loops.builder.read_only[1]: expected a path, absolute or relative to the workspace's root, in its shortest form, found `../x`
    13: loops.builder.hidden[0]: hides the loop's own working directory `cc-ci` from it
    13: loops.builder.hidden[1]: expected a path, absolute or relative to the workspace's root, in its shortest form, found `/srv/other/`
    ");
    let said = replaced(
        builder,
        &format!(
            "{}, user: adv, limits: {{ memory_max: 1MiB, cpu_weight: 0 }},\n    hidden: [.testenv], read_only: [cc-ci/tests] }}",
            builder.replace("workdir: cc-ci", "workdir: .").trim_end_matches(" }")
        ),
    );
    assert_snapshot!(said, @"
    12: loops.builder.limits.memory_max: `1MiB` is too small: a loop needs at least `32MiB`
    12: loops.builder.limits.cpu_weight: expected a weight from 1 to 10000, found `0`
    12: loops.builder.user: a loop with a user of its own writes its working directory, and this one works in the whole workspace; expected a `workdir` below it
    ");
}
