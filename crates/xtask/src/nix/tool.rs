//! Runs Nix: the machine's own, or the one in the chroot.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::chroot;
use super::files::Tree;
use crate::run::Run;

/// Binds what Nix reads and becomes the program; the mounts end with it. Arguments: root, then pairs of folder and
/// mount point up to `--`, then the command.
const ENTER: &str = r#"
root=$1; shift
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
while [ "$1" != -- ]; do
    mount --bind "$1" "$root/$2"
    shift 2
done
shift
exec chroot "$root" "$@"
"#;

const CONFIG: &str = "experimental-features = nix-command flakes\nsandbox = false\nbuild-users-group =\nsubstituters =\nwarn-dirty = false";

/// Trees that may be at hand.
#[derive(Debug, Default)]
pub struct Inputs {
    /// A checkout of nixpkgs.
    pub nixpkgs: Option<PathBuf>,
    /// Its `lib` folder alone.
    pub nixpkgs_lib: Option<PathBuf>,
    /// A checkout of sops-nix.
    pub sops_nix: Option<PathBuf>,
}

/// The lib of nixpkgs, as far as it serves.
pub enum Lib {
    /// Its folder, as Nix sees it.
    Found(String),
    /// There is none, or it is too old; in words.
    Missing(String),
}

/// A Nix that works.
pub struct Nix {
    root: Option<PathBuf>,
    binds: Vec<(PathBuf, &'static str)>,
    /// The project, as Nix sees it.
    pub src: PathBuf,
    /// The inputs, as Nix sees them.
    pub inputs: Inputs,
}

impl Nix {
    /// The machine's own, else one in the cache.
    pub fn find(cache: &Path, tree: &Tree, inputs: Inputs) -> Result<Self> {
        if Run::new(&["nix-instantiate", "--version"]).output().is_ok_and(|out| out.status.success()) {
            return Ok(Self { root: None, binds: Vec::new(), src: tree.path().to_owned(), inputs });
        }
        let root = chroot::built(cache)?;
        let mut binds = vec![(tree.path().to_owned(), "src")];
        let mut bind = |path: Option<PathBuf>, point: &'static str| {
            let path = path?;
            binds.push((path, point));
            Some(Path::new("/").join(point))
        };
        let inputs = Inputs {
            nixpkgs: bind(inputs.nixpkgs, "nixpkgs"),
            nixpkgs_lib: bind(inputs.nixpkgs_lib, "nixpkgs-lib"),
            sops_nix: bind(inputs.sops_nix, "sops-nix"),
        };
        Ok(Self { root: Some(root), binds, src: "/src".into(), inputs })
    }

    /// Which Nix it is, and what it is given.
    pub fn about(&self) -> Result<String> {
        let version = self.run(&["nix-instantiate", "--version"]).read()?;
        let place =
            self.root.as_ref().map_or_else(|| "of this machine".into(), |r| format!("in {}", r.display()));
        Ok(format!("{version}, {place}"))
    }

    /// A command of Nix; paths in it are as Nix sees them.
    pub fn run<S: AsRef<str>>(&self, argv: &[S]) -> Run<'static> {
        let run = match &self.root {
            None => argv.iter().fold(Run::new::<&str>(&[]), |run, word| run.arg(word.as_ref())),
            Some(root) => {
                let enter = Run::new(&["unshare", "--mount", "sh", "-euc", ENTER, "enter"]).arg(root);
                let bound = self.binds.iter().fold(enter, |run, (from, to)| run.arg(from).arg(to));
                let inside = ["--", "env", "-i", "HOME=/root", "PATH=/usr/bin:/bin", "LANG=C.UTF-8"];
                let run = inside.iter().fold(bound, |run, word| run.arg(word));
                argv.iter().fold(run.arg(format!("NIX_CONFIG={CONFIG}")), |run, word| run.arg(word.as_ref()))
            }
        };
        run.env("NIX_CONFIG", CONFIG)
    }

    /// The trees at hand, as arguments of an expression that takes what there is.
    pub fn trees(&self) -> Vec<(&'static str, String)> {
        let Inputs { nixpkgs, nixpkgs_lib, sops_nix } = &self.inputs;
        let mut trees = vec![("nixpkgs", nixpkgs), ("nixpkgsLib", nixpkgs_lib), ("sopsNix", sops_nix)];
        // A lib alone says less than all of nixpkgs.
        if nixpkgs.is_some() {
            trees.remove(1);
        }
        trees
            .into_iter()
            .filter_map(|(name, path)| Some((name, path.as_ref()?.display().to_string())))
            .collect()
    }

    /// The lib that is at hand: one of its own before that of a whole nixpkgs.
    pub fn lib(&self) -> Result<Lib> {
        let own = self.inputs.nixpkgs.as_ref().map(|nixpkgs| nixpkgs.join("lib"));
        let Some(lib) = self.inputs.nixpkgs_lib.clone().or(own) else {
            return Ok(Lib::Missing("neither NIXPKGS nor NIXPKGS_LIB names a folder".into()));
        };
        let lib = lib.display().to_string();
        let about = self.eval("nixos/tests/suits.nix", &[("nixpkgsLib", lib.clone())])?;
        if about["suits"] == true {
            return Ok(Lib::Found(lib));
        }
        let version = about["version"].as_str().unwrap_or("?");
        Ok(Lib::Missing(format!("the lib of nixpkgs {version} is too old; NIXPKGS_LIB may name another")))
    }

    /// A file of the project, as Nix sees it.
    pub fn file(&self, relative: &str) -> String {
        self.src.join(relative).display().to_string()
    }

    /// Evaluates a file of the project, called with `arguments` (name and expression), to JSON.
    pub fn eval(&self, relative: &str, arguments: &[(&str, String)]) -> Result<serde_json::Value> {
        let file = self.file(relative);
        let mut argv = vec!["nix-instantiate", "--eval", "--strict", "--json", &file];
        for (name, expression) in arguments {
            argv.extend(["--arg", name, expression]);
        }
        let text = self.run(&argv).read()?;
        serde_json::from_str(&text).with_context(|| format!("{relative} does not evaluate to JSON: {text}"))
    }
}

/// A string as a Nix expression.
pub fn string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_string_is_quoted_for_nix() {
        assert_eq!(super::string(r#"a"${b}\"#), r#""a\"\${b}\\""#);
    }
}
