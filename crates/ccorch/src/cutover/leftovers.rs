//! What would start a legacy rig again past the fence of its units: cron, a user's own units, units that nobody named.
//! The fence holds units that the rig file names; the rest is its owner's to take away, before anything is stopped.

use anyhow::Result;
use ccorch_core::safepoint;

use super::side::Side;
use crate::error::{Kind, Problem};

/// Prints a line for each start of the workspace's rig that the fence does not hold.
///
/// Looked at are lines and units that name the workspace, and lines of cron that name the rig's start command; a start by a
/// wrapper that lies elsewhere and names neither is not found.
const LOOK: &str = include_str!("leftovers/look.sh");

/// Refuses a source that would start its rig again by itself.
pub fn check(side: &Side) -> Result<()> {
    let units = side.runs.iter().flat_map(|runs| runs.units.iter().map(String::as_str));
    let user = &side.workspace.user;
    let home = side.host.command_as(user, "/", &["sh", "-c", r#"printf %s "$HOME""#]).read()?;
    let start = side.runs.as_ref().map(|runs| named(&runs.start)).unwrap_or_default();
    let args = ["", &side.workspace.root, user, home.trim(), &start];
    let args: Vec<&str> = args.into_iter().chain(units).collect();
    let found = side.script("look for what starts the rig", LOOK, &args).read()?;
    if found.trim().is_empty() {
        return Ok(());
    }
    let list: String = found.lines().map(|line| format!("\n    {}", shown(line))).collect();
    let message = format!("on {}: this would start the rig again after it moved:{list}", side.name);
    Err(Problem::new(Kind::Unfit, message)
        .hint("take these away on the source, or name the units in `runs.units` of its entry in the rig file")
        .into())
}

/// A line of [`LOOK`]'s as it may be told: people put tokens into their crontabs.
fn shown(line: &str) -> String {
    match (safepoint::audit_line(line), line.split_once(": ")) {
        (Some(kind), Some((file, _))) => {
            format!("{file}: a line that is not shown, as it seems to hold {kind}")
        }
        _ => line.to_owned(),
    }
}

/// What a line has to hold to name a start command: a program's path, or all of its words. A single word that is no path may
/// be anybody's; then nothing.
fn named(start: &[String]) -> String {
    match start {
        [program, ..] if program.contains('/') => program.trim_start_matches("./").to_owned(),
        [_, _, ..] => start.join(" "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    use super::{LOOK, named, shown};

    fn look(at: &Path, fenced: &[&str]) -> String {
        let at = at.display().to_string();
        let args = ["-c", LOOK, "ccorch", &at, "/srv/rig", "loops", "/home/loops", "plans/launch.sh"];
        let output = Command::new("sh").args(args).args(fenced).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A host's files.
    struct Files(tempfile::TempDir);

    impl Files {
        fn put(&self, path: &str, text: &str) {
            let file = self.0.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }

        /// A link `NAME` to the unit, in a folder of what wants it.
        fn wanted(&self, folder: &str, by: &str, unit: &str, name: &str) {
            let wants = self.0.path().join(folder).join(by);
            fs::create_dir_all(&wants).unwrap();
            symlink(format!("../{unit}"), wants.join(name)).unwrap();
        }
    }

    #[test]
    fn whatever_would_start_the_rig_past_its_fence_is_named() {
        let host = Files(tempfile::tempdir().unwrap());
        let put = |path: &str, text: &str| host.put(path, text);
        let wanted = |folder: &str, by: &str, unit: &str| host.wanted(folder, by, unit, unit);
        let system = "etc/systemd/system";
        put(&format!("{system}/rig.service"), "[Service]\nExecStart=/srv/rig/launch.sh\n");
        wanted(system, "multi-user.target.wants", "rig.service");
        put(&format!("{system}/off.service"), "[Service]\nExecStart=/srv/rig/launch.sh\n");
        put(&format!("{system}/other.service"), "[Service]\nExecStart=/usr/bin/true\n");
        wanted(system, "multi-user.target.wants", "other.service");
        put("etc/cron.d/more", "# 1 * * * * root /srv/rig/launch.sh\n0 4 * * * root /usr/bin/backup\n");
        let user = "home/loops/.config/systemd/user";
        put(&format!("{user}/agent.service"), "[Service]\nExecStart=%h/start\n");
        wanted(user, "default.target.wants", "agent.service");
        assert_eq!(
            look(host.0.path(), &["rig.service"]),
            "",
            "what is fenced, off, another's or never started"
        );

        assert_eq!(
            look(host.0.path(), &[]),
            "/etc/systemd/system/rig.service is enabled as rig.service, and `runs.units` does not name that\n"
        );
        put("var/lib/systemd/linger/loops", "");
        put("etc/cron.d/more", "*/5 * * * * root /srv/rig/launch.sh ensure\n");
        put("var/spool/cron/crontabs/loops", "@reboot sleep 9; ~/start\n0 1 * * * /usr/bin/true\n");
        put("etc/rc.local", "#!/bin/sh\nsu loops -c '/srv/rig/launch.sh start'\n");
        insta::assert_snapshot!(look(host.0.path(), &["rig.service"]), @r"
        /etc/rc.local: su loops -c '/srv/rig/launch.sh start'
        /etc/cron.d/more: */5 * * * * root /srv/rig/launch.sh ensure
        /var/spool/cron/crontabs/loops: @reboot sleep 9; ~/start
        /home/loops/.config/systemd/user/agent.service starts at boot as agent.service, because loops lingers
        ");
    }

    #[test]
    fn what_a_crontab_keeps_secret_is_not_told() {
        let line = "/etc/cron.d/more: */5 * * * * root TOKEN=8f3kd93jf0s9dfj3 /srv/rig/launch.sh ensure";
        let told =
            "/etc/cron.d/more: a line that is not shown, as it seems to hold a random value, likely a secret";
        assert_eq!(shown(line), told);
        let plain = "/etc/cron.d/more: */5 * * * * root /srv/rig/launch.sh ensure";
        assert_eq!(shown(plain), plain);
    }

    #[test]
    fn enabled_instances_of_a_template_are_named_and_fenced_by_their_own_names() {
        let host = Files(tempfile::tempdir().unwrap());
        let (system, user) = ("etc/systemd/system", "home/loops/.config/systemd/user");
        host.put(&format!("{system}/rig@.service"), "[Service]\nExecStart=/srv/rig/launch.sh %i\n");
        host.put(&format!("{user}/agent@.service"), "[Service]\nExecStart=%h/start %i\n");
        host.put("var/lib/systemd/linger/loops", "");
        assert_eq!(look(host.0.path(), &[]), "", "nothing is enabled");
        host.wanted(system, "multi-user.target.wants", "rig@.service", "rig@a.service");
        host.wanted(system, "multi-user.target.wants", "rig@.service", "rig@b.service");
        host.wanted(user, "default.target.wants", "agent@.service", "agent@x.service");
        insta::assert_snapshot!(look(host.0.path(), &["rig@a.service"]), @r"
        /etc/systemd/system/rig@.service is enabled as rig@b.service, and `runs.units` does not name that
        /home/loops/.config/systemd/user/agent@.service starts at boot as agent@x.service, because loops lingers
        ");
    }

    #[test]
    fn a_timer_starts_what_is_not_enabled_itself() {
        let host = Files(tempfile::tempdir().unwrap());
        let system = "etc/systemd/system";
        host.put(&format!("{system}/rig.service"), "[Service]\nExecStart=/srv/rig/launch.sh\n");
        host.put(&format!("{system}/rig.timer"), "[Timer]\nOnBootSec=1\n");
        assert_eq!(look(host.0.path(), &[]), "");
        host.wanted(system, "timers.target.wants", "rig.timer", "rig.timer");
        let said =
            "/etc/systemd/system/rig.service is enabled as rig.timer, and `runs.units` does not name that\n";
        assert_eq!(look(host.0.path(), &[]), said);
        assert_eq!(look(host.0.path(), &["rig.service"]), "", "its condition holds whoever starts it");
    }

    #[test]
    fn every_place_of_cron_and_at_is_looked_at() {
        let host = Files(tempfile::tempdir().unwrap());
        host.put("var/spool/cron/crontabs/ann", "@reboot /usr/bin/true\n5 * * * * cd /srv/rig && ./up\n");
        host.put("var/spool/cron/bob", "@reboot cd ~/x; plans/launch.sh start\n");
        host.put("etc/anacrontab", "1 5 rig /srv/rig/launch.sh\n");
        host.put("etc/cron.daily/rig", "#!/bin/sh\n# /srv/rig is started here\nexec /srv/rig/launch.sh\n");
        host.put("etc/cron.weekly/other", "#!/bin/sh\n# /srv/rig is not\ntrue\n");
        host.put(
            "var/spool/cron/atjobs/a0001",
            "TOKEN=/srv/rig/x; export TOKEN\ncd /srv/rig || exit 1\n./up\n",
        );
        insta::assert_snapshot!(look(host.0.path(), &[]), @r"
        /etc/anacrontab: 1 5 rig /srv/rig/launch.sh
        /etc/cron.daily/rig: exec /srv/rig/launch.sh
        /var/spool/cron/crontabs/ann: 5 * * * * cd /srv/rig && ./up
        /var/spool/cron/bob: @reboot cd ~/x; plans/launch.sh start
        /var/spool/cron/atjobs/a0001 is a job of at that names /srv/rig
        ");
    }

    #[test]
    fn a_start_command_is_known_by_its_path_or_by_all_of_its_words() {
        let of = |words: &[&str]| named(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["./plans/launch.sh", "start"]), "plans/launch.sh");
        assert_eq!(of(&["rig", "start"]), "rig start");
        assert_eq!((of(&["true"]), of(&[])), (String::new(), String::new()));
    }
}
