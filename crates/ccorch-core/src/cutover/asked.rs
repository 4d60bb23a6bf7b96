//! What a person asks of a cutover beside its direction. It is in the journal's first line: whoever goes on with it, on
//! whatever machine and with whatever rig file by then, does so.

use serde::{Deserialize, Serialize};

use crate::rig::CutoverHosts;
use crate::safepoint::UnsavedPolicy;
use crate::seconds::Seconds;

/// How long the target's loops may take to work, when nobody says.
const TIMEOUT: Seconds = Seconds(15 * 60);

/// What holds for a cutover from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What happens to work that is not saved in git when the source has stopped.
    pub unsaved: UnsavedPolicy,
    /// How long the target's loops may take until they have worked.
    pub timeout: Seconds,
    /// How long no loop may end on the target.
    pub settle: Seconds,
    /// Whether the target has to come back from a reboot too.
    pub prove_reboot: bool,
}

/// What a command line says of it; the rest is the rig's, or as usual.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// See [`Asked::unsaved`].
    pub unsaved: Option<UnsavedPolicy>,
    /// See [`Asked::timeout`].
    pub timeout: Option<Seconds>,
    /// See [`Asked::settle`].
    pub settle: Option<Seconds>,
    /// See [`Asked::prove_reboot`].
    pub prove_reboot: Option<bool>,
}

impl Said {
    /// What a cutover that begins now is asked, with what the rig file says.
    pub fn of(self, cutover: Option<&CutoverHosts>) -> Asked {
        let confirm = cutover.and_then(|cutover| cutover.confirm.clone()).unwrap_or_default();
        Asked {
            unsaved: self.unsaved.or(cutover.map(|cutover| cutover.unsaved)).unwrap_or_default(),
            timeout: self.timeout.unwrap_or(TIMEOUT),
            settle: self.settle.unwrap_or(confirm.settle),
            prove_reboot: self.prove_reboot.unwrap_or(false),
        }
    }

    /// What it says otherwise than a cutover was asked at its beginning; each in words.
    pub fn differs(self, asked: &Asked) -> Vec<String> {
        let unsaved = |policy| if policy == UnsavedPolicy::Rescue { "rescue" } else { "refuse" };
        let mut all = Vec::new();
        let mut compare = |what: &str, now: Option<String>, then: String| {
            if let Some(now) = now.filter(|now| *now != then) {
                all.push(format!("{what} was {then} at its beginning, and is {now} now"));
            }
        };
        compare(
            "what happens to unsaved work",
            self.unsaved.map(|now| unsaved(now).into()),
            unsaved(asked.unsaved).into(),
        );
        compare("the time to verify", self.timeout.map(|now| now.to_string()), asked.timeout.to_string());
        compare("the time to settle", self.settle.map(|now| now.to_string()), asked.settle.to_string());
        compare(
            "the proof by a reboot",
            self.prove_reboot.map(|now| now.to_string()),
            asked.prove_reboot.to_string(),
        );
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_says_is_the_rigs_or_as_usual() {
        let usual = Said::default().of(None);
        assert_eq!((usual.unsaved, usual.timeout), (UnsavedPolicy::Refuse, Seconds(900)));
        assert_eq!((usual.settle, usual.prove_reboot), (Seconds(60), false));
        let yaml = "{ from: a, to: b, unsaved: rescue, confirm: { settle: 2s } }";
        let cutover: CutoverHosts = serde_yaml::from_str(yaml).unwrap();
        let asked = Said::default().of(Some(&cutover));
        assert_eq!((asked.unsaved, asked.settle), (UnsavedPolicy::Rescue, Seconds(2)));
        let said = Said { unsaved: Some(UnsavedPolicy::Refuse), settle: Some(Seconds(3)), ..Said::default() };
        let asked = said.of(Some(&cutover));
        assert_eq!((asked.unsaved, asked.settle), (UnsavedPolicy::Refuse, Seconds(3)));
    }

    #[test]
    fn only_what_is_said_can_differ() {
        let asked = Said { timeout: Some(Seconds(60)), ..Said::default() }.of(None);
        assert_eq!(Said::default().differs(&asked), [""; 0]);
        let same =
            Said { timeout: Some(Seconds(60)), unsaved: Some(UnsavedPolicy::Refuse), ..Said::default() };
        assert_eq!(same.differs(&asked), [""; 0]);
        let other = Said {
            unsaved: Some(UnsavedPolicy::Rescue),
            timeout: Some(Seconds(61)),
            settle: Some(Seconds(1)),
            prove_reboot: Some(true),
        };
        let differs = other.differs(&asked);
        assert_eq!(differs.len(), 4, "{differs:?}");
        assert_eq!(differs[0], "what happens to unsaved work was refuse at its beginning, and is rescue now");
    }
}
