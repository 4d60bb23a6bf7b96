//! `ccorch proxy check` and `proxy run`.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::rig::Rig;
use crate::sshd::Sshd;
use crate::{LONG, Running, free_port, wait_for};

#[test]
fn a_real_ssh_proxy_is_proved_by_the_banner_of_a_real_target() {
    let sshd = Sshd::start();
    let rig = Rig::through(&sshd);
    let _proxy = rig.run();
    for host in ["127.0.0.1", "localhost"] {
        let target = format!("{host}:{}", sshd.port);
        let output = rig.output(&["proxy", "check", &target, "--banner", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(report["answer"], "spoke");
        assert!(report["said"].as_str().unwrap().starts_with("SSH-2.0-"), "{report}");
        assert!(report["latency_ms"].as_f64().unwrap() > 0.0);
    }
    // `ssh -D` has no refusal: it hangs up.
    let dead = format!("127.0.0.1:{}", free_port());
    let text = rig.shown(&["proxy", "check", &dead]).replace(&dead, "DEAD");
    insta::assert_snapshot!(text, @r"
    status 1
    error: proxy PROXY hung up on the connection to DEAD, as `ssh -D` does when the target does not answer
    hint: the proxy works: see that the target is up, and that the proxy's far side may reach it
    ");
}

#[test]
fn a_target_that_waits_for_a_request_is_silent_not_refused() {
    let sshd = Sshd::start();
    let rig = Rig::through(&sshd);
    let _proxy = rig.run();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let held = thread::spawn(move || (listener.accept(), listener.accept()));
    let output = rig.output(&["proxy", "check", &target, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["ok"], &report["answer"]), (&true.into(), &"silent".into()), "{report}");
    let text = rig.shown(&["proxy", "check", &target, "--banner", "--timeout", "1s"]);
    assert!(text.starts_with("status 10\n"), "{text}");
    drop(held.join());
}

#[test]
fn another_host_key_than_the_pinned_one_ends_the_proxy_and_the_wait_for_it() {
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let rig = Rig::with(&format!(
        "{{ listen: LISTEN, backend: ssh, {}, identity: {}, host_key: '{}' }}",
        sshd.destination(),
        sshd.identity().display(),
        other.host_key.trim()
    ));
    let mut command = rig.command(&["proxy", "run"]);
    let mut process = Running(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let pid = process.0.id().to_string();
    let mut status = None;
    wait_for("ssh gives up", || {
        status = process.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(255));
    let mut said = String::new();
    std::io::Read::read_to_string(process.0.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert!(said.contains("Host key verification failed"), "{said}");
    let start = Instant::now();
    let text =
        rig.shown(&["proxy", "check", "--listening", "--wait", "--timeout", "60s", "--while-pid", &pid]);
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    insta::assert_snapshot!(text, @r"
    status 4
    error: proxy PROXY: cannot connect: Connection refused (os error 111)
    hint: see why the proxy is down: `systemctl status ccorch-proxy`
    ");
}

#[test]
fn the_wait_ends_when_the_proxy_comes() {
    let rig = Rig::with("{ listen: LISTEN, backend: tailscaled }");
    let mut command = rig.command(&["proxy", "check", "--listening", "--wait", "--timeout", "30s"]);
    let mut waiting = Running(command.stdin(Stdio::null()).spawn().unwrap());
    let _proxy = microsocks(rig.port, &[]);
    wait_for("the check ends", || waiting.0.try_wait().unwrap().is_some());
    assert!(waiting.0.wait().unwrap().success());
}

#[test]
fn a_second_real_server_gives_its_own_reply_codes_and_logins() {
    let rig = Rig::with("{ listen: LISTEN, backend: tailscaled }");
    let target = format!("127.0.0.1:{}", free_port());
    let proxy = microsocks(rig.port, &[]);
    wait_for("microsocks answers", || rig.output(&["proxy", "check"]).status.success());
    let text = rig.shown(&["proxy", "check", &target]).replace(&target, "DEAD");
    insta::assert_snapshot!(text, @r"
    status 1
    error: proxy PROXY did not connect to DEAD: connection refused
    hint: the proxy works: see that the target is up, and that the proxy's far side may reach it
    ");
    drop(proxy);

    let _proxy = microsocks(rig.port, &["-u", "user", "-P", "password"]);
    let mut text = String::new();
    wait_for("microsocks answers again", || {
        text = rig.shown(&["proxy", "check", &target]);
        !text.starts_with("status 4\n")
    });
    insta::assert_snapshot!(text, @r"
    status 7
    error: proxy PROXY lets nobody in without a login, and ccorch has none for a proxy
    hint: let the proxy serve its own machine without a login
    ");
}

#[test]
fn a_proxy_that_is_down_is_told_from_a_rig_without_one() {
    let rig = Rig::with("{ listen: LISTEN, backend: tailscaled, check: 'b1:22' }");
    insta::assert_snapshot!(rig.shown(&["proxy", "check"]), @r"
    status 4
    error: proxy PROXY: cannot connect: Connection refused (os error 111)
    hint: see why the proxy is down: `systemctl status ccorch-proxy`
    ");
    insta::assert_snapshot!(rig.shown(&["proxy", "check", "--json"]), @r#"
    status 4
    {"ok":false,"proxy":"PROXY","target":"b1:22","failed_at":"listen","error":"proxy PROXY: cannot connect: Connection refused (os error 111)"}
    error: proxy PROXY: cannot connect: Connection refused (os error 111)
    hint: see why the proxy is down: `systemctl status ccorch-proxy`
    "#);
    let rig = Rig::with("{ backend: none }");
    insta::assert_snapshot!(rig.shown(&["proxy", "check", "b1:22"]), @r"
    status 3
    error: DIR/ccorch.yaml: the rig has no proxy (`proxy.backend: none`)
    hint: name one with `--proxy ADDRESS:PORT`
    ");
    insta::assert_snapshot!(rig.shown(&["proxy", "run"]), @r"
    status 0
    the rig has no proxy (`proxy.backend: none`): nothing to run
    ");
    assert_eq!(rig.output(&["proxy", "wanted"]).status.code(), Some(1));
    let rig = Rig::with("{ listen: 0.0.0.0:1055, backend: ssh }");
    insta::assert_snapshot!(rig.shown(&["proxy", "run"]), @r"
    status 3
    error: 2 errors in the rig file
    DIR/ccorch.yaml:7: proxy.listen: expected a loopback address (others could use the proxy), found `0.0.0.0:1055`
    DIR/ccorch.yaml:7: proxy.ssh: missing; `backend: ssh` needs the destination of `ssh -N -D`
    hint: mend the file; `ccorch check` tells warnings too
    ");
    assert_eq!(rig.output(&["proxy", "wanted"]).status.code(), Some(0));
}

#[test]
fn a_backend_that_is_not_installed_is_one_clear_error() {
    let rig = Rig::with("{ listen: LISTEN, backend: tailscaled }");
    let mut command = rig.command(&["proxy", "run"]);
    let output = command.env("PATH", "/nonexistent").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(text.contains("error: `tailscaled --tun=userspace-networking"), "{text}");
    assert!(
        text.contains("no such program\nhint: install the program that is missing on this machine"),
        "{text}"
    );
}

fn microsocks(port: u16, args: &[&str]) -> Running {
    let mut command = Command::new("microsocks");
    command.args(["-i", "127.0.0.1", "-p", &port.to_string()]).args(args);
    Running(
        command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("microsocks (Debian: microsocks)"),
    )
}
