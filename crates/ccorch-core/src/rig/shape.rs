//! Does the tree have the schema's shape? Everything that has not becomes a finding, and what has is kept.
//!
//! What is kept goes on to be a [`Rig`](super::Rig) even when something else is wrong, so that the checks of
//! meaning speak in the same run. A value that cannot be kept is left out of its mapping, a list with such an
//! item is kept empty, and a mapping that lacks what nothing can stand in for is left out itself.

use serde_json::{Map, Value as Json};

use super::finding::{Finding, child, item, shown};
use super::scalar::Kind;
use super::schema;
use super::tree::{Node, Value};

/// More findings than this help nobody.
pub(super) const MOST_FINDINGS: usize = 200;

/// Walks the tree along the schema: what of it can be kept, and all findings.
pub(super) fn walk(root: &Node, schema: &Json) -> (Option<Json>, Vec<Finding>) {
    let mut walk = Walk { definitions: &schema["$defs"], findings: Vec::new() };
    let kept = walk.visit(schema, root, &Place { line: root.line, path: String::new() });
    (kept, walk.findings)
}

/// Where a value stands: its key's path and the line of that key.
struct Place {
    line: usize,
    path: String,
}

struct Walk<'s> {
    definitions: &'s Json,
    findings: Vec<Finding>,
}

impl<'s> Walk<'s> {
    fn error(&mut self, line: usize, path: impl Into<String>, message: impl Into<String>) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding::error(line, path, message));
        }
    }

    /// Recursion ends with the tree, whose depth is bounded.
    fn visit(&mut self, schema: &'s Json, node: &Node, place: &Place) -> Option<Json> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or(reference);
            let definition = &self.definitions[name];
            return match (Kind::of(node), definition["type"].as_str()) {
                (Kind::Text(text), Some("string")) => match schema::named(name, text) {
                    Err(message) => self.refuse(node, place, message),
                    Ok(()) => self.visit(definition, node, place),
                },
                _ => self.visit(definition, node, place),
            };
        }
        if let Some(any) = schema["anyOf"].as_array() {
            // The generator uses `anyOf` for one thing: a type or null.
            if Kind::of(node) == Kind::Null {
                return Some(Json::Null);
            }
            return any.iter().find(|s| s["type"] != "null").and_then(|s| self.visit(s, node, place));
        }
        if let Some(choices) = choices(schema) {
            return self.choice(&choices, node, place);
        }
        let types: Vec<&str> = match &schema["type"] {
            Json::String(one) => vec![one],
            Json::Array(many) => many.iter().filter_map(Json::as_str).collect(),
            _ => vec![],
        };
        let expected = types.iter().find(|t| **t != "null")?;
        match (*expected, Kind::of(node)) {
            (_, Kind::Null) if types.contains(&"null") => Some(Json::Null),
            ("object", Kind::Map) => self.mapping(schema, node, place),
            ("array", Kind::List) => self.list(schema, node, place),
            ("string", Kind::Text(text)) => Some(text.into()),
            ("boolean", Kind::Bool(value)) => Some(value.into()),
            ("integer", Kind::Int(number)) => self.integer(schema, number, node, place),
            (expected, found) => {
                let message = mismatch(expected, schema, &found, node);
                self.refuse(node, place, message)
            }
        }
    }

    fn refuse(&mut self, node: &Node, place: &Place, message: String) -> Option<Json> {
        self.error(line_of(node, place), &place.path, message);
        None
    }

    fn choice(&mut self, choices: &[&str], node: &Node, place: &Place) -> Option<Json> {
        let expected = listed(choices.iter().copied(), "or");
        let message = match Kind::of(node) {
            Kind::Text(text) if choices.contains(&text) => return Some(text.into()),
            Kind::Text(text) => match nearest(text, choices.iter().copied()) {
                Some(near) => {
                    format!("{} is not known; did you mean `{near}`? expected {expected}", shown(text))
                }
                None => format!("{} is not known; expected {expected}", shown(text)),
            },
            found => format!("expected {expected}, found {}", found.found()),
        };
        self.refuse(node, place, message)
    }

    fn integer(&mut self, schema: &Json, number: i128, node: &Node, place: &Place) -> Option<Json> {
        let (low, high) = bounds(schema);
        match u64::try_from(number) {
            Ok(n) if (low..=high).contains(&n) => Some(n.into()),
            _ => {
                let written = scalar_text(node).unwrap_or_default();
                let message = format!("expected {}, found {}", whole_number(schema), shown(written));
                self.refuse(node, place, message)
            }
        }
    }

    fn list(&mut self, schema: &'s Json, node: &Node, place: &Place) -> Option<Json> {
        let Value::List(items) = &node.value else { return None };
        let mut kept = Vec::with_capacity(items.len());
        for (index, value) in items.iter().enumerate() {
            let place = Place { line: value.line, path: item(&place.path, index) };
            kept.extend(self.visit(&schema["items"], value, &place));
        }
        // With items left out the others would stand at wrong numbers; then rather none is kept.
        Some(if kept.len() == items.len() { kept.into() } else { Json::Array(Vec::new()) })
    }

    fn mapping(&mut self, schema: &'s Json, node: &Node, place: &Place) -> Option<Json> {
        let Value::Map(entries) = &node.value else { return None };
        let known = schema["properties"].as_object();
        let mut kept = Map::new();
        let mut meant: Vec<&str> = Vec::new();
        for entry in entries {
            // Nothing more is told, and a rig does not come of it: a hostile file costs no more time.
            if self.findings.len() >= MOST_FINDINGS {
                return None;
            }
            let at = Place { line: entry.line, path: child(&place.path, &entry.key) };
            if entry.merge {
                self.error(at.line, &at.path, "merge keys are not part of YAML 1.2; write the keys out");
                continue;
            }
            let (key, value_schema) = match known.and_then(|k| k.get_key_value(&entry.key)) {
                Some((key, schema)) => (key.as_str(), schema),
                None => match self.other_key(schema, &entry.key, &at) {
                    Ok(schema) => (entry.key.as_str(), schema),
                    // What is misspelt counts as what was meant, so that nothing else seems to be missing.
                    Err(Some(near)) if node.get(near).is_none() => {
                        meant.push(near);
                        (near, known.map_or(schema, |k| &k[near]))
                    }
                    Err(_) => continue,
                },
            };
            if let Some(value) = self.visit(value_schema, &entry.node, &at) {
                kept.insert(key.to_owned(), value);
            }
        }
        let mut whole = true;
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if node.get(required).is_none() && !meant.contains(&required) {
                let about = known.and_then(|k| k[required]["description"].as_str()).unwrap_or_default();
                let about = about.split(". ").next().unwrap_or_default().trim_end_matches('.');
                let message = format!("missing; expected here: {about}");
                self.error(place.line, child(&place.path, required), message);
            }
            if !kept.contains_key(required) {
                let stand_in = known.and_then(|k| self.stand_in(&k[required]));
                whole &= stand_in.is_some();
                kept.extend(stand_in.map(|value| (required.to_owned(), value)));
            }
        }
        whole.then(|| kept.into())
    }

    /// What can stand for a required value that is missing or wrong, so that the rest can be checked in this run.
    /// There is a finding at its key, and with it no further one about that key is made, nor any rig.
    fn stand_in(&self, schema: &Json) -> Option<Json> {
        match (schema["$ref"].as_str(), schema["type"].as_str()) {
            (Some(reference), _) if reference.ends_with("/RigName") => Some("unnamed".into()),
            (None, Some("string")) => Some("".into()),
            (None, Some("array")) => Some(Json::Array(Vec::new())),
            (None, Some("object")) => Some(Json::Object(Map::new())),
            _ => None,
        }
    }

    /// The schema of a key that is none of the fixed ones; on error a finding is made and what was meant returned.
    fn other_key(&mut self, schema: &'s Json, key: &str, at: &Place) -> Result<&'s Json, Option<&'s str>> {
        let patterns = schema["patternProperties"].as_object();
        if let Some((pattern, value)) = patterns.and_then(|p| p.iter().next()) {
            return match schema::key(pattern, key) {
                Ok(()) => Ok(value),
                Err(message) => {
                    self.error(at.line, &at.path, message);
                    Err(None)
                }
            };
        }
        if schema["additionalProperties"].is_object() {
            return Ok(&schema["additionalProperties"]);
        }
        let known: Vec<&str> = match schema["properties"].as_object() {
            Some(properties) => properties.keys().map(String::as_str).collect(),
            None => Vec::new(),
        };
        let near = nearest(key, known.iter().copied());
        let message = match near {
            Some(near) => format!("unknown key; did you mean `{near}`?"),
            None => format!("unknown key; expected one of {}", listed(known.iter().copied(), "and")),
        };
        self.error(at.line, &at.path, message);
        Err(near)
    }
}

/// The line to show for a value: its own, or its key's when it spans many or is not there at all.
fn line_of(node: &Node, place: &Place) -> usize {
    match &node.value {
        Value::Scalar { text, .. } if !text.is_empty() => node.line,
        _ => place.line,
    }
}

fn scalar_text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// The strings an enumeration allows; the generator writes documented ones as `oneOf`/`const`, bare ones as `enum`.
fn choices(schema: &Json) -> Option<Vec<&str>> {
    let one_of = schema["oneOf"].as_array();
    let own = schema["enum"].as_array();
    if one_of.is_none() && own.is_none() {
        return None;
    }
    let mut all: Vec<&str> = own.into_iter().flatten().filter_map(Json::as_str).collect();
    for variant in one_of.into_iter().flatten() {
        all.extend(variant["const"].as_str());
        all.extend(variant["enum"].as_array().into_iter().flatten().filter_map(Json::as_str));
    }
    Some(all)
}

fn bounds(schema: &Json) -> (u64, u64) {
    let high = match schema["format"].as_str() {
        Some("uint8") => u8::MAX.into(),
        Some("uint16") => u16::MAX.into(),
        Some("uint32") => u32::MAX.into(),
        _ => u64::MAX,
    };
    (schema["minimum"].as_u64().unwrap_or(0), schema["maximum"].as_u64().unwrap_or(high))
}

fn whole_number(schema: &Json) -> String {
    let (low, high) = bounds(schema);
    format!("a whole number from {low} to {high}")
}

fn mismatch(expected: &str, schema: &Json, found: &Kind, node: &Node) -> String {
    let expects = match expected {
        "object" => "a mapping of keys to values".to_owned(),
        "array" => "a list".to_owned(),
        "string" => "a string".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        _ => whole_number(schema),
    };
    let written = scalar_text(node).unwrap_or_default();
    let hint = match (expected, found) {
        ("string", Kind::Bool(_) | Kind::Int(_) | Kind::Float(_)) => {
            format!("; put it in quotes: \"{}\"", shown(written).trim_matches('`'))
        }
        ("array", Kind::Text(text)) => format!("; write [{}]", shown(text).trim_matches('`')),
        ("integer", Kind::Text(text)) if text.parse::<u64>().is_ok() => "; leave the quotes out".to_owned(),
        _ => String::new(),
    };
    format!("expected {expects}, found {}{hint}", found.found())
}

/// The known word that was probably meant.
fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of both lengths; no word of the schema is half as long.
    if given.len() > 64 {
        return None;
    }
    let plain = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let given = plain(given);
    known
        .map(|word| (strsim::damerau_levenshtein(&given, &plain(word)), word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 5 && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

fn listed<'a>(words: impl Iterator<Item = &'a str>, last: &str) -> String {
    let words: Vec<String> = words.map(|w| format!("`{w}`")).collect();
    match words.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_close_or_none() {
        let known = ["branch", "url", "host_key", "ssh", "rig"];
        for (given, meant) in [
            ("brunch", Some("branch")),
            ("Branch", Some("branch")),
            ("host-key", Some("host_key")),
            ("hostkey", Some("host_key")),
            ("sssh", Some("ssh")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known.into_iter()), meant, "{given}");
        }
    }
}
