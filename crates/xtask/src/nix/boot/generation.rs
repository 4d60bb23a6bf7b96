//! A machine that the module makes, as `nixos/tests/generation.nix` has it, laid out as files in a Nix store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::run::Run;

/// File names and their texts.
pub type Texts = BTreeMap<String, String>;

/// Where NixOS has the programs of every system.
pub const SYSTEM_PATH: &str = "/nix/store/00000000000000000000000000000000-system-path";
/// What the package's wrapper adds to the path.
pub const RUNTIME: &str = "/nix/store/00000000000000000000000000000000-runtime-inputs";
/// Where a login finds programs.
const LOGIN_PATH: &str = "/run/wrappers/bin:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin";
const STORE: &str = "/nix/store/";

/// One test of whole machines.
#[derive(Debug, Deserialize)]
pub struct Test {
    /// What evaluated it.
    pub how: String,
    /// Its machines by node.
    pub machines: BTreeMap<String, Machine>,
    /// What NixOS's test driver would execute.
    pub script: String,
}

/// One machine with the configurations it can be switched to.
#[derive(Debug, Deserialize)]
pub struct Machine {
    #[serde(flatten)]
    base: Generation,
    specialisations: BTreeMap<String, Generation>,
}

/// One configuration.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generation {
    drop_ins: Texts,
    units: Texts,
    wanted_by: BTreeMap<String, Vec<String>>,
    scripts: Texts,
    rig: Value,
    host: String,
    known_hosts: String,
    keys: BTreeMap<String, Key>,
    files: Texts,
    users: Vec<String>,
    ssh: String,
    sshd: String,
    authorized: BTreeMap<String, Vec<String>>,
    tmpfiles: Vec<String>,
    package: String,
    programs: BTreeSet<String>,
    agents: Vec<String>,
}

/// A file below `/etc` that holds the private key of the tests.
#[derive(Debug, Deserialize)]
pub struct Key {
    /// As for chmod.
    pub mode: String,
    /// Whose it is.
    pub user: String,
}

/// What cargo built in place of what Nix would have.
#[derive(Debug)]
pub struct Programs {
    /// The program.
    pub ccorch: PathBuf,
    /// The stand-in for an agent.
    pub agent: PathBuf,
}

impl Machine {
    /// The package's store path.
    pub fn package(&self) -> &str {
        &self.base.package
    }

    /// Other programs on the system's path, as Debian names the packages.
    pub fn programs(&self) -> String {
        self.base.programs.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Files below `/etc` that are the private key.
    pub fn keys(&self) -> impl Iterator<Item = (&String, &Key)> {
        self.base.keys.iter()
    }

    /// People that it has.
    pub fn users(&self) -> &[String] {
        &self.base.users
    }

    /// Public keys by the user whom they let in.
    pub fn authorized(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.base.authorized.iter()
    }

    /// Whether its ssh server proves itself by the key of the tests.
    pub fn has_key_as_host(&self) -> bool {
        self.base.sshd.contains("HostKey ")
    }

    /// Lays the machine out below `root`; the path of its system there, and the store paths that are not in it, each
    /// with those of Debian's packages that have its programs.
    pub fn lay_out(
        &self,
        name: &str,
        packaged: &Texts,
        programs: &Programs,
        root: &Path,
    ) -> Result<(String, BTreeMap<String, &'static str>)> {
        let base = &self.base;
        let system = format!("{STORE}00000000000000000000000000000000-nixos-system-{name}");
        base.write(&system, packaged, programs, root)?;
        for (label, special) in &self.specialisations {
            let other = format!("{system}-{label}");
            special.write(&other, packaged, programs, root)?;
            link(root, &format!("{system}/specialisation/{label}"), &other)?;
        }
        let wrapper = format!(
            "#!/bin/bash -e\nexport PATH=\"${{PATH:+$PATH:}}{RUNTIME}/bin\"\nexec -a \"$0\" {}/bin/.ccorch-wrapped \"$@\"\n",
            base.package
        );
        put(root, &format!("{}/bin/ccorch", base.package), wrapper.as_bytes(), 0o755)?;
        let program = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
        put(root, &format!("{}/bin/.ccorch-wrapped", base.package), &program(&programs.ccorch)?, 0o755)?;
        for agent in &base.agents {
            put(root, &format!("{agent}/bin/claude"), &program(&programs.agent)?, 0o755)?;
        }
        for bin in base.agents.iter().chain([&base.package]) {
            let name = if *bin == base.package { "ccorch" } else { "claude" };
            link(root, &format!("{SYSTEM_PATH}/bin/{name}"), &format!("{bin}/bin/{name}"))?;
        }
        let named = self.specialisations.values().chain([base]).flat_map(Generation::store_paths);
        let others = named.filter(|path| below(root, path).symlink_metadata().is_err());
        Ok((system, others.map(|path| (debian(&path), path)).map(|(of, path)| (path, of)).collect()))
    }
}

impl Generation {
    fn write(&self, system: &str, packaged: &Texts, programs: &Programs, root: &Path) -> Result<()> {
        let etc = |path: &str, text: &str| put(root, &format!("{system}/etc/{path}"), text.as_bytes(), 0o644);
        for (name, text) in packaged.iter().chain(&self.units) {
            etc(&format!("systemd/system/{name}"), text)?;
        }
        for (name, text) in &self.drop_ins {
            ensure!(packaged.contains_key(name), "a drop-in for {name}, which the package does not have");
            etc(&format!("systemd/system/{name}.d/overrides.conf"), text)?;
        }
        for (name, targets) in &self.wanted_by {
            for target in targets {
                let wants = format!("{system}/etc/systemd/system/{target}.wants/{name}");
                link(root, &wants, &format!("../{name}"))?;
            }
        }
        etc("ccorch/rig.json", &format!("{:#}\n", self.rig))?;
        etc("ccorch/host", &self.host)?;
        etc("ccorch/known_hosts", &self.known_hosts)?;
        for (path, text) in &self.files {
            etc(path, text)?;
        }
        etc("ssh/ssh_config.d/00-nixos.conf", &self.ssh)?;
        etc("ssh/sshd_config.d/00-nixos.conf", &format!("SetEnv PATH={LOGIN_PATH}\n{}\n", self.sshd))?;
        etc("tmpfiles.d/00-nixos.conf", &format!("{}\n", self.tmpfiles.join("\n")))?;
        for (path, text) in &self.scripts {
            put(root, path, format!("#!/bin/bash\nset -e\n{text}").as_bytes(), 0o755)?;
        }
        let switch = include_bytes!("switch.py");
        put(root, &format!("{system}/bin/switch-to-configuration"), switch, 0o755)?;
        link(root, &format!("{system}/sw"), SYSTEM_PATH)?;
        // What the package would be built with: the program judges the rig it is going to read.
        Run::new(&[&programs.ccorch])
            .arg("check")
            .arg(below(root, &format!("{system}/etc/ccorch/rig.json")))
            .run()
            .context("the rig is not right, so NixOS would not build this machine")
    }

    /// Every store path that a rendered text names, without what lies in it.
    fn store_paths(&self) -> BTreeSet<String> {
        let texts = self.drop_ins.values().chain(self.units.values()).chain(self.scripts.values());
        texts.flat_map(|text| store_paths(text)).collect()
    }
}

/// Debian's packages with the programs of a package of nixpkgs. Of one that is not known here there are none: a script
/// finds what its unit has on its path, and no more.
fn debian(path: &str) -> &'static str {
    let name = path.trim_start_matches(STORE).split_once('-').map_or("", |(_, name)| name);
    let versioned = |(at, _): &(usize, &str)| name[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    let end = name.match_indices('-').find(versioned).map_or(name.len(), |(at, _)| at);
    match &name[..end] {
        "bash" => "bash",
        "coreutils" => "coreutils",
        "findutils" => "findutils",
        "git" => "git",
        "gnugrep" => "grep",
        "gnused" => "sed",
        "jq" => "jq",
        "openssh" => "openssh-client",
        "python3" => "python3-minimal",
        "rsync" => "rsync",
        "systemd" => "systemd",
        "util-linux" => "util-linux",
        _ => "",
    }
}

fn store_paths(text: &str) -> impl Iterator<Item = String> {
    let named = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    text.match_indices(STORE).map(move |(at, _)| {
        let name = &text[at + STORE.len()..];
        let end = name.find(|c| !named(c)).unwrap_or(name.len());
        format!("{STORE}{}", &name[..end])
    })
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn put(root: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let file = below(root, path);
    let write = || {
        fs::create_dir_all(file.parent().unwrap_or(root))?;
        fs::write(&file, bytes)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

fn link(root: &Path, path: &str, target: &str) -> Result<()> {
    let file = below(root, path);
    fs::create_dir_all(file.parent().unwrap_or(root))?;
    symlink(target, &file).with_context(|| format!("cannot link {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_paths_end_where_their_name_does() {
        let text = "Environment=\"PATH=/nix/store/abc-coreutils-8.31/bin:/nix/store/x-y/sbin\"";
        assert_eq!(
            store_paths(text).collect::<Vec<_>>(),
            ["/nix/store/abc-coreutils-8.31", "/nix/store/x-y"]
        );
    }

    #[test]
    fn a_store_path_stands_for_one_package() {
        assert_eq!(debian("/nix/store/abc-coreutils-8.31"), "coreutils");
        assert_eq!(debian("/nix/store/abc-util-linux-2.36-bin"), "util-linux");
        assert_eq!(debian("/nix/store/abc-gnugrep"), "grep");
        assert_eq!(debian("/nix/store/abc-unit-test-home.service"), "");
        assert_eq!(debian("/nix/store/nothing"), "");
    }
}
