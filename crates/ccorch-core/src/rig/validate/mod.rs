//! Does the rig make sense? Checks of meaning, over a rig whose shape is right.

mod confirm;
mod hosts;
mod isolation;
mod loops;
mod services;
mod workspace;

use super::finding::{Finding, child, item};
use super::shape::MOST_FINDINGS;
use super::tree::{Node, Value};
use super::{Rig, rules};

/// All findings about what the rig means; `known` are those about its shape.
pub(super) fn validate(rig: &Rig, root: &Node, known: &[Finding]) -> Vec<Finding> {
    let mut report = Report { root, known, findings: Vec::new() };
    workspace::check(rig, &mut report);
    loops::check(rig, &mut report);
    isolation::check(rig, &mut report);
    services::check(rig, &mut report);
    hosts::check(rig, &mut report);
    report.findings
}

/// Collects findings and knows where each key stands.
pub(super) struct Report<'a> {
    root: &'a Node,
    known: &'a [Finding],
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn error(&mut self, keys: &[&str], message: impl Into<String>) {
        self.add(keys, message.into(), Finding::error);
    }

    fn warn(&mut self, keys: &[&str], message: impl Into<String>) {
        self.add(keys, message.into(), Finding::warning);
    }

    /// A rule's verdict about the value at `keys`.
    fn must(&mut self, keys: &[&str], verdict: rules::Verdict) {
        if let Err(message) = verdict {
            self.error(keys, message);
        }
    }

    /// The same for a value that may be absent.
    fn must_if(&mut self, keys: &[&str], value: Option<&str>, rule: fn(&str) -> rules::Verdict) {
        if let Some(value) = value {
            self.must(keys, rule(value));
        }
    }

    /// Whether enough is told.
    fn is_full(&self) -> bool {
        self.findings.len() >= MOST_FINDINGS
    }

    /// Whether the file has this key, even with a value that could not be kept.
    fn has(&self, keys: &[&str]) -> bool {
        let mut node = self.root;
        keys.iter().all(|key| match node.get(key) {
            Some(entry) => {
                node = &entry.node;
                true
            }
            None => false,
        })
    }

    /// Whether the file has something under this key, even if it could not be kept.
    fn has_entries(&self, key: &str) -> bool {
        self.root.get(key).is_some_and(|entry| match &entry.node.value {
            Value::Map(entries) => !entries.is_empty(),
            _ => false,
        })
    }

    fn add(&mut self, keys: &[&str], message: String, make: fn(usize, String, String) -> Finding) {
        if self.is_full() {
            return;
        }
        let (line, path) = locate(self.root, keys);
        // What is wrong in shape at this key, or inside, explains what seems missing.
        let explained = |f: &Finding| {
            f.key.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !self.known.iter().any(explained) {
            self.findings.push(make(line, path, message));
        }
    }
}

/// The line and the path of a key; of a key that is not there, the line of what it should stand in.
pub(super) fn locate(root: &Node, keys: &[&str]) -> (usize, String) {
    let mut node = Some(root);
    let mut line = root.line;
    let mut path = String::new();
    for key in keys {
        let next = node.and_then(|node| match &node.value {
            Value::List(items) => items.get(key.parse::<usize>().ok()?).map(|value| (value.line, value)),
            _ => node.get(key).map(|entry| (entry.line, &entry.node)),
        });
        let in_list = matches!(node, Some(Node { value: Value::List(_), .. }));
        path = match key.parse() {
            Ok(index) if in_list => item(&path, index),
            _ => child(&path, key),
        };
        node = next.map(|(at, value)| {
            line = at;
            value
        });
    }
    if let Some(Node { line: own, value: Value::Scalar { .. } }) = node {
        line = *own;
    }
    (line, path)
}
