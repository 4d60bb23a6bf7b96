//! `provider: incus`: server, project, image, instance, address; each looked at before anything is changed.

use std::fs;

use anyhow::Result;
use ccorch_core::provision::{Endpoint, Facts, Image, Profile, PublicKey, Refusal, Step, Wanted, decide};
use ccorch_core::rig;
use ccorch_io::incus::{Auth, Client, Credential, Failure, Login, Power, Trust};

use super::Args;
use super::outcome::Outcome;
use super::progress::Progress;
use super::ready;
use crate::context::LoadedRig;
use crate::error::{Kind, Problem};
use crate::reach;

/// Makes the instance and waits until it is ready.
pub fn provision(loaded: &LoadedRig, args: &Args) -> Result<Outcome> {
    let (name, progress) = (&args.host, Progress::new(args.timeout));
    let host = reach::entry(loaded, name)?;
    let settings = host.incus.as_ref().ok_or_else(|| {
        Problem::new(Kind::Rig, format!("host `{name}`: `provider: incus` needs the settings `incus`"))
            .hint(format!("add `hosts.{name}.incus` with url, certificate, key, image and authorized_key"))
    })?;
    let key = operator_key(loaded, settings)?;
    let client = client(loaded, settings)?;
    progress.say(format!("asking {}", client.server()));
    trusted(&client, settings)?;
    project(&client)?;
    let image = image(&client, &settings.image)?;
    progress.say(format!(
        "project {}, image {} ({:.12})",
        client.project(),
        settings.image,
        image.fingerprint
    ));
    let profiles = profiles(&client, settings)?;
    let facts = Facts {
        rig: &loaded.rig.rig,
        host: name,
        settings,
        size: host.size.as_ref(),
        key: &key,
        image: &image,
        profiles: &profiles,
    };
    let wanted = Wanted::from(facts).map_err(|unfit| {
        Problem::new(Kind::Rig, format!("host `{name}`: {unfit}"))
            .hint(format!("correct `hosts.{name}` in the rig file"))
    })?;
    if !args.dry_run {
        client.settle(name.as_str(), progress.left())?;
    }
    let found = client.instance(name.as_str())?;
    let steps =
        decide(&wanted, found.as_ref()).map_err(|refusal| refused(&client, name.as_str(), &refusal))?;
    let mut changes = Vec::new();
    for step in &steps {
        if !args.dry_run {
            perform(&client, &wanted, step, &progress)?;
        }
        changes.push(told(&wanted, settings, step));
    }
    let machine = match args.dry_run {
        true => None,
        false => Some(ready::wait(&client, loaded, name, &progress, &mut changes)?),
    };
    Ok(Outcome { host: name.clone(), dry_run: args.dry_run, changes, machine })
}

fn operator_key(loaded: &LoadedRig, settings: &rig::Incus) -> Result<PublicKey> {
    let path = loaded.resolve(&settings.authorized_key);
    let problem = |text: String| {
        Problem::new(Kind::Rig, format!("operator's public ssh key {}: {text}", path.display())).hint(
            "make a pair with `ssh-keygen -t ed25519` and name its `.pub` file as `incus.authorized_key`",
        )
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(problem("no such file".into()).into());
        }
        Err(e) => return Err(problem(e.to_string()).into()),
    };
    Ok(text.parse().map_err(|bad: ccorch_core::provision::BadPublicKey| problem(bad.to_string()))?)
}

fn client(loaded: &LoadedRig, settings: &rig::Incus) -> Result<Client> {
    let rig_problem = |key: &str, text: String| {
        Problem::new(Kind::Rig, text)
            .hint(format!("correct `incus.{key}` of the host in {}", loaded.file.display()))
    };
    let endpoint: Endpoint = settings
        .url
        .parse()
        .map_err(|bad: ccorch_core::provision::BadEndpoint| rig_problem("url", bad.to_string()))?;
    let login = match endpoint {
        Endpoint::Unix(path) => Login::Unix(path),
        Endpoint::Https(url) => {
            let trust = match settings.fingerprint.as_deref().map(str::parse) {
                None => Trust::System,
                Some(Ok(fingerprint)) => Trust::Fingerprint(fingerprint),
                Some(Err(bad)) => {
                    let bad: ccorch_core::provision::BadFingerprint = bad;
                    return Err(rig_problem("fingerprint", bad.to_string()).into());
                }
            };
            let credential =
                Credential::load(&loaded.resolve(&settings.certificate), &loaded.resolve(&settings.key))?;
            Login::Https(url, credential, trust)
        }
    };
    Ok(Client::new(login, &settings.project)?)
}

fn trusted(client: &Client, settings: &rig::Incus) -> Result<()> {
    if client.server_info()?.auth == Auth::Trusted {
        return Ok(());
    }
    let certificate = &settings.certificate;
    let text = format!("Incus server {} does not know the client certificate {certificate}", client.server());
    Err(Problem::new(Kind::Identity, text)
        .hint(format!("on the server: `incus config trust add-certificate {certificate}`"))
        .into())
}

/// Says which projects there are when it is not there; a restricted certificate is told "forbidden" instead.
fn project(client: &Client) -> Result<()> {
    match client.project_exists() {
        Ok(true) => return Ok(()),
        Err(error) if !matches!(error.failure, Failure::Forbidden(_)) => return Err(error.into()),
        Ok(false) | Err(_) => {}
    }
    let known = client.projects()?.join(", ");
    let text = format!(
        "Incus server {} has no project `{}` for this certificate",
        client.server(),
        client.project()
    );
    Err(Problem::new(Kind::Rig, text).hint(format!("the projects it may use: {known}")).into())
}

fn image(client: &Client, alias: &str) -> Result<Image> {
    if let Some(image) = client.image(alias)? {
        return Ok(image);
    }
    let known = client.image_aliases()?;
    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
    let text = format!(
        "Incus server {}, project `{}`: no image with alias `{alias}`",
        client.server(),
        client.project()
    );
    Err(Problem::new(Kind::Rig, text).hint(format!("the aliases there are: {known}")).into())
}

fn profiles(client: &Client, settings: &rig::Incus) -> Result<Vec<(String, Profile)>> {
    let default = ["default".to_owned()];
    let names = if settings.profiles.is_empty() { &default[..] } else { &settings.profiles };
    let mut all = Vec::new();
    for name in names {
        let profile = client.profile(name)?.ok_or_else(|| {
            let text = format!(
                "Incus server {}, project `{}`: no profile `{name}`",
                client.server(),
                client.project()
            );
            Problem::new(Kind::Rig, text).hint("correct `incus.profiles` of the host in the rig file")
        })?;
        all.push((name.clone(), profile));
    }
    Ok(all)
}

fn refused(client: &Client, name: &str, refusal: &Refusal) -> Problem {
    let text = format!(
        "Incus server {}, project `{}`, instance `{name}`: {refusal}",
        client.server(),
        client.project()
    );
    match refusal {
        Refusal::Taken { .. } => Problem::new(Kind::Conflict, text)
            .hint("give the host another name in the rig file, or remove that instance if nobody needs it"),
        Refusal::Differs(_) => Problem::new(Kind::Conflict, text).hint(format!(
            "correct the rig file, or delete the instance if nothing on it is needed (`incus delete --force {name}`) and run this again"
        )),
        Refusal::Status(_) => {
            Problem::new(Kind::Unfit, text).hint(format!("see `incus info --show-log {name}` on the server"))
        }
    }
}

fn perform(client: &Client, wanted: &Wanted, step: &Step, progress: &Progress) -> Result<()> {
    let (name, left) = (&wanted.new.name, progress.left());
    match step {
        Step::Create => {
            progress.say(format!("creating {name}"));
            client.create(&wanted.new, left)?;
        }
        Step::Change { config, devices, .. } => {
            progress.say(format!("changing {name}"));
            client.change(name, config, devices, left)?;
        }
        Step::Start => {
            progress.say(format!("starting {name}"));
            client.power(name, Power::Start, left)?;
        }
        Step::Unfreeze => {
            progress.say(format!("unfreezing {name}"));
            client.power(name, Power::Unfreeze, left)?;
        }
    }
    Ok(())
}

/// A step in the past tense.
fn told(wanted: &Wanted, settings: &rig::Incus, step: &Step) -> String {
    match step {
        Step::Create => {
            let limits = wanted.new.config.iter().filter(|(key, _)| key.starts_with("limits."));
            let disks =
                wanted.new.devices.iter().filter_map(|(name, device)| Some((name, device.get("size")?)));
            let sizes: String = limits.chain(disks).map(|(key, value)| format!(", {key} {value}")).collect();
            format!(
                "created from image {}, profiles {}{sizes}",
                settings.image,
                wanted.new.profiles.join(" ")
            )
        }
        Step::Change { changes, .. } => {
            let all: Vec<String> = changes.iter().map(ToString::to_string).collect();
            format!("changed: {}", all.join("; "))
        }
        Step::Start => "started".into(),
        Step::Unfreeze => "unfrozen".into(),
    }
}
