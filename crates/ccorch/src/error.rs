//! How a verb fails: the kind decides the exit status, the chain says what happened, a hint says what to do.

use std::process::ExitCode;

use crate::hints;

/// What kind of failure it is; scripts read it as the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something went wrong that has no kind of its own; `status` uses it for "degraded".
    General = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The rig file is wrong.
    Rig = 3,
    /// A host, server or git remote does not answer.
    Unreachable = 4,
    /// A certificate, fingerprint, host key or login is not the expected one.
    Identity = 5,
    /// Somebody else holds what is needed: a lock, a name, the lease.
    Conflict = 6,
    /// The machine is not fit for what was asked: a missing tool, a full disk, another architecture.
    Unfit = 7,
    /// The cutover failed and took itself back; the source runs again.
    RolledBack = 8,
    /// Neither forward nor back without a person.
    Stuck = 9,
    /// It was still not so at the deadline.
    TimedOut = 10,
    /// The cutover goes on in a unit of its own, which stops the session that it was typed in.
    GoesOn = 11,
}

impl Kind {
    /// The kind that an exit status of ccorch stands for; none for 1, which says nothing.
    pub fn of_status(status: i32) -> Option<Self> {
        let kinds = [
            Self::Rig,
            Self::Unreachable,
            Self::Identity,
            Self::Conflict,
            Self::Unfit,
            Self::RolledBack,
            Self::Stuck,
            Self::TimedOut,
            Self::GoesOn,
        ];
        kinds.into_iter().find(|kind| *kind as i32 == status)
    }
}

/// A failure with its kind, in the operator's words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The kind.
    pub kind: Kind,
    /// What happened and where.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Prints the error and its hint to standard error; the exit status by its kind.
pub fn report(error: &anyhow::Error) -> ExitCode {
    let (kind, hint) = hints::of(error);
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // A cause that its wrapper already quotes adds nothing.
        if !text.contains(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    eprintln!("error: {text}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(kind as u8)
}
