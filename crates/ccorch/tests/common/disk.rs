//! A disk that a test fills, or has mounted otherwise. Needs root.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own; gone with its value.
pub struct Disk(PathBuf);

impl Disk {
    /// An empty one.
    pub fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=512k,mode=0755", "tmpfs", at.to_str().unwrap()]);
        Self(at.into())
    }

    /// One in place of a folder, with all that is in it.
    pub fn in_place_of(folder: &Path) -> Self {
        let was = folder.with_extension("was");
        fs::rename(folder, &was).unwrap();
        let disk = Self::mount(folder);
        run("cp", &["-a", "--", &format!("{}/.", was.display()), folder.to_str().unwrap()]);
        disk
    }

    /// In another way, as `mount -o` has it.
    pub fn remount(&self, how: &str) {
        run("mount", &["-o", &format!("remount,{how}"), self.0.to_str().unwrap()]);
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Takes that away again.
    pub fn relieve(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs a program that has to go well.
pub fn run(program: &str, args: &[&str]) {
    assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
}
