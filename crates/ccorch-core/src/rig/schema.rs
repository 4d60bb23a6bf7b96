//! The rig file's JSON Schema, generated from the types, and the rules behind its named strings.

use serde_json::Value;

use super::Rig;
use crate::names::{HostName, LoopName, RigName};
use crate::seconds::Seconds;

/// The JSON Schema (draft 2020-12) of the rig file.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Rig);
    schema.insert("title".into(), "ccorch rig file".into());
    schema.to_value()
}

/// Checks a string against the rule of a named type of the schema; names without a rule take any string.
pub(super) fn named(definition: &str, text: &str) -> Result<(), String> {
    match definition {
        "RigName" => rule(RigName::new(text)),
        "HostName" => rule(HostName::new(text)),
        "LoopName" => rule(LoopName::new(text)),
        "Duration" => rule(text.parse::<Seconds>()),
        _ => Ok(()),
    }
}

/// Checks a key against a `patternProperties` pattern of the schema.
pub(super) fn key(pattern: &str, text: &str) -> Result<(), String> {
    match pattern {
        LoopName::PATTERN => rule(LoopName::new(text)),
        HostName::PATTERN => rule(HostName::new(text)),
        _ => Ok(()),
    }
}

fn rule<T, E: ToString>(parsed: Result<T, E>) -> Result<(), String> {
    parsed.map(drop).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every keyword of the schema, with its value, at any depth.
    fn keywords(schema: &Value, found: &mut Vec<(String, Value)>) {
        let Some(object) = schema.as_object() else { return };
        for (keyword, value) in object {
            found.push((keyword.clone(), value.clone()));
            match keyword.as_str() {
                "properties" | "patternProperties" | "$defs" => {
                    value.as_object().unwrap().values().for_each(|v| keywords(v, found));
                }
                "anyOf" | "oneOf" => value.as_array().unwrap().iter().for_each(|v| keywords(v, found)),
                "items" | "additionalProperties" => keywords(value, found),
                _ => {}
            }
        }
    }

    /// The walk in `shape` knows these; another one would be ignored without a word.
    #[test]
    fn the_walk_knows_every_keyword_of_the_schema() {
        let known = [
            "$schema",
            "title",
            "description",
            "default",
            "type",
            "properties",
            "required",
            "additionalProperties",
            "patternProperties",
            "$ref",
            "$defs",
            "anyOf",
            "oneOf",
            "const",
            "enum",
            "items",
            "format",
            "minimum",
            "maximum",
            "pattern",
        ];
        let mut found = Vec::new();
        keywords(&schema(), &mut found);
        for (keyword, value) in found {
            assert!(known.contains(&keyword.as_str()), "{keyword}: {value}");
            if keyword == "format" {
                assert!(
                    value.as_str().unwrap().starts_with("uint"),
                    "{value} has bounds that nothing checks"
                );
            }
        }
    }

    /// A string type with a rule of its own that the walk does not know would lose its line number.
    #[test]
    fn every_named_string_and_every_pattern_has_a_rule() {
        let schema = schema();
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            if definition["type"] == "string" && definition["enum"].is_null() {
                assert!(named(name, "\u{0}").is_err(), "{name}");
            }
        }
        let mut found = Vec::new();
        keywords(&schema, &mut found);
        for (_, patterns) in found.iter().filter(|(keyword, _)| keyword == "patternProperties") {
            for pattern in patterns.as_object().unwrap().keys() {
                assert!(key(pattern, "\u{0}").is_err(), "{pattern}");
            }
        }
    }

    /// Help in an editor is the descriptions; a key without one has none.
    #[test]
    fn every_key_is_described() {
        let schema = schema();
        let objects = schema["$defs"].as_object().unwrap().iter().chain([]);
        for (name, definition) in objects {
            for (key, property) in definition["properties"].as_object().into_iter().flatten() {
                assert!(property["description"].is_string(), "{name}.{key}");
            }
        }
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["title"], "ccorch rig file");
    }
}
