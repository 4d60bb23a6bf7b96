//! One container of the bed, and what a test does with it.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::api::Api;
use super::recipe;
use crate::run::Run;
use crate::wait;

/// First boot takes about three seconds; a loaded machine gets far more.
const BOOT: Duration = Duration::from_secs(120);

/// The last line of output that has arrived whole.
const WHOLE: &str = "ccorch-whole";

/// A container in the bed's project.
#[derive(Debug, Clone)]
pub struct Instance {
    api: Api,
    /// Its name; `NAME.incus` resolves to its address in all others.
    pub name: String,
    /// Whether what changes the machine is printed before it is done.
    announced: bool,
}

impl Instance {
    /// One that exists.
    pub fn new(api: &Api, name: &str) -> Self {
        Self { api: api.clone(), name: name.to_owned(), announced: false }
    }

    /// The same machine; what is done to it by [`Self::restart`], [`Self::stop_force`], [`Self::start`] and
    /// [`Self::does`] is printed before.
    pub fn announced(&self) -> Self {
        Self { announced: true, ..self.clone() }
    }

    /// Creates one from the bed's image and waits until it is ready.
    pub fn launch(api: &Api, name: &str, user_data: Option<&str>, address: Option<Ipv4Addr>) -> Result<Self> {
        let instance = Self::new(api, name);
        let mut run = instance.incus(&["launch", recipe::ALIAS, name]);
        if let Some(address) = address {
            run = run.arg("--device").arg(format!("eth0,ipv4.address={address}"));
        }
        // Through standard input: what is on a command line everybody can read.
        let mut config = json!({});
        if let Some(user_data) = user_data {
            config["user.user-data"] = user_data.into();
        }
        run.stdin(json!({ "config": config }).to_string()).run()?;
        instance.ready()?;
        Ok(instance)
    }

    /// Waits for its address, its sshd, and cloud-init's end.
    pub fn ready(&self) -> Result<()> {
        self.reachable()?;
        let result = wait::until(&format!("cloud-init of {}", self.name), BOOT, || {
            let text = self.read(&["sh", "-c", "cat /run/cloud-init/result.json 2>/dev/null || :"])?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        })?;
        let result: Value = serde_json::from_str(&result).context("cloud-init's result is no JSON")?;
        if result["v1"]["errors"].as_array().is_none_or(|errors| !errors.is_empty()) {
            let log = self.read(&["tail", "-n", "15", "/var/log/cloud-init-output.log"])?;
            bail!("cloud-init of {} had errors: {}\n{log}", self.name, result["v1"]["errors"]);
        }
        Ok(())
    }

    /// Waits for its address and for sshd's greeting there.
    pub fn reachable(&self) -> Result<Ipv4Addr> {
        wait::until(&format!("sshd of {}", self.name), BOOT, || {
            let address = self.address()?;
            Ok(address.filter(|address| greets((*address, 22).into())))
        })
    }

    /// Its IPv4 address, once it has one.
    pub fn address(&self) -> Result<Option<Ipv4Addr>> {
        let state =
            self.api.get(&format!("/1.0/instances/{}/state?project={}", self.name, self.api.project))?;
        let state = state.with_context(|| format!("there is no instance {}", self.name))?;
        let addresses = state["network"]["eth0"]["addresses"].as_array();
        let global = addresses
            .into_iter()
            .flatten()
            .find(|entry| entry["family"] == "inet" && entry["scope"] == "global");
        global
            .and_then(|entry| entry["address"].as_str())
            .map(|text| text.parse().context("no IPv4 address"))
            .transpose()
    }

    /// Runs a command inside as root for its exit status; of what it prints the end may be missing, see [`Self::read`].
    pub fn exec(&self, argv: &[&str]) -> Result<Output> {
        self.exec_run(argv).output()
    }

    /// Runs a command inside as root and returns what it prints; a failure is an error. `incus exec` at times loses the
    /// end of what was printed (seen), so a last line of our own has to arrive; else it is run again: for commands that
    /// bear it.
    pub fn read(&self, argv: &[&str]) -> Result<String> {
        let marked = ["sh", "-c", r#""$@" || exit; echo; echo "$0""#, WHOLE];
        wait::until(&format!("whole output of `{}`", argv.join(" ")), BOOT, || {
            let said = self.exec_run(&[&marked[..], argv].concat()).read();
            let said = said.with_context(|| format!("on instance {}", self.name))?;
            Ok(said.strip_suffix(WHOLE).map(|said| said.trim().to_owned()))
        })
    }

    /// Runs a shell script inside as root, fed through standard input.
    pub fn script(&self, text: &str) -> Result<String> {
        self.exec_run(&["sh", "-eu", "-s"])
            .stdin(text)
            .read()
            .with_context(|| format!("on instance {}", self.name))
    }

    /// Writes a file inside in one piece; missing folders are made, owned by root.
    /// `mode` is octal (`0644`), `owner` as for chown (`loops:loops`).
    pub fn push_file(&self, bytes: &[u8], path: &str, mode: &str, owner: &str) -> Result<()> {
        let write = r#"umask 077; mkdir -p -m 755 "$(dirname "$1")"; cat > "$1.new"; chown "$3" "$1.new"; chmod "$2" "$1.new"; mv "$1.new" "$1""#;
        let run = self.exec_run(&["sh", "-euc", write, "push", path, mode, owner]).stdin(bytes);
        run.run().with_context(|| format!("cannot write {path} on instance {}", self.name))
    }

    /// Shuts it down well and boots it; returns when sshd answers again.
    pub fn restart(&self) -> Result<()> {
        self.visibly(&["restart", "--timeout", "60", &self.name])?;
        self.reachable().map(drop)
    }

    /// Cuts its power.
    pub fn stop_force(&self) -> Result<()> {
        self.visibly(&["stop", "--force", &self.name])
    }

    /// Boots it; returns when sshd answers.
    pub fn start(&self) -> Result<()> {
        self.visibly(&["start", &self.name])?;
        self.reachable().map(drop)
    }

    /// Runs a command inside as root for its effect; a failure is an error.
    pub fn does(&self, argv: &[&str]) -> Result<()> {
        self.visibly(&[&["exec", &self.name, "--"], argv].concat())
    }

    /// The kernel's name for this boot.
    pub fn boot_id(&self) -> Result<String> {
        self.read(&["cat", "/proc/sys/kernel/random/boot_id"])
    }

    /// Removes it, running or not.
    pub fn delete(&self) -> Result<()> {
        self.incus(&["delete", "--force", &self.name]).run()
    }

    /// sshd's public key, read past the network: nothing is trusted on first use.
    /// One line as in `/etc/ssh/ssh_host_ed25519_key.pub`, without its comment.
    pub fn host_key(&self) -> Result<String> {
        let line = self.read(&["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])?;
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        Ok(words.join(" "))
    }

    fn visibly(&self, arguments: &[&str]) -> Result<()> {
        if self.announced {
            println!("\n$ incus {}", arguments.join(" "));
        }
        self.incus(arguments).run().with_context(|| format!("on instance {}", self.name))
    }

    fn incus(&self, arguments: &[&str]) -> Run<'static> {
        self.api.incus(&[&["--project", self.api.project.as_str()], arguments].concat())
    }

    fn exec_run(&self, argv: &[&str]) -> Run<'static> {
        self.incus(&[&["exec", &self.name, "--"], argv].concat())
    }
}

fn greets(address: SocketAddr) -> bool {
    let mut greeting = [0; 4];
    let mut talk = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.read_exact(&mut greeting)
    };
    talk().is_ok() && &greeting == b"SSH-"
}
