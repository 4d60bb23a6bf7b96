//! How a unit of work that was begun is completed: never lost, never done twice.

/// Whether the shared branch holds the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remote {
    /// Units are not pushed.
    NotUsed,
    /// It did not answer.
    Unknown,
    Lacks,
    Has,
}

/// What is left to do for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    /// Nothing of it exists: write, commit, push.
    DoIt,
    /// Committed here only.
    Push,
    /// Pushed, and then this clone fell behind (an older copy of the workspace).
    TakeFromRemote,
    /// All there; only the note was missing.
    MarkDone,
    /// It may or may not be on the remote: doing it now could do it twice.
    WaitForRemote,
}

/// Decides from what git shows.
pub(crate) fn completion(committed_here: bool, remote: Remote) -> Completion {
    match (committed_here, remote) {
        (false, Remote::NotUsed | Remote::Lacks) => Completion::DoIt,
        (false, Remote::Has) => Completion::TakeFromRemote,
        (false, Remote::Unknown) => Completion::WaitForRemote,
        (true, Remote::NotUsed | Remote::Has) => Completion::MarkDone,
        (true, Remote::Lacks | Remote::Unknown) => Completion::Push,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_written_only_when_it_is_surely_nowhere() {
        for remote in [Remote::NotUsed, Remote::Unknown, Remote::Lacks, Remote::Has] {
            for committed in [false, true] {
                let nowhere = !committed && matches!(remote, Remote::NotUsed | Remote::Lacks);
                assert_eq!(completion(committed, remote) == Completion::DoIt, nowhere);
            }
        }
    }

    #[test]
    fn a_unit_is_done_only_when_it_is_everywhere_it_must_be() {
        assert_eq!(completion(true, Remote::Has), Completion::MarkDone);
        assert_eq!(completion(true, Remote::NotUsed), Completion::MarkDone);
        assert_eq!(completion(true, Remote::Lacks), Completion::Push);
        assert_eq!(completion(true, Remote::Unknown), Completion::Push);
        assert_eq!(completion(false, Remote::Has), Completion::TakeFromRemote);
    }
}
