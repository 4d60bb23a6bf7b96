//! A source after its cutover: what is written down about it, and when it may be forgotten.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SideKind;
use crate::names::{HostName, RigName};

/// Kept on a host that no longer runs the rig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standby {
    /// The rig.
    pub rig: RigName,
    /// The cutover that made it standby.
    pub journal: String,
    /// How it ran the rig.
    pub kind: SideKind,
    /// Where the rig runs.
    pub to: HostName,
    /// Since when, by the driver's clock.
    pub since: Timestamp,
    /// How many reboots the target had recorded then; absent where it records none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_reboots: Option<u64>,
    /// The workspace's path.
    pub workspace: String,
}

impl Standby {
    /// The note for people.
    pub fn note(&self) -> String {
        let Self { rig, to, journal, since, workspace, .. } = self;
        format!(
            "Rig `{rig}` runs on {to} since {since} (cutover {journal}). Nothing of it starts here, and {workspace} is\n\
             read-only: it is kept as it was, to go back to.\n\
             To bring the rig back, with all work done since: ccorch rollback\n\
             To see what is kept here: ccorch standby-status\n\
             To remove it for good: ccorch forget-source\n"
        )
    }
}

/// What is seen when somebody wants a standby forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetFacts {
    /// Now, by the driver's clock.
    pub now: Timestamp,
    /// The source.
    pub source: HostName,
    /// Who holds the lease and is active.
    pub active: Option<HostName>,
    /// What of the rig runs on the source.
    pub running: Vec<String>,
    /// Number of the target's last reboot that was in order; absent where it records none or had none.
    pub last_clean_reboot: Option<u64>,
}

/// Why a standby may not be forgotten yet; everything at once, nothing when it may.
pub fn not_yet(standby: &Standby, facts: &ForgetFacts, days: u32) -> Vec<String> {
    let mut reasons = Vec::new();
    let whole_day = 24 * 60 * 60;
    let age = facts.now.duration_since(standby.since).as_secs().max(0);
    if age < i64::from(days) * whole_day {
        reasons.push(format!("it is standby for {} of {days} days", age / whole_day));
    }
    match &facts.active {
        Some(active) if *active == facts.source => {
            reasons.push(format!("{active} itself runs the rig by the lease"));
        }
        Some(active) if *active != standby.to => {
            reasons.push(format!("{active} runs the rig by the lease, and not {}", standby.to));
        }
        Some(_) => {}
        None => reasons.push("nobody runs the rig by the lease".into()),
    }
    if !facts.running.is_empty() {
        reasons.push(format!("of the rig runs here: {}", facts.running.join("; ")));
    }
    let before = standby.target_reboots.unwrap_or(0);
    if facts.last_clean_reboot.is_none_or(|number| number <= before) {
        reasons.push(format!("{} has not come back from a reboot in order since", standby.to));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standby() -> Standby {
        Standby {
            rig: RigName::new("cc-ci").unwrap(),
            journal: "j1".into(),
            kind: SideKind::Legacy,
            to: HostName::new("vm").unwrap(),
            since: Timestamp::UNIX_EPOCH,
            target_reboots: Some(2),
            workspace: "/srv/cc-ci".into(),
        }
    }

    fn facts(days: i64, clean: Option<u64>) -> ForgetFacts {
        ForgetFacts {
            now: Timestamp::from_second(days * 86_400).unwrap(),
            source: HostName::new("pi").unwrap(),
            active: Some(HostName::new("vm").unwrap()),
            running: vec![],
            last_clean_reboot: clean,
        }
    }

    #[test]
    fn a_source_is_forgotten_after_its_days_and_a_clean_reboot() {
        assert_eq!(not_yet(&standby(), &facts(7, Some(3)), 7), Vec::<String>::new());
        assert_eq!(not_yet(&standby(), &facts(6, Some(3)), 7), ["it is standby for 6 of 7 days"]);
        // A reboot before the cutover proves nothing.
        let reboot = "vm has not come back from a reboot in order since";
        assert_eq!(not_yet(&standby(), &facts(7, Some(2)), 7), [reboot]);
        assert_eq!(not_yet(&standby(), &facts(7, None), 7), [reboot]);
    }

    #[test]
    fn nothing_is_forgotten_that_runs_or_may_run() {
        let mut now = facts(0, Some(3));
        now.running = vec!["12 claude".into()];
        for (active, why) in [
            (Some("pi"), "pi itself runs the rig by the lease"),
            (Some("other"), "other runs the rig by the lease, and not vm"),
            (None, "nobody runs the rig by the lease"),
        ] {
            now.active = active.map(|name| HostName::new(name).unwrap());
            assert_eq!(not_yet(&standby(), &now, 0), [why, "of the rig runs here: 12 claude"]);
        }
        // A clock that went back makes nobody older.
        now.now = Timestamp::from_second(-9_000_000).unwrap();
        assert_eq!(not_yet(&standby(), &now, 1)[0], "it is standby for 0 of 1 days");
    }

    #[test]
    fn the_note_says_how_to_go_back() {
        insta::assert_snapshot!(standby().note(), @r"
        Rig `cc-ci` runs on vm since 1970-01-01T00:00:00Z (cutover j1). Nothing of it starts here, and /srv/cc-ci is
        read-only: it is kept as it was, to go back to.
        To bring the rig back, with all work done since: ccorch rollback
        To see what is kept here: ccorch standby-status
        To remove it for good: ccorch forget-source
        ");
    }
}
