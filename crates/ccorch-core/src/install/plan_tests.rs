//! What a plan has to be, on hosts in every state.

use super::super::{FileFact, UserFact};
use super::*;

fn file(path: &str, content: &str) -> File {
    let content = content.as_bytes().to_vec();
    File { path: path.into(), mode: "644", sha256: crate::sha256(&content), content }
}

fn wanted() -> Wanted {
    Wanted {
        user: "loops".into(),
        loop_users: BTreeSet::new(),
        workspace: "/srv/w".into(),
        binary: "new".into(),
        binary_size: 10 << 20,
        programs: vec!["tmux".into(), "ssh".into()],
        install_packages: false,
        files: vec![
            file("/etc/ccorch/rig.json", "{}"),
            file("/etc/systemd/system/ccorch.target", "[Unit]\n"),
            file("/etc/systemd/system/ccorch-supervisor.service.d/50-rig.conf", "[Service]\n"),
        ],
    }
}

fn bare() -> Facts {
    Facts {
        systemd: Some(252),
        booted: true,
        programs: ["tmux", "ssh"].map(Into::into).into(),
        free_binary_kib: Some(1 << 20),
        apt: true,
        ..Facts::default()
    }
}

/// The host after a plan has been performed on it.
fn after(wanted: &Wanted) -> Facts {
    let fact = |f: &File| (f.path.clone(), FileFact { sha256: f.sha256.clone(), mode: f.mode.into() });
    Facts {
        user: Some(UserFact { uid: 1000, home: "/home/loops".into() }),
        workspace_owner: Some("loops".into()),
        workspace_real: Some("/srv/w".into()),
        binary: Some(wanted.binary.clone()),
        files: wanted.files.iter().map(fact).collect(),
        installed: wanted.files.iter().map(|f| f.path.clone()).collect(),
        enabled: true,
        ..bare()
    }
}

fn lines(actions: &[Action]) -> Vec<String> {
    actions.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bare_host_gets_everything_in_order_and_a_finished_one_nothing() {
    let actions = plan(&bare(), &wanted()).unwrap();
    assert_eq!(
        lines(&actions),
        [
            "copy the binary and try it",
            "note in /etc/ccorch/installed that an installation is under way",
            "create user loops (home, bash, no password)",
            "create /srv/w, owned by loops",
            "switch /usr/local/bin/ccorch to it",
            "write /etc/ccorch/rig.json",
            "write /etc/systemd/system/ccorch.target",
            "write /etc/systemd/system/ccorch-supervisor.service.d/50-rig.conf",
            "verify the units",
            "reload systemd",
            "enable ccorch.target",
            "note in /etc/ccorch/installed that it is complete",
        ]
    );
    assert_eq!(plan(&after(&wanted()), &wanted()), Ok(vec![]));
}

#[test]
fn a_stale_unit_goes_and_the_manifest_knows_it_until_then() {
    let mut facts = after(&wanted());
    facts.installed.insert("/etc/systemd/system/ccorch-old.service".into());
    let old = "/etc/systemd/system/ccorch-old.service".to_owned();
    let actions = plan(&facts, &wanted()).unwrap();
    assert!(matches!(&actions[0], Action::Begin(paths) if paths.contains(&old) && paths.len() == 4));
    assert_eq!(
        lines(&actions[1..4]),
        [format!("remove {old}").as_str(), "verify the units", "reload systemd"]
    );
    assert!(matches!(&actions[4..], [Action::Finish(paths)] if !paths.contains(&old)));
}

#[test]
fn a_run_that_ended_half_way_is_taken_up() {
    let facts = Facts { unfinished: true, supervisor_active: true, ..after(&wanted()) };
    assert_eq!(
        lines(&plan(&facts, &wanted()).unwrap()),
        [
            "note in /etc/ccorch/installed that an installation is under way",
            "verify the units",
            "reload systemd",
            "restart ccorch-supervisor (loops keep running)",
            "note in /etc/ccorch/installed that it is complete",
        ]
    );
    let text = manifest(&["/a".into(), "/b".into()].into(), true);
    let read: String = text.lines().map(|line| format!("installed={line}\n")).collect();
    let read = Facts::parse(&read);
    assert!(read.unfinished && read.installed == ["/a".to_owned(), "/b".into()].into());
}

#[test]
fn a_running_supervisor_is_restarted_only_for_its_own_parts() {
    let running = Facts { supervisor_active: true, ..after(&wanted()) };
    let restarts = |facts: &Facts| plan(facts, &wanted()).unwrap().contains(&Action::RestartSupervisor);
    assert!(!restarts(&running));
    let without = |path: &str| {
        let mut facts = running.clone();
        facts.files.remove(path);
        facts
    };
    assert!(restarts(&without("/etc/ccorch/rig.json")));
    assert!(restarts(&without("/etc/systemd/system/ccorch-supervisor.service.d/50-rig.conf")));
    assert!(!restarts(&without("/etc/systemd/system/ccorch.target")));
    assert!(restarts(&Facts { binary: Some("old".into()), ..running.clone() }));
    assert!(!restarts(&Facts { supervisor_active: false, binary: Some("old".into()), ..running }));
}

#[test]
fn a_changed_mode_is_a_change() {
    let mut facts = after(&wanted());
    facts.files.entry("/etc/ccorch/rig.json".into()).and_modify(|f| f.mode = "666".into());
    assert_eq!(lines(&plan(&facts, &wanted()).unwrap())[1..2], ["write /etc/ccorch/rig.json"]);
}

#[test]
fn an_unfit_host_hears_every_reason_at_once() {
    let facts = Facts {
        booted: false,
        free_binary_kib: Some(1024),
        programs: BTreeSet::new(),
        workspace_real: Some("/mnt/w".into()),
        ..bare()
    };
    let all = plan(&facts, &wanted()).unwrap_err();
    let what: Vec<&str> = all.iter().map(|u| u.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "systemd is not its process 1",
            "/usr/local/bin has 1 MiB free, 26 MiB are needed",
            "the workspace /srv/w is a symbolic link to /mnt/w",
            "programs are missing: tmux, ssh"
        ]
    );
    assert!(all[3].hint.contains("`apt-get install --no-install-recommends openssh-client tmux`"));
}

#[test]
fn packages_are_installed_only_when_that_was_asked_for() {
    let facts = Facts { programs: ["ssh".into()].into(), ..after(&wanted()) };
    let asked = Wanted { install_packages: true, ..wanted() };
    assert_eq!(lines(&plan(&facts, &asked).unwrap()), ["install packages tmux"]);
    assert!(plan(&facts, &wanted()).is_err());
    assert!(plan(&Facts { apt: false, ..facts }, &asked).is_err());
}

#[test]
fn nixos_is_sent_to_its_module() {
    let facts = Facts { os: "nixos".into(), ..bare() };
    assert!(plan(&facts, &wanted()).unwrap_err()[0].hint.contains("services.ccorch"));
}

#[test]
fn a_loops_user_is_made_once_and_noted_only_when_made() {
    let wanted = Wanted { loop_users: ["adv".to_owned()].into(), ..wanted() };
    let facts = after(&wanted);
    let actions = plan(&facts, &wanted).unwrap();
    assert!(
        lines(&actions).contains(&"create system user adv (home, bash, no password, group of loops)".into())
    );
    let noted = |action: &Action| matches!(action, Action::Finish(all) if all.contains("user:adv"));
    assert!(noted(actions.last().unwrap()));
    let mut made = Facts { loop_users: [("adv".to_owned(), true)].into(), ..facts.clone() };
    assert_eq!(plan(&made, &wanted), Ok(vec![]), "a user who was there before is not ours");
    made.installed.insert("user:adv".into());
    assert_eq!(plan(&made, &wanted), Ok(vec![]));
    // A loop that is gone leaves its user to `host uninstall`.
    assert_eq!(plan(&made, &self::wanted()), Ok(vec![]));
    let stranger = Facts { loop_users: [("adv".to_owned(), false)].into(), ..facts };
    assert!(plan(&stranger, &wanted).unwrap_err()[0].hint.contains("usermod --gid"));
}
