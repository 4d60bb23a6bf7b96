//! The proxy's verbs, with a real `ssh -N -D` behind a real sshd and with a second real SOCKS server.

// The lint spares `#[test]` functions alone; what helps them may fail a test just so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod connect;
mod rig;
mod sshd;

use std::net::TcpListener;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// The binary under test.
const CCORCH: &str = env!("CARGO_BIN_EXE_ccorch");
/// Far beyond what anything here takes; only a failure gets there.
const LONG: Duration = Duration::from_secs(30);

/// A child that ends with its test, whatever the test's own end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits for a condition.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < until, "not within {LONG:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Status, standard output and standard error, as a person sees them.
fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().map_or("signal".into(), |code| code.to_string());
    format!("status {code}\n{}{}", text(&output.stdout), text(&output.stderr))
}

/// `ccorch` with nothing of this machine's own configuration.
fn ccorch() -> Command {
    let mut command = Command::new(CCORCH);
    command.env_remove("CCORCH_RIG").env_remove("CREDENTIALS_DIRECTORY");
    command
}
