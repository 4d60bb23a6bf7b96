//! A local QEMU machine of the rig: what is there, and the steps that `ccorch_core::qemu` decides on.

mod autostart;
mod power;

use std::fs;
use std::path::absolute;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ccorch_core::names::HostName;
use ccorch_core::provision::PublicKey;
use ccorch_core::qemu::{Facts, Files, Made, Refusal, Started, Step, Wanted, decide, seed};
use ccorch_core::rig;
use ccorch_io::qemu::{self, Qmp, QmpError};
use ccorch_io::{durable, qemu::seed as seed_disk};
use uuid::Uuid;

use crate::command::provision::progress::Progress;
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::reach;

/// QEMU answers at once; later than this it hangs.
const ANSWER: Duration = Duration::from_secs(10);

/// One machine of the rig.
#[derive(Debug)]
pub struct Machine<'a> {
    loaded: &'a LoadedRig,
    name: HostName,
    files: Files,
    wanted: Wanted,
}

impl<'a> Machine<'a> {
    /// The machine that a host's entry asks for.
    pub fn of(loaded: &'a LoadedRig, name: &HostName) -> Result<Self> {
        let host = reach::entry(loaded, name)?;
        let problem = |text: String, hint: String| Problem::new(Kind::Rig, text).hint(hint);
        let (Some(rig::Provider::Qemu), Some(settings)) = (host.provider, host.qemu.as_ref()) else {
            return Err(problem(
                format!("host `{name}` is no local virtual machine: it needs `provider: qemu` and `qemu`"),
                format!("add `hosts.{name}.qemu` with image, ssh_port and authorized_key"),
            )
            .into());
        };
        let key = operator_key(loaded, settings)?;
        let image = absolute(loaded.resolve(&settings.image)).context("find the working directory")?;
        let image = image.to_string_lossy().into_owned();
        let wanted = Wanted::from(settings, host.size.as_ref(), image, key).map_err(|bad| {
            problem(format!("host `{name}`: {bad}"), format!("correct `hosts.{name}` in the rig file"))
        })?;
        let dir = loaded.operator()?.dir().join("qemu").join(name.as_str());
        let files = Files { dir: absolute(dir).context("find the working directory")? };
        // sun_path of unix(7), with its final zero.
        if files.qmp().as_os_str().len() > 107 {
            let text = format!("{}: too long for a unix socket", files.qmp().display());
            let hint = "set XDG_STATE_HOME to a shorter folder, or shorten the names of rig and host";
            return Err(Problem::new(Kind::Unfit, text).hint(hint).into());
        }
        Ok(Self { loaded, name: name.clone(), files, wanted })
    }

    /// The host's name.
    pub fn name(&self) -> &HostName {
        &self.name
    }

    /// Its loopback port for ssh.
    pub fn ssh_port(&self) -> u16 {
        self.wanted.shape.ssh_port
    }

    /// What it was made from, if it was.
    pub fn made(&self) -> Result<Option<Made>> {
        durable::read_json(&self.files.made())
    }

    /// What it was started with, if it runs.
    pub fn running(&self) -> Result<Option<Started>> {
        match self.qmp()? {
            None => Ok(None),
            Some(_) => durable::read_json(&self.files.started()),
        }
    }

    /// QEMU's run state and what the machine was started with, if it runs.
    pub fn status(&self) -> Result<Option<(String, Started)>> {
        let Some(mut qmp) = self.qmp()? else { return Ok(None) };
        let status = qmp.status(ANSWER)?;
        Ok(durable::read_json(&self.files.started())?.map(|started| (status, started)))
    }

    /// A conversation with its QEMU; `None` when it does not run.
    fn qmp(&self) -> Result<Option<Qmp>> {
        match Qmp::connect(&self.files.qmp(), ANSWER) {
            Ok(qmp) => Ok(Some(qmp)),
            // Closed: it was just ending.
            Err(QmpError::Gone { .. } | QmpError::Closed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What has to be done for it to be as the rig file says.
    pub fn steps(&self) -> Result<Vec<Step>> {
        let facts = Facts {
            made: self.made()?,
            disk: qemu::disk_size(&self.files.disk())?,
            image_disk: qemu::disk_size(self.wanted.image.as_ref())?,
            running: self.running()?,
        };
        Ok(decide(&self.wanted, &facts).map_err(|refusal| self.refused(&refusal))?)
    }

    /// Does one step.
    pub fn perform(&self, step: &Step, progress: &Progress) -> Result<()> {
        match step {
            Step::Create { disk } => self.create(*disk, progress),
            Step::Grow { to, .. } => Ok(qemu::resize(&self.files.disk(), *to)?),
            Step::Start => self.start(progress),
        }
    }

    /// A step in the past tense.
    pub fn told(&self, step: &Step) -> String {
        let shape = self.wanted.shape;
        let gib = |bytes: &u64| format!("{:.1} GiB", *bytes as f64 / f64::from(1 << 30));
        match step {
            Step::Create { disk } => format!("created from image {}, disk {}", self.wanted.image, gib(disk)),
            Step::Grow { from, to } => format!("disk grown from {} to {}", gib(from), gib(to)),
            Step::Start => format!(
                "started with {} processors, {} MiB, ssh on 127.0.0.1:{}",
                shape.cpus, shape.memory_mib, shape.ssh_port
            ),
        }
    }

    fn create(&self, disk: u64, progress: &Progress) -> Result<()> {
        progress.say(format!("creating {} in {}", self.name, self.files.dir.display()));
        durable::create_dir(&self.files.dir, 0o700)?;
        let host_key = qemu::host_key(&self.files.dir)?;
        let made = Made {
            instance_id: format!("{}-{}-{}", self.loaded.rig.rig, self.name, Uuid::new_v4().simple()),
            image: self.wanted.image.clone(),
            key: self.wanted.key.to_string(),
            host_key: host_key.public.to_string(),
        };
        seed_disk::write(&self.files.seed(), &seed(&self.name, &made, &self.wanted.key, &host_key))?;
        qemu::make_disk(self.wanted.image.as_ref(), &self.files.disk(), disk)?;
        durable::replace_json(&self.files.made(), &made, 0o600)
    }

    fn refused(&self, refusal: &Refusal) -> Problem {
        let name = &self.name;
        let text = format!("host `{name}`: {refusal}");
        match refusal {
            Refusal::NoImage(_) => Problem::new(Kind::Rig, text)
                .hint(format!("put a cloud image there, or correct `hosts.{name}.qemu.image`")),
            Refusal::Running(_) => Problem::new(Kind::Conflict, text)
                .hint(format!("stop it with `ccorch vm stop {name}`, then run this again")),
            Refusal::Differs(_) => Problem::new(Kind::Conflict, text).hint(format!(
                "correct the rig file; or, if nothing on the machine is needed, stop it and remove {}",
                self.files.dir.display()
            )),
            Refusal::Shrink { .. } => {
                Problem::new(Kind::Rig, text).hint(format!("correct `hosts.{name}.size.disk`"))
            }
        }
    }
}

fn operator_key(loaded: &LoadedRig, settings: &rig::Qemu) -> Result<PublicKey> {
    let path = loaded.resolve(&settings.authorized_key);
    let problem = |text: String| {
        Problem::new(Kind::Rig, format!("operator's public ssh key {}: {text}", path.display())).hint(
            "make a pair with `ssh-keygen -t ed25519` and name its `.pub` file as `qemu.authorized_key`",
        )
    };
    let text = fs::read_to_string(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => problem("no such file".into()),
        _ => problem(e.to_string()),
    })?;
    Ok(text.parse().map_err(|bad: ccorch_core::provision::BadPublicKey| problem(bad.to_string()))?)
}
