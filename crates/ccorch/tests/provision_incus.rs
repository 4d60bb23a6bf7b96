//! `ccorch provision` against a real Incus server, the test bed's: whole outputs, second runs, kills, bad input.

// Helpers of tests are tests, too; clippy knows only functions marked `#[test]`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod provision_bed;
mod provision_support;

use std::fs;

use ccorch_core::provision::Settings;
use ccorch_io::incus::Power;
use insta::assert_snapshot;
use provision_bed::{Host, MINUTE, killed};

#[test]
fn made_once_then_nothing_changes_and_only_sizes_change_in_place() {
    let mut host = Host::new("made");
    host.name_what_differs();
    assert_snapshot!(host.run(&["--dry-run"]), @r"
    status 0
    out| NAME: dry run
    out|   would be created from image debian-12, profiles default, limits.cpu 1, limits.memory 512MiB, root 5GiB
    out|   would be started
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    ");
    assert!(!host.place.dir().join("state").exists(), "a dry run leaves nothing");
    let first = host.place.command(&[&host.name]).output().unwrap();
    host.name_what_differs();
    assert_snapshot!(host.place.shown(&first), @r"
    status 0
    out| NAME: ready at root@ADDRESS
    out|   created from image debian-12, profiles default, limits.cpu 1, limits.memory 512MiB, root 5GiB
    out|   started
    out|   recorded: root@ADDRESS and its host key
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| - creating NAME
    err| - starting NAME
    err| - waiting for its address
    err| - address ADDRESS; waiting for its ssh host key
    err| - waiting for ssh
    err| - waiting for cloud-init
    err| - ready
    ");
    assert_snapshot!(host.run(&[]), @r"
    status 0
    out| NAME: ready at root@ADDRESS
    out|   nothing changed: it is as the rig file says
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| - waiting for its address
    err| - address ADDRESS; waiting for its ssh host key
    err| - waiting for ssh
    err| - waiting for cloud-init
    err| - ready
    ");
    assert_snapshot!(host.run(&["--json"]), @r#"
    status 0
    out| {
    out|   "host": "NAME",
    out|   "dry_run": false,
    out|   "changes": [],
    out|   "machine": {
    out|     "address": "ADDRESS",
    out|     "ssh": "root@ADDRESS",
    out|     "port": 22,
    out|     "host_key": "HOST-KEY",
    out|     "cloud_init": "done"
    out|   }
    out| }
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| - waiting for its address
    err| - address ADDRESS; waiting for its ssh host key
    err| - waiting for ssh
    err| - waiting for cloud-init
    err| - ready
    "#);
    assert_snapshot!(host.run(&["--dry-run", "--json"]), @r#"
    status 0
    out| {
    out|   "host": "NAME",
    out|   "dry_run": true,
    out|   "changes": [],
    out|   "machine": null
    out| }
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    "#);

    host.rig(&[("512MiB", "768MiB"), ("cpus: 1", "cpus: 2")]);
    assert_snapshot!(host.run(&["--dry-run"]), @r"
    status 0
    out| NAME: dry run
    out|   would be changed: limits.cpu: 1 -> 2; limits.memory: 512MiB -> 768MiB
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    ");
    assert_snapshot!(host.run(&[]), @r"
    status 0
    out| NAME: ready at root@ADDRESS
    out|   changed: limits.cpu: 1 -> 2; limits.memory: 512MiB -> 768MiB
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| - changing NAME
    err| - waiting for its address
    err| - address ADDRESS; waiting for its ssh host key
    err| - waiting for ssh
    err| - waiting for cloud-init
    err| - ready
    ");
    let found = host.bed.client().instance(&host.name).unwrap().unwrap();
    assert_eq!(found.config["limits.memory"], "768MiB");

    host.bed.client().power(&host.name, Power::Kill, MINUTE).unwrap();
    let restarted = host.run(&[]);
    assert!(restarted.starts_with("status 0\n") && restarted.contains("out|   started\n"), "{restarted}");

    // What could only be right in a new instance is listed, and nothing is touched.
    host.place.ssh_key("other");
    host.rig(&[("operator.pub", "other.pub"), ("disk: 5GiB", "disk: 4GiB")]);
    let other = fs::read_to_string(host.place.dir().join("other.pub")).unwrap();
    host.place.names.push((other.trim_end_matches(" test\n").to_owned(), "OTHER-KEY".into()));
    assert_snapshot!(host.run(&[]), @r"
    status 6
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| error: Incus server URL, project `PROJECT`, instance `NAME`: the instance differs from the rig file: authorized_key: another key -> OTHER-KEY; size.disk (disks cannot shrink): 5GiB -> 4GiB
    err| hint: correct the rig file, or delete the instance if nothing on it is needed (`incus delete --force NAME`) and run this again
    ");

    host.rig(&[("identity: operator", "identity: operator\nhost_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0t1vV0d7m3X5C0s8m8yJ6q0mO0p5m5iQ0m5x0x0x0x")]);
    assert_snapshot!(host.run(&[]), @r"
    status 5
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| - changing NAME
    err| - waiting for its address
    err| - address ADDRESS; waiting for its ssh host key
    err| error: host `NAME`: the rig file's `host_key` is not the key of the instance, which is HOST-KEY
    err| hint: remove `hosts.NAME.host_key`: a provisioned host's key is learnt from the server
    ");
}

/// Each run is killed at a later point than the one before; the next goes on from there.
#[test]
fn a_run_killed_at_any_point_is_repaired_by_the_next() {
    let host = Host::new("killed");
    for said in [
        "creating",
        "starting",
        "waiting for its address",
        "ssh host key",
        "waiting for ssh",
        "waiting for cloud-init",
    ] {
        killed(host.started(said));
    }
    let repaired = host.run(&[]);
    assert!(repaired.starts_with("status 0\n"), "{repaired}");
    let again = host.run(&[]);
    assert!(again.contains("nothing changed"), "{again}");
    let recorded = host.recorded().unwrap();
    assert_eq!(recorded["port"], 22);

    // A key that is not the instance's, as after its sshd got another one: learnt anew, not refused, not believed.
    let stale = recorded["host_key"].as_str().unwrap().replace("AAAAI", "AAAAJ");
    let path = format!("state/ccorch/test/hosts/{}.json", host.name);
    let text = serde_json::json!({ "ssh": recorded["ssh"], "port": 22, "host_key": stale }).to_string();
    host.place.write(&path, &text, 0o600);
    let mended = host.run(&[]);
    assert!(mended.starts_with("status 0\n") && mended.contains("out|   recorded: root@"), "{mended}");
    assert_eq!(host.recorded().unwrap(), recorded);
}

#[test]
fn what_the_server_does_not_know_or_allow() {
    let mut host = Host::new("unknown");
    host.name_what_differs();
    host.rig(&[(&format!("image: {}", host.bed.image), "image: nixos")]);
    assert_snapshot!(host.run(&[]), @r"
    status 3
    err| - asking URL
    err| error: Incus server URL, project `PROJECT`: no image with alias `nixos`
    err| hint: the aliases there are: debian-12
    ");
    host.rig(&[(&format!("project: {}", host.bed.project), "project: nowhere")]);
    assert_snapshot!(host.run(&[]), @r"
    status 3
    err| - asking URL
    err| error: Incus server URL has no project `nowhere` for this certificate
    err| hint: the projects it may use: PROJECT
    ");
    host.rig(&[("type: container", "type: container, profiles: [default, big]")]);
    assert_snapshot!(host.run(&[]), @r"
    status 3
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| error: Incus server URL, project `PROJECT`: no profile `big`
    err| hint: correct `incus.profiles` of the host in the rig file
    ");
    host.rig(&[("type: container", "type: virtual-machine")]);
    assert_snapshot!(host.run(&[]), @r"
    status 3
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| error: host `NAME`: image alias `debian-12` is of a container, but `type: virtual-machine` is asked for
    err| hint: correct `hosts.NAME` in the rig file
    ");

    host.rig(&[(&host.bed.fingerprint, &"ab".repeat(32))]);
    host.place.names.push((host.bed.fingerprint[..16].to_owned(), "FINGERPRINT".into()));
    assert_snapshot!(host.run(&[]), @r"
    status 5
    err| - asking URL
    err| error: Incus server URL: GET /1.0: the server is not the expected one: its certificate has fingerprint FINGERPRINT..., not abababababababab...
    err| hint: look at `incus info` on the server itself; only if the fingerprint there is the new one, put it in the rig file (`incus.fingerprint`)
    ");

    let stranger = rcgen::generate_simple_self_signed(["stranger".into()]).unwrap();
    host.place.write("client.crt", &stranger.cert.pem(), 0o644);
    host.place.write("client.key", &stranger.signing_key.serialize_pem(), 0o600);
    host.rig(&[]);
    assert_snapshot!(host.run(&[]), @r"
    status 5
    err| - asking URL
    err| error: Incus server URL does not know the client certificate client.crt
    err| hint: on the server: `incus config trust add-certificate client.crt`
    ");
}

#[test]
fn a_name_that_somebody_else_uses() {
    let mut host = Host::new("taken");
    host.name_what_differs();
    host.made_by_hand(Settings::new());
    assert_snapshot!(host.run(&[]), @r"
    status 6
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| error: Incus server URL, project `PROJECT`, instance `NAME`: the name is taken by an instance that ccorch did not make
    err| hint: give the host another name in the rig file, or remove that instance if nobody needs it
    ");
    let theirs = host.bed.client().instance(&host.name).unwrap().unwrap();
    assert_eq!(theirs.status, "Stopped", "it was touched");
}

#[test]
fn an_instance_that_does_not_let_the_operator_in() {
    let mut host = Host::new("denied");
    host.place.ssh_key("other");
    host.rig(&[("identity: operator", "identity: other")]);
    let refused = host.place.command(&[&host.name]).output().unwrap();
    host.name_what_differs();
    assert_snapshot!(host.place.shown(&refused), @r"
    status 5
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| - creating NAME
    err| - starting NAME
    err| - waiting for its address
    err| - address ADDRESS; waiting for its ssh host key
    err| - waiting for ssh
    err| error: on NAME: `id -u`: exit status 255
    err|     | root@ADDRESS: Permission denied (publickey).
    err| hint: let your key in on NAME, or name it in the rig file (`hosts.NAME.identity`)
    ");
    // Nothing is half-done that the right key does not repair.
    host.rig(&[]);
    assert!(host.run(&[]).starts_with("status 0\n"));
}

#[test]
fn an_instance_whose_sshd_does_not_run() {
    let mut host = Host::new("sshd");
    host.made_with("bootcmd: [[systemctl, mask, ssh.service]]\n");
    let refused = host.place.command(&[&host.name]).output().unwrap();
    host.name_what_differs();
    assert_snapshot!(host.place.shown(&refused), @r"
    status 4
    err| - asking URL
    err| - project PROJECT, image debian-12 (IMAGE)
    err| - changing NAME
    err| - starting NAME
    err| - waiting for its address
    err| - address ADDRESS; waiting for its ssh host key
    err| - waiting for ssh
    err| error: on NAME: `id -u`: exit status 255
    err|     | ssh: connect to host ADDRESS port 22: Connection refused
    err| hint: see that NAME is up and its sshd answers at the address of the rig file
    ");
    // The same command goes through as soon as it runs.
    let mut incus = std::process::Command::new("incus");
    incus.env("INCUS_DIR", &host.bed.incus_dir).args([
        "--project",
        &host.bed.project,
        "exec",
        &host.name,
        "--",
    ]);
    incus.args(["sh", "-ec", "systemctl unmask --quiet ssh.service; systemctl start ssh.service"]);
    assert!(incus.stdin(std::process::Stdio::null()).status().unwrap().success());
    let repaired = host.run(&[]);
    assert!(repaired.starts_with("status 0\n"), "{repaired}");
}

#[test]
fn an_instance_whose_cloud_init_ends_in_error() {
    let mut host = Host::new("init");
    host.made_with("runcmd: [[sh, -c, \"echo it broke; exit 3\"]]\n");
    let failed = host.place.command(&[&host.name]).output().unwrap();
    host.name_what_differs();
    let text = host.place.shown(&failed);
    assert!(text.starts_with("status 7\n"), "{text}");
    for line in [
        "error: on NAME: cloud-init ended in error",
        "    | status: error",
        "    | ('scripts-user', RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands'))",
        "end of /var/log/cloud-init-output.log:",
        "    | it broke",
        "hint: see /var/log/cloud-init.log there; it runs once, so after mending the image make the instance anew",
    ] {
        assert!(text.contains(&format!("err| {line}\n")), "no `{line}` in\n{text}");
    }
}

#[test]
fn a_second_run_at_once_is_told_who_is_at_work_and_a_deadline_is_kept() {
    let mut host = Host::new("two");
    host.name_what_differs();
    let first = host.started("creating");
    let (pid, second) = (first.id().to_string(), host.run(&[]));
    killed(first);
    host.bed.client().settle(&host.name, MINUTE).unwrap();
    let told = second.contains(&format!("ccorch provision, pid {pid}, since "));
    assert!(second.starts_with("status 6\n") && told, "{second}");

    let late = Host::new("late");
    let text = late.run(&["--timeout", "0s"]);
    assert!(text.starts_with("status 10\n"), "{text}");
    assert!(text.contains("POST /1.0/instances: still going on after 0 s"), "{text}");
    assert!(text.contains("hint: see on the server what it waits for"), "{text}");
}

#[test]
fn the_socket_of_a_server_on_this_machine() {
    let host = Host::new("socket");
    let socket = format!("unix://{}/unix.socket", host.bed.incus_dir.display());
    host.rig(&[(&host.bed.url, &socket)]);
    let planned = host.run(&["--dry-run"]);
    assert!(planned.starts_with("status 0\n") && planned.contains("would be created"), "{planned}");
}
