//! The test bed's Incus server, and a host that a test provisions on it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use ccorch_core::provision::{
    Devices, HOST_MARK, NewInstance, RIG_MARK, Settings, Source, USER_DATA, user_data,
};
use ccorch_core::rig::InstanceType;
use ccorch_io::incus::{Client, Credential, Login, Power, Trust};
use serde::Deserialize;
use serde_json::Value;

use crate::provision_support::Place;

/// Longer than anything here takes.
pub const MINUTE: Duration = Duration::from_secs(60);

/// What `cargo xtask testbed up` writes down about the bed.
#[derive(Deserialize)]
pub struct Bed {
    pub url: String,
    pub fingerprint: String,
    pub project: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub image: String,
    pub incus_dir: PathBuf,
}

impl Bed {
    pub fn get() -> Self {
        let Some(path) = std::env::var_os("CCORCH_TESTBED") else {
            panic!("CCORCH_TESTBED does not name a test bed: run `cargo xtask test`");
        };
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    pub fn client(&self) -> Client {
        let credential = Credential::load(&self.certificate, &self.key).unwrap();
        let trust = Trust::Fingerprint(self.fingerprint.parse().unwrap());
        Client::new(Login::Https(self.url.clone(), credential, trust), &self.project).unwrap()
    }
}

/// A host that the test provisions, and that is gone after it.
pub struct Host {
    pub place: Place,
    pub name: String,
    pub bed: Bed,
}

impl Host {
    /// With a client certificate that the bed trusts.
    pub fn new(purpose: &str) -> Self {
        let (bed, mut place) = (Bed::get(), Place::new());
        let name = format!("t-{purpose}-{}", std::process::id());
        fs::copy(&bed.certificate, place.dir().join("client.crt")).unwrap();
        place.write("client.key", &fs::read_to_string(&bed.key).unwrap(), 0o600);
        let known = [(&bed.url, "URL"), (&name, "NAME"), (&bed.project, "PROJECT")];
        place.names.extend(known.map(|(text, stands)| (text.clone(), stands.to_owned())));
        let host = Self { place, name, bed };
        host.rig(&[]);
        host
    }

    /// The rig file, with some of its text replaced.
    pub fn rig(&self, replaced: &[(&str, &str)]) {
        let Bed { url, fingerprint, project, image, .. } = &self.bed;
        let settings = format!(
            "provider: incus\n\
             identity: operator\n\
             incus: {{ url: \"{url}\", fingerprint: {fingerprint}, project: {project}, certificate: client.crt, \
             key: client.key, image: {image}, type: container, authorized_key: operator.pub }}\n\
             size: {{ cpus: 1, memory: 512MiB, disk: 5GiB }}\n"
        );
        let settings = replaced.iter().fold(settings, |text, (from, to)| {
            assert!(text.contains(from), "{from} is not in the rig file");
            text.replace(from, to)
        });
        self.place.rig(&self.name, &settings);
    }

    pub fn run(&self, args: &[&str]) -> String {
        self.place.run(&[&[self.name.as_str()], args].concat())
    }

    /// Its address and the start of the image's fingerprint, in outputs as words.
    pub fn name_what_differs(&mut self) {
        let image = self.bed.client().image(&self.bed.image).unwrap().unwrap().fingerprint;
        self.place.names.push((image[..12].to_owned(), "IMAGE".into()));
        if let Some(machine) = self.recorded() {
            let address = machine["ssh"].as_str().unwrap().trim_start_matches("root@");
            self.place.names.push((address.to_owned(), "ADDRESS".into()));
            self.place.names.push((machine["host_key"].as_str().unwrap().to_owned(), "HOST-KEY".into()));
        }
    }

    pub fn recorded(&self) -> Option<Value> {
        let path = self.place.dir().join(format!("state/ccorch/test/hosts/{}.json", self.name));
        fs::read(path).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
    }

    /// Starts it; returns the moment it says this.
    pub fn started(&self, said: &str) -> Child {
        let mut command = self.place.command(&[&self.name]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut all = Vec::new();
        let reached = lines.map_while(Result::ok).any(|line| {
            all.push(line);
            all.last().is_some_and(|line| line.contains(said))
        });
        assert!(reached, "it never said `{said}`:\n{}", all.join("\n"));
        child
    }

    /// An instance of this name as this test wants it, not as ccorch would have made it; not started.
    pub fn made_by_hand(&self, config: Settings) {
        let client = self.bed.client();
        let fingerprint = client.image(&self.bed.image).unwrap().unwrap().fingerprint;
        let instance = NewInstance {
            name: self.name.clone(),
            kind: InstanceType::Container,
            source: Source { kind: "image", fingerprint },
            profiles: vec!["default".into()],
            config,
            devices: Devices::new(),
        };
        client.create(&instance, MINUTE).unwrap();
    }

    /// One that ccorch takes for its own, with more in its user-data.
    pub fn made_with(&self, more_user_data: &str) {
        let key = fs::read_to_string(self.place.dir().join("operator.pub")).unwrap().parse().unwrap();
        let data = user_data(&self.name.parse().unwrap(), &key) + more_user_data;
        let config = [(RIG_MARK, "test"), (HOST_MARK, &self.name), (USER_DATA, &data)];
        self.made_by_hand(config.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }
}

/// With SIGKILL, as a machine that loses power would.
pub fn killed(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

impl Drop for Host {
    fn drop(&mut self) {
        let client = self.bed.client();
        let gone = || -> Result<(), ccorch_io::incus::IncusError> {
            client.settle(&self.name, MINUTE)?;
            if let Some(found) = client.instance(&self.name)? {
                if found.status != "Stopped" {
                    client.power(&self.name, Power::Kill, MINUTE)?;
                }
                client.delete(&self.name, MINUTE)?;
            }
            Ok(())
        };
        if let Err(error) = gone() {
            eprintln!("instance {} is left behind: {error}", self.name);
        }
    }
}
