//! Waiting for cloud-init's end, and saying how it ended
//! (<https://cloudinit.readthedocs.io/en/latest/explanation/return_codes.html>).

use anyhow::Result;
use ccorch_io::host::Host;
use serde::Serialize;

use super::progress::Progress;
use crate::error::{Kind, Problem};

/// How cloud-init ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All done.
    Done,
    /// Done, with errors it could recover from.
    Recovered,
    /// The image has none.
    Absent,
}

/// Waits for it over ssh.
pub fn wait(host: &Host, progress: &Progress) -> Result<End> {
    let command = host.command(&["cloud-init", "status", "--wait"]).deadline(progress.left());
    let output = command.output()?;
    match output.status.code() {
        Some(0) => Ok(End::Done),
        Some(2) => {
            progress.say(format!("cloud-init is done with recoverable errors:\n{}", long(host)?));
            Ok(End::Recovered)
        }
        Some(127) => {
            progress.say("the image has no cloud-init");
            Ok(End::Absent)
        }
        // ssh's own failure, not cloud-init's.
        Some(255) | None => Err(command.failed(&output).into()),
        Some(_) => {
            let log = host.command(&["tail", "-n", "12", "/var/log/cloud-init-output.log"]).output()?;
            let text = format!(
                "on {}: cloud-init ended in error\n{}\nend of /var/log/cloud-init-output.log:\n{}",
                host.name,
                long(host)?,
                indented(&log.text())
            );
            Err(Problem::new(Kind::Unfit, text)
                .hint("see /var/log/cloud-init.log there; it runs once, so after mending the image make the instance anew")
                .into())
        }
    }
}

fn long(host: &Host) -> Result<String> {
    Ok(indented(&host.command(&["cloud-init", "status", "--long"]).output()?.text()))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    | {line}")).collect::<Vec<_>>().join("\n")
}
