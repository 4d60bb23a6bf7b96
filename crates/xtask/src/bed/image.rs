//! Builds the system image once, keeps it for all checkouts, imports it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use super::api::Api;
use super::layout::Layout;
use super::packages::{self, Release};
use super::{apt_source, recipe, sweep};
use crate::run::Run;

const ROOT: &str = "rootfs.squashfs";
const METADATA: &str = "metadata.tar";

/// Has the image in the cache; returns its folder and what was done.
pub fn built(layout: &Layout) -> Result<(PathBuf, String)> {
    let hash = recipe::hash();
    let done = layout.images().join(&hash);
    if done.exists() {
        return Ok((done, format!("{hash} is in the cache")));
    }
    let images = layout.images();
    std::fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    // Another checkout may be building the same one: then its result is ours.
    let _lock = lock(&images.join(".lock"))?;
    if done.exists() {
        return Ok((done, format!("{hash} was built by another bed meanwhile")));
    }
    let work = images.join(".building");
    clear(&work)?;
    std::fs::create_dir_all(&work)?;
    build(&work, &hash).with_context(|| format!("cannot build the system image in {}", work.display()))?;
    std::fs::remove_dir_all(work.join("rootfs"))?;
    std::fs::rename(&work, &done)?;
    let size = done.join(ROOT).metadata()?.len() / (1 << 20);
    Ok((done, format!("built {hash}, {size} MiB")))
}

/// Has it under its alias in the project; says what was done.
pub fn imported(api: &Api, folder: &Path) -> Result<String> {
    let hash = recipe::hash();
    let project = &api.project;
    let alias = api.get(&format!("/1.0/images/aliases/{}?project={project}", recipe::ALIAS))?;
    if let Some(target) = alias.as_ref().and_then(|alias| alias["target"].as_str()) {
        let path = format!("/1.0/images/{target}?project={project}");
        let image = api.get(&path)?.unwrap_or_default();
        if image["properties"]["recipe"] == hash.as_str() {
            return Ok(format!("{} is there", recipe::ALIAS));
        }
        api.delete(&path)?;
    }
    let (metadata, root) = (folder.join(METADATA), folder.join(ROOT));
    let arguments = ["image", "import", "--project", project, "--alias", recipe::ALIAS];
    api.incus(&arguments).arg(metadata).arg(root).run()?;
    Ok(format!("imported as {}", recipe::ALIAS))
}

/// Removes all built images; waits for a build that is going on.
pub fn purge(layout: &Layout) -> Result<()> {
    let images = layout.images();
    if images.exists() {
        let _lock = lock(&images.join(".lock"))?;
        clear(&images)?;
    }
    Ok(())
}

/// Waits for an exclusive lock; it ends with the file.
pub fn lock(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Removes a folder with all that is in it. What an interrupted build left mounted in it is not its
/// own: that is unmounted first, never emptied.
pub fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        sweep::mounts(folder)?;
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

fn build(work: &Path, hash: &str) -> Result<()> {
    let root = work.join("rootfs");
    bootstrap(&root, recipe::PACKAGES)?;
    for path in recipe::REMOVED {
        match std::fs::remove_file(root.join(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    for (path, text) in recipe::FILES {
        write(&root.join(path), text)?;
    }
    for (verb, units) in [("enable", recipe::ENABLED), ("mask", recipe::MASKED)] {
        units
            .iter()
            .fold(Run::new(&["chroot"]).arg(&root).arg("systemctl").arg(verb), |run, unit| run.arg(unit))
            .run()?;
    }
    let image = Run::new(&["mksquashfs"]).arg(&root).arg(work.join(ROOT));
    let fast =
        ["-comp", "zstd", "-Xcompression-level", "3", "-noappend", "-no-xattrs", "-no-progress", "-quiet"];
    fast.iter().fold(image, |run, word| run.arg(word)).run()?;
    let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    write(&work.join("metadata.yaml"), &recipe::metadata(hash, created))?;
    for (_, name, text) in recipe::TEMPLATES {
        write(&work.join("templates").join(name), text)?;
    }
    Run::new(&["tar", "--create", "--file"])
        .arg(work.join(METADATA))
        .arg("--directory")
        .arg(work)
        .arg("metadata.yaml")
        .arg("templates")
        .run()
}

/// Unpacks and configures these packages of the image's suite in a folder.
pub fn bootstrap(root: &Path, packages: &[&str]) -> Result<()> {
    let mut run = Run::new(&["mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory"])
        .arg(format!("--include={}", packages.join(",")))
        .arg("--aptopt=Acquire::Languages \"none\"");
    for path in recipe::LEFT_OUT {
        run = run.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    run = run.arg(recipe::SUITE).arg(root);
    let release = packages::os_release()?;
    mirrors(&release, &apt_source::of_this_machine()?).iter().fold(run, |run, line| run.arg(line)).run()
}

/// On a Debian the mirrors it uses itself: they have the other releases too.
/// Elsewhere none, and mmdebstrap takes its own choice for the suite.
fn mirrors(release: &Release, sources: &[apt_source::AptSource]) -> Vec<String> {
    if release.id != "debian" {
        return Vec::new();
    }
    let of = |end: &str| apt_source::serving(sources, &format!("{}{end}", release.codename));
    let line = |(from, end): (&str, &str)| Some(format!("deb {} {}{end} main", of(from)?.uri, recipe::SUITE));
    [("", ""), ("", "-updates"), ("-security", "-security")].into_iter().filter_map(line).collect()
}

/// Writes a file with its folders.
pub fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_comes_from_the_machines_own_mirrors() {
        let source = |uri: &str, suites: &[&str]| apt_source::AptSource {
            uri: uri.into(),
            suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
            signed_by: None,
        };
        let release = |id: &str, codename: &str| Release { id: id.into(), codename: codename.into() };
        let sources = [
            source("http://m.test/debian", &["trixie", "trixie-updates"]),
            source("http://m.test/s", &["trixie-security"]),
        ];
        let expected = [
            "deb http://m.test/debian bookworm main",
            "deb http://m.test/debian bookworm-updates main",
            "deb http://m.test/s bookworm-security main",
        ];
        assert_eq!(mirrors(&release("debian", "trixie"), &sources), expected);
        assert!(mirrors(&release("ubuntu", "noble"), &sources).is_empty());
    }
}
