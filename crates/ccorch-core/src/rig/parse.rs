//! From the rig file's text to a [`Rig`], or to all that is wrong with it.

use super::finding::Finding;
use super::tree::Node;
use super::validate::{locate, validate};
use super::{Rig, schema, shape, tree};

/// Reads a rig file (YAML, of which JSON is a part) and checks it: all errors at once, in file order.
pub fn parse(text: &str) -> Result<Rig, Vec<Finding>> {
    let (rig, mut findings) = check(text);
    findings.retain(Finding::is_error);
    rig.ok_or(findings)
}

/// The same with warnings: there is a rig when none of the findings is an error.
///
/// One reader decides what the file says, for the findings as for the rig: two readers of YAML never agree on all of it.
pub fn check(text: &str) -> (Option<Rig>, Vec<Finding>) {
    let (root, mut findings) = tree::read(text);
    let rig = root.and_then(|root| meaning(&root, &mut findings));
    // What is missed at the end is found behind it, on a line no editor has.
    let last = tree::last_line(text);
    findings.iter_mut().for_each(|f| f.line = f.line.min(last));
    // Stable: what stands on one line keeps the order in which it was found.
    findings.sort_by_key(|f| f.line);
    let sound = !findings.iter().any(Finding::is_error);
    (rig.filter(|_| sound), findings)
}

fn meaning(root: &Node, findings: &mut Vec<Finding>) -> Option<Rig> {
    let (kept, found) = shape::walk(root, &schema::schema());
    findings.extend(found);
    match serde_json::from_value::<Rig>(kept?) {
        Ok(rig) => {
            findings.extend(validate(&rig, root, findings));
            Some(rig)
        }
        // The schema comes from the same types, so a test has to fail before this can be seen.
        Err(error) => {
            findings.push(Finding::error(root.line, "", error.to_string()));
            None
        }
    }
}

/// The line of a key in a rig file, for checks that need more than its text; list items by number, from 0.
///
/// Of a key that is not there, the line of what it should stand in; 0 when the text cannot be read at all.
pub fn locate_key(text: &str, keys: &[&str]) -> (usize, String) {
    match tree::read(text).0 {
        Some(root) => locate(&root, keys),
        None => (0, keys.join(".")),
    }
}
