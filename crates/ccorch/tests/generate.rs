//! What a package brings beside the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn pages_and_completions_are_for_people() {
    let names = |folder: &Path| -> BTreeSet<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(folder).unwrap().map(name).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    // Twice: a folder that is there is no hindrance.
    for _ in 0..2 {
        let status =
            Command::new(env!("CARGO_BIN_EXE_ccorch")).arg("generate").arg(folder.path()).status().unwrap();
        assert!(status.success());
    }
    let man = names(&folder.path().join("man"));
    assert!(man.contains("ccorch.1") && man.contains("ccorch-cutover.1"), "{man:?}");
    assert!(!man.iter().any(|name| name.contains("loop-exec") || name.contains("generate")), "{man:?}");
    let completions = names(&folder.path().join("completions"));
    assert_eq!(completions, ["_ccorch", "ccorch.bash", "ccorch.fish"].map(String::from).into());
    let page = fs::read_to_string(folder.path().join("man/ccorch-check.1")).unwrap();
    assert!(page.contains("Check the rig file"), "{page}");
}
