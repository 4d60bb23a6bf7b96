//! The command line: the part of Claude Code's that a rig uses, and the stub's own verbs.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The version whose behaviour is imitated, in the form `NUMBER (NAME)`.
const VERSION: &str = "2.1.197 (agent-stub)";

/// A stand-in for an interactive coding agent: prompt, transcript, hooks, numbered git work.
#[derive(Debug, Parser)]
#[command(
    name = "agent-stub",
    version = VERSION,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    after_help = "Lines it obeys: !stub crash [SIGNAL|code N] | hang | limit TEXT | limit-exit TEXT | limit-menu TEXT | throttle | login | exit [CODE] | say TEXT | turn SECONDS | pause | work; /exit\n\
                  Its work is set by ~/.claude/stub.json or $AGENT_STUB_CONFIG: {\"interval_ms\":500,\"work\":true,\"label\":\"builder\",\"push\":true}"
)]
pub(crate) struct Args {
    /// First message
    pub prompt: Option<String>,

    /// Go on with the newest conversation of this directory
    #[arg(short = 'c', long = "continue", conflicts_with_all = ["resume", "session_id"])]
    pub continue_newest: bool,

    /// Go on with the conversation of this id
    #[arg(short, long, value_name = "ID", conflicts_with = "session_id")]
    pub resume: Option<String>,

    /// Id of a new conversation; refused when it has a transcript already
    #[arg(long, value_name = "UUID")]
    pub session_id: Option<String>,

    /// Display name; the default label of the work
    #[arg(short, long)]
    pub name: Option<String>,

    /// Accepted and shown; nothing is opened
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub remote_control: Option<String>,

    /// Accepted; the trust dialog comes all the same
    #[arg(long)]
    pub dangerously_skip_permissions: bool,

    /// Settings with hooks: a file, or JSON
    #[arg(long, value_name = "FILE-OR-JSON")]
    pub settings: Option<String>,

    /// Accepted and shown
    #[arg(long)]
    pub model: Option<String>,

    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What it does besides being an agent.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Login of the agent
    Auth {
        #[command(subcommand)]
        action: AuthAction,
    },
    /// Read a ref's numbered work; exit 1 unless it goes 1, 2, 3... without gap or repeat
    VerifyNumbering(VerifyArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuthAction {
    /// Print the login as JSON; exit 1 when there is none
    Status,
}

/// Example: agent-stub verify-numbering --git /srv/git/work.git --ref main --label builder
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// A clone or a bare repository
    #[arg(long, value_name = "DIR")]
    pub git: PathBuf,
    /// The ref whose commits are read
    #[arg(long = "ref", value_name = "REF", default_value = "HEAD")]
    pub git_ref: String,
    /// Whose work
    #[arg(long)]
    pub label: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rig_s_command_line_is_taken() {
        let args = Args::try_parse_from([
            "claude",
            "--dangerously-skip-permissions",
            "--session-id",
            "0c8b9d7e-1111-4222-8333-444455556666",
            "--settings",
            "{}",
            "-n",
            "builder",
            "--model",
            "opus",
            "read the plan",
        ])
        .unwrap();
        assert_eq!(args.prompt.as_deref(), Some("read the plan"));
        assert_eq!(args.name.as_deref(), Some("builder"));
    }

    #[test]
    fn remote_control_needs_no_name() {
        let args = Args::try_parse_from(["claude", "--remote-control", "-c"]).unwrap();
        assert_eq!(args.remote_control.as_deref(), Some(""));
        assert!(args.continue_newest);
    }

    #[test]
    fn auth_status_is_a_verb() {
        let args = Args::try_parse_from(["claude", "auth", "status"]).unwrap();
        assert!(matches!(args.verb, Some(Verb::Auth { .. })));
    }
}
