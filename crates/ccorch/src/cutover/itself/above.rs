//! Who of this process and those that wait for it has to do with a folder: whoever ends everything that works there ends
//! this process too.

use std::fs;
use std::iter::successors;
use std::path::Path;

use ccorch_io::process::parent;

/// The nearest such process; this one counts as well. One that nobody may look into is passed over.
pub fn at_work(root: &str) -> Option<u32> {
    let root = fs::canonicalize(root).ok()?;
    successors(Some(std::process::id()), |pid| parent(*pid)).find(|pid| works_in(*pid, &root))
}

/// Whether it stands there, runs a program of it or has a file of it open.
fn works_in(pid: u32, root: &Path) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten().map(|file| file.path());
    let mut links = [process.join("cwd"), process.join("exe")].into_iter().chain(files);
    links.any(|link| fs::read_link(link).is_ok_and(|path| path.starts_with(root)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_process_with_a_file_of_a_folder_open_is_at_work_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("workspace");
        fs::create_dir(&root).unwrap();
        let root = root.to_str().unwrap();
        assert_eq!(at_work(root), None);
        let _file = File::create(dir.path().join("workspace/file")).unwrap();
        assert_eq!(at_work(root), Some(std::process::id()));
        assert_eq!(at_work(dir.path().join("nowhere").to_str().unwrap()), None);
    }

    #[test]
    fn those_above_are_looked_at_to_the_first_of_all() {
        let above: Vec<u32> = successors(Some(std::process::id()), |pid| parent(*pid)).collect();
        assert!(above.len() > 1 && parent(*above.last().unwrap()).is_none(), "{above:?}");
    }
}
