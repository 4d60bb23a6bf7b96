//! `ccorch-proxy.service` on a real systemd: up means that it answers, and it comes back from whatever ends it.
//! One container of the test bed; a second sshd there, which can be switched off, is the proxy's far side.

use std::time::{Duration, Instant};

use crate::container::Container;

const RIG: &str = r"
rig: demo
workspace: { root: /srv/w, user: loops, repositories: {} }
phases: [{ id: a, plan: a.md }]
loops: { one: { agent: command, workdir: ., command: [sleep, '9'] } }
proxy: { backend: ssh, ssh: root@127.0.0.1, port: 2222, host_key: ssh-ed25519 KEY, identity: /root/proxy_key, check: '127.0.0.1:22' }
hosts: { vm: HOST }
";
/// The far side. Without PAM its sessions stay in the unit, and end with it.
const FAR: &str = "mkdir -p /run/sshd && systemd-run --quiet --unit far --property KillMode=control-group /usr/sbin/sshd -D -p 2222 -o UsePAM=no -o PidFile=none";
/// A key that no sshd has, until the container's own takes its place.
const STRANGER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
const CHECK: &str = "ccorch proxy check --banner --json";
const MAIN: &str = "systemctl show -P MainPID ccorch-proxy";

#[test]
fn the_proxy_is_up_when_it_answers_and_comes_back() {
    let vm = Container::installed("proxy", &RIG.replace("KEY", STRANGER));
    vm.tells("ssh-keygen -qt ed25519 -N '' -f /root/proxy_key && cat /root/proxy_key.pub >> /root/.ssh/authorized_keys");
    vm.tells(FAR);
    vm.until_holds("ssh-keyscan -p 2222 127.0.0.1 2>/dev/null | grep -q .");

    // Another host key than the pinned one: the start fails, and long before its time-out.
    let began = Instant::now();
    assert!(!vm.holds("systemctl start ccorch-proxy"));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert!(vm.holds("journalctl -u ccorch-proxy | grep -q 'Host key verification failed'"));
    vm.tells("systemctl stop ccorch-proxy");

    let key = vm.tells("cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub");
    vm.tells(&format!("sed -i 's|{STRANGER}|{key}|' /etc/ccorch/rig.json"));
    vm.tells("systemctl start ccorch-proxy");
    // No waiting: started means that it answers.
    let report: serde_json::Value = serde_json::from_str(&vm.tells(CHECK)).unwrap();
    assert_eq!(report["answer"], "spoke", "{report}");
    let ssh = vm.tells(MAIN);
    assert_eq!(vm.tells(&format!("cat /proc/{ssh}/comm")), "ssh");
    // Not root, and no capability.
    let status = vm.tells(&format!("cat /proc/{ssh}/status"));
    let uid = |line: &&str| line.starts_with("Uid:") && line.split_whitespace().nth(1) != Some("0");
    assert!(status.lines().any(|line| uid(&line)), "{status}");
    assert!(status.contains("CapBnd:\t0000000000000000"), "{status}");

    vm.tells(&format!("kill -KILL {ssh}"));
    vm.until_holds(CHECK);
    assert_ne!(vm.tells(MAIN), ssh);

    // The far side goes: the proxy is down and says so, and it is back soon after the far side is.
    vm.tells("systemctl stop far");
    vm.until_holds("! systemctl is-active --quiet ccorch-proxy");
    assert!(!vm.holds(CHECK));
    vm.tells(FAR);
    vm.until_holds(CHECK);
    vm.until_holds("systemctl is-active --quiet ccorch-proxy");

    // A rig without a proxy has nothing to start, and that is no failure.
    vm.tells("sed -i 's/\"backend\": *\"ssh\"/\"backend\":\"none\"/' /etc/ccorch/rig.json");
    vm.tells("systemctl restart ccorch-proxy");
    assert_eq!(vm.tells("systemctl show -P ActiveState -P Result ccorch-proxy"), "exec-condition\ninactive");
}
