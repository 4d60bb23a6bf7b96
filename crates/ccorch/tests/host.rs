//! Machines that cannot take `ccorch host install`, or do not answer as they must: refused before anything is changed,
//! and the same command goes through when the machine is mended.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod machines;

use std::fs;

use machines::Bed;

const RIG: &str = r#"
rig: demo
workspace: { root: /srv/w, user: loops, repositories: { ".": { url: "URL", branch: main } } }
phases: [{ id: a, plan: a.md }]
loops: { one: { agent: command, workdir: ., command: [sleep, "9"] } }
tools: [ccorch-no-such-tool]
"#;

fn bed(url: &str) -> Bed {
    let bed = Bed::new();
    bed.rig(&RIG.replace("URL", url));
    bed
}

#[test]
fn a_host_without_systemd_and_tools_hears_both_and_stays_as_it_was() {
    let bed = bed("/tmp/x.git");
    let error = bed.fails(&["host", "install", "vm"], 7);
    assert!(error.contains("systemd is not its process 1"), "{error}");
    assert!(error.contains("programs are missing: ccorch-no-such-tool"), "{error}");
    assert!(error.contains("hint: ") && error.contains("--install-packages"), "{error}");
    assert_eq!(fs::read_dir(bed.vm.path("/usr/local/bin")).unwrap().count(), 0);
}

#[test]
fn a_git_host_whose_key_nobody_knows_is_not_trusted() {
    let bed = bed("ssh://git@git.example.org:2222/x.git");
    let error = bed.fails(&["host", "install", "vm"], 5);
    assert!(error.contains("no host key is known for [git.example.org]:2222"), "{error}");
    assert!(error.contains("`ssh-keyscan -p 2222 git.example.org`"), "{error}");
    // A hashed entry is as good as a plain one.
    let file = bed.path("operator/.ssh/known_hosts");
    fs::write(&file, format!("[git.example.org]:2222 {}\n", bed.vm.host_key)).unwrap();
    let hashed = std::process::Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).status();
    assert!(hashed.unwrap().success());
    assert!(bed.fails(&["host", "install", "vm"], 7).contains("systemd"));
}

#[test]
fn a_file_that_is_no_program_is_refused_here() {
    let bed = bed("/tmp/x.git");
    let error = bed.fails(&["host", "install", "vm", "--binary", "/etc/passwd"], 7);
    assert!(error.contains("/etc/passwd is not a Linux program"), "{error}");
}

/// Neither leaves anything that a second run does not repair.
#[test]
fn a_host_key_that_changed_and_a_dead_sshd_are_refused_until_they_are_mended() {
    let mut bed = Bed::new();
    let url = bed.remote("x.git");
    bed.rig(&RIG.replace("URL", &url).replace("ccorch-no-such-tool", "git"));
    bed.pi.sh("/srv/w", &format!("git clone -q {url} ."));
    let right = fs::read_to_string(bed.path("ccorch.yaml")).unwrap();
    let wrong = right.replace(&bed.vm.host_key, &bed.pi.host_key);
    assert_ne!(wrong, right);
    fs::write(bed.path("ccorch.yaml"), wrong).unwrap();
    let error = bed.fails(&["stage", "vm"], 5);
    assert!(error.contains("Host key verification failed") && error.contains("hint: "), "{error}");
    assert_eq!(fs::read_dir(bed.vm.path("/srv/w")).unwrap().count(), 0);

    fs::write(bed.path("ccorch.yaml"), right).unwrap();
    bed.vm.stop();
    let error = bed.fails(&["stage", "vm"], 4);
    assert!(error.contains("Connection refused") && error.contains("hint: "), "{error}");

    bed.vm.start("");
    bed.ok(&["stage", "vm"]);
    assert!(bed.vm.path("/srv/w/.git").is_dir());
}

#[test]
fn unknown_hosts_and_a_held_lock_are_told() {
    let bed = bed("/tmp/x.git");
    assert!(bed.fails(&["host", "install", "nas"], 3).contains("hint: the hosts there are: pi, vm"));
    let dir = bed.path("s/ccorch/demo");
    fs::create_dir_all(&dir).unwrap();
    let mut holder = std::process::Command::new("flock");
    let mut holder = holder.arg(dir.join("lock")).args(["sh", "-c", "echo held; read x"]);
    holder = holder.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut line = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert!(bed.fails(&["host", "install", "vm"], 6).contains("another run is at work"));
    assert!(bed.fails(&["stage", "vm"], 6).contains("another run is at work"));
    drop(holder.stdin.take());
    holder.wait().unwrap();
}
