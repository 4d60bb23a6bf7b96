//! `ccorch connect` as a ProxyCommand of a real ssh.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::sshd::Sshd;
use crate::{CCORCH, LONG, Running, free_port, shown};

/// ssh to the sshd through `ccorch connect`, running `line` there with `input`.
fn ssh(rig: &Rig, sshd: &Sshd, line: &str, input: Vec<u8>) -> Output {
    let known = sshd.dir.path().join("known_hosts");
    fs::write(&known, format!("far {}", sshd.host_key)).unwrap();
    let proxy = format!("ProxyCommand={CCORCH} connect --proxy 127.0.0.1:{} %h %p", rig.port);
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]);
    command.args(["-o", "HostKeyAlias=far", "-o", &format!("UserKnownHostsFile={}", known.display())]);
    command.args(["-o", "IdentitiesOnly=yes", "-o", &proxy, "-i"]).arg(sshd.identity());
    command.args(["-p", &sshd.port.to_string(), "-l", &sshd.user, "localhost", line]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

#[test]
fn ssh_works_through_it_with_binary_data_both_ways() {
    let sshd = Sshd::start();
    let rig = Rig::through(&sshd);
    let _proxy = rig.run();
    let sent: Vec<u8> = (0..32_u32 << 20).map(|i| (i ^ (i >> 7) ^ (i >> 15)) as u8).collect();
    let start = Instant::now();
    let output = ssh(&rig, &sshd, "cat", sent.clone());
    println!("32 MiB there and back in {:?}", start.elapsed());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == sent, "{} of {} bytes", output.stdout.len(), sent.len());
    let status = ssh(&rig, &sshd, "exit 7", Vec::new()).status;
    assert_eq!(status.code(), Some(7));
}

#[test]
fn a_half_close_reaches_the_target_and_its_answer_comes_back() {
    let sshd = Sshd::start();
    let rig = Rig::through(&sshd);
    let _proxy = rig.run();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let target = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(format!("{} bytes", all.len()).as_bytes()).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    });
    let mut child = Running(
        rig.command(&["connect", "localhost", &port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut stdin = child.0.stdin.take().unwrap();
    stdin.write_all(&[0xff; 100_000]).unwrap();
    drop(stdin);
    let mut answer = String::new();
    child.0.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "100000 bytes");
    assert!(child.0.wait().unwrap().success());
    target.join().unwrap();
}

#[test]
fn an_idle_connection_burns_no_time_and_ends_with_the_far_side() {
    let sshd = Sshd::start();
    let rig = Rig::through(&sshd);
    let _proxy = rig.run();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut child = Running(
        rig.command(&["connect", "127.0.0.1", &port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut far = listener.accept().unwrap().0;
    far.write_all(b"x").unwrap();
    let mut byte = [0];
    child.0.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    let before = cpu_ticks(child.0.id());
    // The idle time that is measured; nothing is waited for here.
    thread::sleep(Duration::from_millis(500));
    let burnt = cpu_ticks(child.0.id()) - before;
    assert!(burnt <= 2, "{burnt} ticks of 10 ms in half a second");
    drop(far);
    let start = Instant::now();
    assert!(child.0.wait().unwrap().success());
    assert!(start.elapsed() < LONG);
}

/// User and system time of a process in clock ticks: fields 14 and 15 of `/proc/PID/stat`, proc(5).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_target_that_does_not_answer_is_an_error_on_standard_error_alone() {
    let sshd = Sshd::start();
    let rig = Rig::through(&sshd);
    let _proxy = rig.run();
    let port = free_port().to_string();
    // Standard input stays open, as ssh keeps it.
    let child = rig
        .command(&["connect", "127.0.0.1", &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, output) = {
        let mut child = child;
        let stdin = child.stdin.take();
        (stdin, child.wait_with_output().unwrap())
    };
    drop(stdin);
    assert!(output.stdout.is_empty());
    let text = shown(&output)
        .replace(&format!("127.0.0.1:{}", rig.port), "PROXY")
        .replace(&format!("127.0.0.1:{port}"), "DEAD");
    insta::assert_snapshot!(text, @r"
    status 1
    error: proxy PROXY hung up on the connection to DEAD, as `ssh -D` does when the target does not answer
    hint: the proxy works: see that the target is up, and that the proxy's far side may reach it
    ");
}
