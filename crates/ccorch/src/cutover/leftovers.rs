//! What would start a legacy rig again past the fence of its units: cron, a user's own units, units that nobody named.
//! The fence holds units that the rig file names; the rest is its owner's to take away, before anything is stopped.

use anyhow::Result;

use super::side::Side;
use crate::error::{Kind, Problem};

/// Prints a line for each start of the workspace's rig that the fence does not hold. Arguments: where the host's files lie
/// (empty: at their places), workspace, its user, the user's home, the fenced units.
///
/// Looked at are lines and units that name the workspace; a start by a wrapper that lies elsewhere and names it nowhere is
/// not found. Places of crontabs: cron(8) of Debian, and of cronie.
const LOOK: &str = r#"
at=$1; root=$2; user=$3; home=$4; shift 4
names() { # FILE...: lines that are no comment and name the workspace
  for file; do
    [ -f "$file" ] || continue
    grep -v '^[[:space:]]*#' -- "$file" | grep -F -- "$root" | while IFS= read -r line; do
      printf '%s: %s\n' "${file#"$at"}" "$line"
    done
  done
}
names "$at/etc/crontab" "$at/etc/rc.local" "$at"/etc/cron.d/* \
  "$at/var/spool/cron/crontabs/$user" "$at/var/spool/cron/crontabs/root" \
  "$at/var/spool/cron/$user" "$at/var/spool/cron/root"
for table in "$at/var/spool/cron/crontabs/$user" "$at/var/spool/cron/$user"; do
  [ -f "$table" ] && grep '^[[:space:]]*@reboot' -- "$table" | grep -vF -- "$root" | while IFS= read -r line; do
    printf '%s: %s\n' "${table#"$at"}" "$line"
  done
done
is_started() { # UNIT FOLDER: something wants it
  for wants in "$2"/*.wants/"$1" "$2"/*.requires/"$1"; do [ -L "$wants" ] && return 0; done
  return 1
}
for unit in "$at"/etc/systemd/system/*.service "$at"/etc/systemd/system/*.timer; do
  [ -f "$unit" ] || continue
  name=${unit##*/}
  case " $* " in *" $name "*) continue ;; esac
  case $name in ccorch*) continue ;; esac
  [ -n "$(names "$unit")" ] && is_started "$name" "$at/etc/systemd/system" &&
    echo "${unit#"$at"} is enabled, and \`runs.units\` does not name it"
done
if [ -e "$at/var/lib/systemd/linger/$user" ]; then
  for unit in "$at$home"/.config/systemd/user/*.service "$at$home"/.config/systemd/user/*.timer; do
    [ -f "$unit" ] || continue
    is_started "${unit##*/}" "$at$home/.config/systemd/user" &&
      echo "${unit#"$at"} starts at boot, because $user lingers"
  done
fi
exit 0
"#;

/// Refuses a source that would start its rig again by itself.
pub fn check(side: &Side) -> Result<()> {
    let units = side.runs.iter().flat_map(|runs| runs.units.iter().map(String::as_str));
    let user = &side.workspace.user;
    let home = side.host.command_as(user, "/", &["sh", "-c", r#"printf %s "$HOME""#]).read()?;
    let args: Vec<&str> = ["", &side.workspace.root, user, home.trim()].into_iter().chain(units).collect();
    let found = side.script("look for what starts the rig", LOOK, &args).read()?;
    if found.trim().is_empty() {
        return Ok(());
    }
    let list: String = found.lines().map(|line| format!("\n    {line}")).collect();
    let message = format!("on {}: this would start the rig again after it moved:{list}", side.name);
    Err(Problem::new(Kind::Unfit, message)
        .hint("take these away on the source, or name the units in `runs.units` of its entry in the rig file")
        .into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    use super::LOOK;

    fn look(at: &Path, fenced: &[&str]) -> String {
        let at = at.display().to_string();
        let args = ["-c", LOOK, "ccorch", &at, "/srv/rig", "loops", "/home/loops"];
        let output = Command::new("sh").args(args).args(fenced).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn whatever_would_start_the_rig_past_its_fence_is_named() {
        let host = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let file = host.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let wanted = |folder: &str, by: &str, unit: &str| {
            let wants = host.path().join(folder).join(by);
            fs::create_dir_all(&wants).unwrap();
            symlink(format!("../{unit}"), wants.join(unit)).unwrap();
        };
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
            look(host.path(), &["rig.service"]),
            "",
            "what is fenced, off, another's or never started"
        );

        assert_eq!(
            look(host.path(), &[]),
            "/etc/systemd/system/rig.service is enabled, and `runs.units` does not name it\n"
        );
        put("var/lib/systemd/linger/loops", "");
        put("etc/cron.d/more", "*/5 * * * * root /srv/rig/launch.sh ensure\n");
        put("var/spool/cron/crontabs/loops", "@reboot sleep 9; ~/start\n0 1 * * * /usr/bin/true\n");
        put("etc/rc.local", "#!/bin/sh\nsu loops -c '/srv/rig/launch.sh start'\n");
        insta::assert_snapshot!(look(host.path(), &["rig.service"]), @r"
        /etc/rc.local: su loops -c '/srv/rig/launch.sh start'
        /etc/cron.d/more: */5 * * * * root /srv/rig/launch.sh ensure
        /var/spool/cron/crontabs/loops: @reboot sleep 9; ~/start
        /home/loops/.config/systemd/user/agent.service starts at boot, because loops lingers
        ");
    }
}
