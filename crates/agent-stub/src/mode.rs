//! What the agent is up to, and how a submitted line changes it.

use std::time::Duration;

use crate::command::Command;

/// Known texts of the real agent.
pub(crate) const THROTTLED: &str =
    "API Error: Server is temporarily limiting requests (not your usage limit) · Rate limited";
pub(crate) const LOGIN_EXPIRED: &str = "Login expired · Please run /login";

/// The agent's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Does numbered work when it has nothing else to do.
    Working,
    /// Waits for a message.
    Waiting,
    /// Waits for a new login; messages get the same error again.
    LoggedOut,
}

/// How a turn ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// With a text and the `Stop` hook.
    Says(String),
    /// The same, so much later.
    Later(Duration, String),
    /// With an error text and the `StopFailure` hook, whose `error` this is.
    Fails { text: String, error: &'static str },
}

/// The mode after a line, and the answer to it; None for what is no turn (crash, hang, exit).
pub(crate) fn after(mode: Mode, command: &Command, text: &str, login_is_new: bool) -> Option<(Mode, Reply)> {
    let says = |mode, text: String| Some((mode, Reply::Says(text)));
    let fails = |mode, text: &str, error| Some((mode, Reply::Fails { text: text.to_owned(), error }));
    match command {
        Command::Crash(_) | Command::Hang | Command::Exit(_) => None,
        Command::Limit(text) | Command::LimitExit(text) | Command::LimitMenu(text) => {
            fails(Mode::Waiting, text, "rate_limit")
        }
        // The same `error` as for a plan limit: so does the real agent; the text differs.
        Command::Throttle => fails(Mode::Waiting, THROTTLED, "rate_limit"),
        Command::Login => fails(Mode::LoggedOut, LOGIN_EXPIRED, "authentication_failed"),
        Command::Say(text) => says(mode, text.clone()),
        Command::Unknown(problem) => says(mode, problem.clone()),
        Command::Turn(seconds) => {
            let text = format!("Finished after {seconds} s.");
            Some((mode, Reply::Later(Duration::from_secs(*seconds), text)))
        }
        Command::Pause => says(Mode::Waiting, "Paused.".to_owned()),
        Command::Work => says(Mode::Working, "Working.".to_owned()),
        Command::Message if mode == Mode::LoggedOut && !login_is_new => {
            fails(Mode::LoggedOut, LOGIN_EXPIRED, "authentication_failed")
        }
        Command::Message => says(Mode::Working, format!("Understood ({} bytes).", text.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_after(mode: Mode, line: &str, login_is_new: bool) -> Option<Mode> {
        after(mode, &Command::parse(line), line, login_is_new).map(|(mode, _)| mode)
    }

    #[test]
    fn a_message_wakes_an_agent_that_waits() {
        assert_eq!(mode_after(Mode::Waiting, "go on", false), Some(Mode::Working));
        for line in ["!stub pause", "!stub limit L", "!stub throttle"] {
            assert_eq!(mode_after(Mode::Working, line, false), Some(Mode::Waiting));
        }
        assert_eq!(mode_after(Mode::Waiting, "!stub say x", false), Some(Mode::Waiting));
    }

    #[test]
    fn only_a_new_login_ends_a_logout() {
        assert_eq!(mode_after(Mode::Working, "!stub login", false), Some(Mode::LoggedOut));
        assert_eq!(mode_after(Mode::LoggedOut, "go on", false), Some(Mode::LoggedOut));
        assert_eq!(mode_after(Mode::LoggedOut, "go on", true), Some(Mode::Working));
    }

    #[test]
    fn a_limit_is_the_whole_message() {
        let text = "!stub limit Weekly limit reached ∙ resets Oct 9 at 5:15pm (America/New_York)";
        let (_, reply) = after(Mode::Working, &Command::parse(text), text, false).unwrap();
        let text = "Weekly limit reached ∙ resets Oct 9 at 5:15pm (America/New_York)".to_owned();
        assert_eq!(reply, Reply::Fails { text, error: "rate_limit" });
    }
}
