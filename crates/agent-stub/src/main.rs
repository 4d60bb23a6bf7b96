//! The `agent-stub` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent_stub::run()
}
