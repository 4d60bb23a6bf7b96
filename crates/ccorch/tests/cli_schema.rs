//! `ccorch schema`, and the examples it and `ccorch check` have to take.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::PathBuf;

use common::Env;

fn examples() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    files
}

#[test]
fn every_example_passes() {
    let env = Env::new();
    for file in examples() {
        let ran = env.run(&["check", "--json", file.to_str().unwrap()]);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(ran.status, Some(0), "{}", ran.snapshot());
        // The keys and secrets an example names are the reader's own; nothing else may be doubtful in it.
        for finding in report["findings"].as_array().unwrap() {
            assert!(finding["message"].as_str().unwrap().starts_with("no file "), "{finding}");
        }
    }
}

#[test]
fn the_schema_takes_the_examples_and_no_unknown_key() {
    let ran = Env::new().run(&["schema"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let schema: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    // A validator that knows nothing of ccorch.
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("rig.json", schema).unwrap();
    let id = compiler.compile("rig.json", &mut schemas).unwrap();
    for file in examples() {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# yaml-language-server: $schema="), "{}", file.display());
        let rig = ccorch_core::rig::parse(&text).unwrap();
        let mut value = serde_json::to_value(&rig).unwrap();
        schemas.validate(&value, id).map_err(|e| e.to_string()).unwrap();
        for path in ["/workspace", "/phases/0", "/loops/0", "/lease", "/hosts/0", "/cutover", ""] {
            let mut wrong = value.clone();
            let at = match path.strip_suffix("/0").filter(|p| *p != "/phases") {
                Some(map) => wrong.pointer_mut(map).unwrap().as_object_mut().unwrap().values_mut().next(),
                None => wrong.pointer_mut(path),
            };
            at.unwrap().as_object_mut().unwrap().insert("colour".into(), "red".into());
            assert!(schemas.validate(&wrong, id).is_err(), "{path} takes an unknown key");
        }
        value["loops"]["Not A Name"] = value["loops"].as_object().unwrap().values().next().unwrap().clone();
        assert!(schemas.validate(&value, id).is_err(), "a loop may have any name");
    }
}
