//! The old source of a cutover on a real systemd, in a rig with a term: it stays read-only and silent over a boot, takes
//! over when the holder is gone, and its loops can write.

use std::path::Path;

use crate::container::Container;

const RIG: &str = r"
rig: demo
workspace: { root: /srv/w, user: loops, repositories: {} }
phases: [{ id: a, plan: a.md }]
loops:
  one: { agent: command, workdir: ., command: [/usr/local/bin/agent, one] }
lease: { remote: /var/lib/ccorch/arbiter.git, heartbeat: 2s, stop: 5s, term: 40s }
hosts: { vm: HOST, pi: { ssh: pi@192.0.2.1 } }
";
/// What a cutover does to its source at the end: these very scripts.
const OFF: &str = include_str!("../../src/cutover/decommission/off.sh");
const READ_ONLY: &str = include_str!("../../src/cutover/decommission/read-only.sh");
/// And what takes that back.
const WRITABLE: &str = include_str!("../../src/here/standby/writable.sh");

#[test]
fn an_old_source_takes_over_after_the_term_with_a_workspace_that_its_loops_can_write() {
    let vm = Container::installed("standby", RIG);
    vm.push(Path::new("tests/host_systemd/agent.sh"), "/usr/local/bin/agent");
    vm.tells("mkdir -p /var/lib/ccorch; git init -q --bare /var/lib/ccorch/arbiter.git");
    let writes = "runuser -u loops -- touch /srv/w/probe";
    vm.tells(writes);
    vm.tells("echo '{}' > /var/lib/ccorch/standby.json; runuser -u loops -- touch /srv/w/STANDBY.txt");
    vm.tells(&format!("set -- /srv/w /srv/w\n{READ_ONLY}"));
    vm.tells(&format!("set -- watch\n{OFF}"));
    vm.reboot();
    assert!(!vm.holds(writes), "the workspace of a standby takes writes after a boot");
    assert!(!vm.holds("systemctl is-active -q ccorch-supervisor.service"), "a boot starts the supervisor");

    // The pi, under a folder of its own, acquires the lease once and never renews it.
    vm.tells("mkdir -p /root/pi/etc/ccorch; cp /etc/ccorch/rig.json /root/pi/etc/ccorch; echo pi > /root/pi/etc/ccorch/host");
    vm.tells(
        "export CCORCH_ROOT=/root/pi; ccorch lease init --holder pi; ccorch lease tick; ccorch lease check",
    );
    vm.until_holds("systemctl is-active -q ccorch-lease.timer");
    vm.until_holds("ccorch lease show --json | grep -q '\"may_start\": true'");
    vm.until_well();
    let at_work = || {
        vm.tells(writes);
        assert!(vm.agent("one") > 0);
        for left in ["/var/lib/ccorch/standby.json", "/srv/w/STANDBY.txt", "/etc/systemd/system/srv-w.mount"]
        {
            assert!(!vm.holds(&format!("test -e {left}")), "{left} is still there");
        }
    };
    at_work();
    vm.reboot();
    vm.until_well();
    at_work();
}

/// A disk of its own, as a small computer has it: the mount's unit is the host's.
#[test]
fn a_workspace_that_is_a_mount_of_its_own_stays_read_only_over_boots_until_it_is_opened() {
    let vm = Container::launched("own-mount");
    vm.tells("mkdir -p /var/disk /srv/w; echo '/var/disk /srv/w none bind 0 0' >> /etc/fstab; systemctl daemon-reload; mount /srv/w");
    vm.tells("echo 'echo ran' > /srv/w/launch.sh; chmod 755 /srv/w/launch.sh");
    let (writes, runs) = ("touch /srv/w/probe", "/srv/w/launch.sh");
    let close = format!("set -- /srv/w /srv/w\n{READ_ONLY}");
    let open = format!("set -- /srv/w\n{WRITABLE}");
    vm.tells(writes);
    vm.tells(runs);
    for _ in 0..2 {
        vm.tells(&close);
        assert!(!vm.holds(writes) && !vm.holds(runs), "it takes writes, or its programs run");
    }
    vm.reboot();
    vm.until_holds("systemctl is-active -q multi-user.target");
    assert!(!vm.holds(writes) && !vm.holds(runs), "it takes writes, or its programs run, after a boot");
    // The disk goes and comes.
    vm.tells("systemctl stop srv-w.mount; systemctl start srv-w.mount");
    vm.until_holds("systemctl is-active -q ccorch-read-only@srv-w.service");
    assert!(!vm.holds(writes), "it takes writes once it was mounted anew");
    for _ in 0..2 {
        vm.tells(&open);
        vm.tells(writes);
        vm.tells(runs);
    }
    assert!(!vm.holds("test -e /etc/systemd/system/ccorch-read-only@.service"));
    vm.reboot();
    vm.until_holds("mountpoint -q /srv/w");
    vm.tells(writes);
}

/// The unit that watches a confirm window writes to no workspace: it has that done outside of its sandbox.
#[test]
fn what_a_target_that_stood_down_has_not_saved_is_rescued_by_its_own_unit() {
    let clone = "{ w: { url: /srv/w.git, branch: main } }";
    let vm = Container::installed(
        "stood-down",
        &RIG.replace("repositories: {}", &format!("repositories: {clone}")),
    );
    vm.tells("git init -q --bare -b main /srv/w.git; chown -R loops: /srv/w.git");
    let git = "git -c user.name=a -c user.email=a@b";
    let clone = format!(
        "git clone -q /srv/w.git w; cd w; {git} commit -q --allow-empty -m one; git push -q origin main; echo new > draft"
    );
    vm.tells(&format!("runuser -u loops -- sh -euc 'cd /srv/w; {clone}' 2>&1"));
    let terms =
        r#"{ "timeout": "1s", "settle": "0s", "crashes": 3, "prove_reboot": false, "fallback": "1s" }"#;
    let window = format!(
        r#"{{ "journal": "20260101T000000Z-a", "opened": "2026-01-01T00:00:00Z", "terms": {terms}, "stage": "watching",
           "verdict": "failed", "why": "x", "missing": [], "worked": {{}}, "spent_ms": 0, "stood_down": true }}"#
    );
    vm.tells(&format!("mkdir -p /var/lib/ccorch; echo '{window}' > /var/lib/ccorch/confirm.json"));
    vm.tells("systemctl start ccorch-confirm.service");
    vm.until_holds(
        "runuser -u loops -- git -C /srv/w.git show ccorch/rescue/vm/20260101T000000Z:draft | grep -qx new",
    );
    vm.until_holds("grep -q work-rescued /var/lib/ccorch/events.jsonl");
}
