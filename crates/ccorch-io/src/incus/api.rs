//! The calls of Incus's REST API that ccorch makes (<https://linuxcontainers.org/incus/docs/main/rest-api-spec/>).

use std::time::{Duration, Instant};

use ccorch_core::provision::{
    Devices, Image, ImageAlias, Instance, InstanceState, NewInstance, Profile, Settings,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::http::Method;

use super::envelope::Answer;
use super::error::{Failure, IncusError};
use super::http::{Client, encoded};

/// The longest a single request waits for an operation. Short, so that every longer operation takes the way of one that
/// is still running, and a server that went away is soon noticed.
const WAIT_SLICE: Duration = Duration::from_secs(1);

/// What a server says about itself and about us.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Server {
    /// Whether it knows our certificate.
    pub auth: Auth,
}

/// Whether a server knows our certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// It does.
    Trusted,
    /// It does not.
    Untrusted,
}

/// What is done to an instance's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Boot it.
    Start,
    /// End it at once.
    Kill,
    /// Let a frozen one go on.
    Unfreeze,
}

#[derive(Deserialize)]
struct Operation {
    id: String,
    status_code: u16,
    #[serde(default)]
    err: String,
    #[serde(default)]
    resources: Option<std::collections::BTreeMap<String, Vec<String>>>,
}

impl Client {
    /// The server itself; the one call that it answers to everybody.
    pub fn server_info(&self) -> Result<Server, IncusError> {
        self.get("/1.0")
    }

    /// Whether the project exists and this certificate may use it. A restricted certificate is told "forbidden" about
    /// projects that do not exist.
    pub fn project_exists(&self) -> Result<bool, IncusError> {
        let found = self.get::<Value>(&format!("/1.0/projects/{}", encoded(self.project())));
        Ok(present(found)?.is_some())
    }

    /// The names of the projects this certificate may use.
    pub fn projects(&self) -> Result<Vec<String>, IncusError> {
        let urls: Vec<String> = self.get("/1.0/projects")?;
        Ok(urls.iter().filter_map(|url| url.rsplit('/').next()).map(Into::into).collect())
    }

    /// The image an alias stands for.
    pub fn image(&self, alias: &str) -> Result<Option<Image>, IncusError> {
        let found = present(self.get::<ImageAlias>(&format!("/1.0/images/aliases/{}", encoded(alias))))?;
        found.map(|alias| self.get(&format!("/1.0/images/{}", encoded(&alias.target)))).transpose()
    }

    /// The names of all image aliases.
    pub fn image_aliases(&self) -> Result<Vec<String>, IncusError> {
        #[derive(Deserialize)]
        struct Alias {
            name: String,
        }
        let Answer::Done(list) =
            self.call(Method::GET, "/1.0/images/aliases", &[("recursion", "1")], None)?
        else {
            return Ok(Vec::new());
        };
        let aliases: Vec<Alias> = self.typed("/1.0/images/aliases", list)?;
        Ok(aliases.into_iter().map(|alias| alias.name).collect())
    }

    /// A profile.
    pub fn profile(&self, name: &str) -> Result<Option<Profile>, IncusError> {
        present(self.get(&format!("/1.0/profiles/{}", encoded(name))))
    }

    /// An instance.
    pub fn instance(&self, name: &str) -> Result<Option<Instance>, IncusError> {
        present(self.get(&instance_path(name)))
    }

    /// What runs in it now: its addresses.
    pub fn instance_state(&self, name: &str) -> Result<InstanceState, IncusError> {
        self.get(&format!("{}/state", instance_path(name)))
    }

    /// Creates an instance, and waits for it.
    pub fn create(&self, instance: &NewInstance, deadline: Duration) -> Result<(), IncusError> {
        self.perform(Method::POST, "/1.0/instances", &json!(instance), deadline)
    }

    /// Merges settings and devices into an instance's own, and waits for it.
    pub fn change(
        &self,
        name: &str,
        config: &Settings,
        devices: &Devices,
        deadline: Duration,
    ) -> Result<(), IncusError> {
        let body = json!({ "config": config, "devices": devices });
        self.perform(Method::PATCH, &instance_path(name), &body, deadline)
    }

    /// Starts, kills or unfreezes an instance, and waits for it.
    pub fn power(&self, name: &str, power: Power, deadline: Duration) -> Result<(), IncusError> {
        let (action, force) = match power {
            Power::Start => ("start", false),
            Power::Kill => ("stop", true),
            Power::Unfreeze => ("unfreeze", false),
        };
        let body = json!({ "action": action, "force": force, "timeout": -1 });
        self.perform(Method::PUT, &format!("{}/state", instance_path(name)), &body, deadline)
    }

    /// Deletes a stopped instance, and waits for it.
    pub fn delete(&self, name: &str, deadline: Duration) -> Result<(), IncusError> {
        self.perform(Method::DELETE, &instance_path(name), &Value::Null, deadline)
    }

    /// A file in an instance, read past its network; `None` when it is not there.
    pub fn file(&self, instance: &str, path: &str) -> Result<Option<Vec<u8>>, IncusError> {
        present(self.raw(&format!("{}/files", instance_path(instance)), &[("path", path)]))
    }

    /// Waits for whatever the server is doing with an instance: who started it may be gone.
    pub fn settle(&self, instance: &str, deadline: Duration) -> Result<(), IncusError> {
        let path = "/1.0/operations";
        let until = Instant::now() + deadline;
        let Answer::Done(list) = self.call(Method::GET, path, &[("recursion", "1")], None)? else {
            return Ok(());
        };
        // Operations by their state: `{"running": [...]}`.
        let lists: std::collections::BTreeMap<String, Vec<Operation>> = self.typed(path, list)?;
        for operation in lists.into_values().flatten().filter(|operation| operation.concerns(instance)) {
            let left = until.saturating_duration_since(Instant::now());
            // That it failed, or is gone, is seen from the instance.
            match self.wait(&Method::GET, path, &format!("/1.0/operations/{}", operation.id), left) {
                Err(IncusError { failure: Failure::Operation(_) | Failure::NotFound(_), .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn perform(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        deadline: Duration,
    ) -> Result<(), IncusError> {
        let body = (!body.is_null()).then_some(body);
        match self.call(method.clone(), path, &[], body)? {
            Answer::Done(_) => Ok(()),
            Answer::Started(operation) => self.wait(&method, path, &operation, deadline),
        }
    }

    /// Waits for an operation; errors name the request that started it.
    fn wait(
        &self,
        method: &Method,
        path: &str,
        operation: &str,
        deadline: Duration,
    ) -> Result<(), IncusError> {
        let until = Instant::now() + deadline;
        loop {
            let slice = until.saturating_duration_since(Instant::now()).min(WAIT_SLICE);
            let seconds = slice.as_secs_f64().ceil().to_string();
            let operation = operation.split('?').next().unwrap_or(operation);
            let state = self.operation(operation, &seconds)?;
            match state.status_code {
                200 => return Ok(()),
                400.. => return Err(self.error(method, path, Failure::Operation(state.err))),
                _ if Instant::now() >= until => {
                    return Err(self.error(method, path, Failure::TimedOut(deadline)));
                }
                _ => {}
            }
        }
    }

    /// An operation's state after at most `seconds`.
    fn operation(&self, operation: &str, seconds: &str) -> Result<Operation, IncusError> {
        match self.call(Method::GET, &format!("{operation}/wait"), &[("timeout", seconds)], None) {
            Ok(Answer::Done(state)) => self.typed(operation, state),
            // Incus answers so ("context deadline exceeded", status 500) when the time is up.
            Ok(Answer::Started(_)) | Err(IncusError { failure: Failure::Refused { .. }, .. }) => {
                self.get(operation)
            }
            Err(error) => Err(error),
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, IncusError> {
        match self.call(Method::GET, path, &[], None)? {
            Answer::Done(value) => self.typed(path, value),
            Answer::Started(_) => {
                Err(self.not_incus(path, "an operation where a value was asked for".into()))
            }
        }
    }

    fn typed<T: DeserializeOwned>(&self, path: &str, value: Value) -> Result<T, IncusError> {
        serde_json::from_value(value).map_err(|error| self.not_incus(path, error.to_string()))
    }

    fn not_incus(&self, path: &str, text: String) -> IncusError {
        self.error(&Method::GET, path, Failure::NotIncus(text))
    }
}

impl Operation {
    /// Resources are URLs: `/1.0/instances/vm?project=p`.
    fn concerns(&self, instance: &str) -> bool {
        let urls = self.resources.iter().flat_map(|all| all.values()).flatten();
        urls.filter_map(|url| url.split('?').next()).any(|url| url == instance_path(instance))
    }
}

fn instance_path(name: &str) -> String {
    format!("/1.0/instances/{}", encoded(name))
}

/// "Not found" as an answer.
fn present<T>(found: Result<T, IncusError>) -> Result<Option<T>, IncusError> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(IncusError { failure: Failure::NotFound(_), .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
