//! The rig file as bytes, and what is wrong with it as every verb says it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Result;
use ccorch_core::rig::{Finding, MAX_BYTES};

use crate::error::{Kind, Problem};

/// Reads a rig file's text, no more of it than a rig file may have.
pub fn read(file: &Path) -> Result<String> {
    let failed = |error: std::io::Error| {
        Problem::new(Kind::Rig, format!("read rig file {}: {error}", file.display()))
            .hint("name the rig file with `--rig FILE`")
    };
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    File::open(file).and_then(|f| f.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() > MAX_BYTES {
        let message =
            format!("{}: too large for a rig file; expected at most {MAX_BYTES} bytes", file.display());
        return Err(Problem::new(Kind::Rig, message).hint("see that this is the right file").into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(good).filter(|b| **b == b'\n').count();
        let message = format!("{}:{line}: not UTF-8 text; expected YAML or JSON in UTF-8", file.display());
        Problem::new(Kind::Rig, message).hint("save the file as UTF-8").into()
    })
}

/// One finding on one line: `file:line: key: message`.
pub fn line(file: &Path, finding: &Finding) -> String {
    let mut text = file.display().to_string();
    if finding.line > 0 {
        text += &format!(":{}", finding.line);
    }
    if !finding.key.is_empty() {
        text += &format!(": {}", finding.key);
    }
    let severity = if finding.is_error() { "" } else { "warning: " };
    format!("{text}: {severity}{}", finding.message)
}

/// The errors among some findings, as a failure of the verb that needs the rig.
pub fn problem(file: &Path, findings: &[Finding]) -> Problem {
    let lines: Vec<String> = findings.iter().filter(|f| f.is_error()).map(|f| line(file, f)).collect();
    let count = counted(lines.len(), "error");
    Problem::new(Kind::Rig, format!("{count} in the rig file\n{}", lines.join("\n")))
        .hint("mend the file; `ccorch check` tells warnings too")
}

/// `1 error`, `2 errors`.
pub fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_that_needs_the_rig_tells_the_errors_as_check_does() {
        let found = [
            Finding::warning(1, "lease", "no remote"),
            Finding::error(2, "rig", "is odd"),
            Finding::error(0, "", "is large"),
        ];
        let problem = problem(Path::new("a/ccorch.yaml"), &found);
        assert_eq!(problem.kind, Kind::Rig);
        insta::assert_snapshot!(problem.message, @"
        2 errors in the rig file
        a/ccorch.yaml:2: rig: is odd
        a/ccorch.yaml: is large
        ");
    }
}
