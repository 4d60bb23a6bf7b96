//! The whole decision: from a rig file's entry and a server's answers to steps or a refusal.

use super::super::{Device, Facts, Image, Instance, Profile, Settings, Unfit, Wanted};
use super::*;
use crate::names::{HostName, RigName};
use crate::rig::{Incus, InstanceType, Size};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0t1vV0d7m3X5C0s8m8yJ6q0mO0p5m5iQ0m5x0x0x0x";
const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIZZt1vV0d7m3X5C0s8m8yJ6q0mO0p5m5iQ0m5x0x0x0x";

fn settings(kind: &str) -> Incus {
    serde_json::from_value(serde_json::json!({
        "url": "https://b1:8443", "certificate": "c", "key": "k", "image": "base", "type": kind, "authorized_key": "a",
    }))
    .unwrap()
}

fn image(kind: InstanceType, properties: &[(&str, &str)]) -> Image {
    let properties = properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Image { fingerprint: "f00".into(), kind, properties }
}

fn profiles() -> Vec<(String, Profile)> {
    let root =
        [("type", "disk"), ("path", "/"), ("pool", "fast")].map(|(k, v)| (k.to_string(), v.to_string()));
    let devices = Devices::from([("root".into(), Device::from(root))]);
    vec![("default".into(), Profile { devices }), ("extra".into(), Profile::default())]
}

fn size() -> Size {
    Size { cpus: Some(2), memory: Some("2GiB".into()), disk: Some("30GiB".into()) }
}

fn wanted_with(
    kind: &str,
    size: &Size,
    image: &Image,
    profiles: &[(String, Profile)],
) -> Result<Wanted, Unfit> {
    Wanted::from(Facts {
        rig: &RigName::new("cc-ci").unwrap(),
        host: &HostName::new("vm").unwrap(),
        settings: &settings(kind),
        size: Some(size),
        key: &KEY.parse().unwrap(),
        image,
        profiles,
    })
}

fn wanted() -> Wanted {
    wanted_with("container", &size(), &image(InstanceType::Container, &[]), &profiles()).unwrap()
}

/// The instance that creating [`wanted`] leaves, running.
fn made() -> Instance {
    let new = wanted().new;
    Instance {
        kind: new.kind,
        status: "Running".into(),
        config: new.config,
        devices: new.devices,
        profiles: new.profiles,
    }
}

#[test]
fn a_new_instance_has_size_key_and_marks() {
    let body = serde_json::to_value(wanted().new).unwrap();
    insta::assert_json_snapshot!(body, @r###"
    {
      "name": "vm",
      "type": "container",
      "source": {
        "type": "image",
        "fingerprint": "f00"
      },
      "profiles": [
        "default",
        "extra"
      ],
      "config": {
        "cloud-init.user-data": "#cloud-config\nhostname: vm\nlocale: \"false\"\nssh_pwauth: false\ndisable_root: false\nusers:\n  - name: root\n    ssh_authorized_keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0t1vV0d7m3X5C0s8m8yJ6q0mO0p5m5iQ0m5x0x0x0x\"]\n",
        "limits.cpu": "2",
        "limits.memory": "2GiB",
        "user.ccorch.host": "vm",
        "user.ccorch.rig": "cc-ci"
      },
      "devices": {
        "root": {
          "path": "/",
          "pool": "fast",
          "size": "30GiB",
          "type": "disk"
        }
      }
    }
    "###);
}

#[test]
fn without_a_size_the_profiles_decide() {
    let none = wanted_with("container", &Size::default(), &image(InstanceType::Container, &[]), &[]).unwrap();
    assert!(none.new.devices.is_empty() && !none.new.config.keys().any(|key| key.starts_with("limits.")));
}

#[test]
fn secure_boot_is_off_where_the_image_cannot() {
    let vm = |properties: &[(&str, &str)]| {
        let image = image(InstanceType::VirtualMachine, properties);
        let wanted = wanted_with("virtual-machine", &size(), &image, &profiles()).unwrap();
        wanted.new.config.get("security.secureboot").cloned()
    };
    assert_eq!(vm(&[("os", "Debian")]), None);
    assert_eq!(vm(&[("os", "NixOS")]), Some("false".into()));
    assert_eq!(vm(&[("requirements.secureboot", "false")]), Some("false".into()));
}

#[test]
fn what_cannot_be_is_said_before_anything_is_made() {
    let container = image(InstanceType::Container, &[]);
    let text = |kind: &str, size: &Size, profiles: &[(String, Profile)]| {
        wanted_with(kind, size, &container, profiles).unwrap_err().to_string()
    };
    assert_eq!(
        text("virtual-machine", &size(), &profiles()),
        "image alias `base` is of a container, but `type: virtual-machine` is asked for"
    );
    assert_eq!(
        text("container", &size(), &profiles()[1..]),
        "no root disk in profile `extra`, so `size.disk` has nothing to apply to"
    );
    let odd = Size { memory: Some("much".into()), ..Size::default() };
    assert_eq!(text("container", &odd, &profiles()), "`size.memory: much` is not a size like `2GiB`");
}

#[test]
fn one_decision_for_each_state() {
    let in_state = |status: &str| decide(&wanted(), Some(&Instance { status: status.into(), ..made() }));
    assert_eq!(decide(&wanted(), None), Ok(vec![Step::Create, Step::Start]));
    assert_eq!(in_state("Running"), Ok(vec![]));
    assert_eq!(in_state("Ready"), Ok(vec![]));
    assert_eq!(in_state("Stopped"), Ok(vec![Step::Start]));
    assert_eq!(in_state("Frozen"), Ok(vec![Step::Unfreeze]));
    assert_eq!(in_state("Error"), Err(Refusal::Status("Error".into())));
}

#[test]
fn an_instance_of_somebody_else_is_never_touched() {
    let with = |config: &[(&str, &str)]| {
        let config: Settings = config.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        decide(&wanted(), Some(&Instance { config, status: "Stopped".into(), ..made() }))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(with(&[]), "the name is taken by an instance that ccorch did not make");
    assert_eq!(
        with(&[(RIG_MARK, "other"), (HOST_MARK, "vm")]),
        "the name is taken by an instance that ccorch made for host `vm` of rig `other`"
    );
    assert_eq!(with(&[(RIG_MARK, "cc-ci")]), "the name is taken by an instance that ccorch did not make");
}

#[test]
fn only_sizes_change_in_place() {
    let mut found = Instance { status: "Stopped".into(), ..made() };
    found.config.insert("limits.memory".into(), "1GiB".into());
    found.config.remove("limits.cpu");
    found.devices.get_mut("root").unwrap().insert("size".into(), "20GiB".into());
    let steps = decide(&wanted(), Some(&found)).unwrap();
    let Step::Change { changes, config, devices } = &steps[0] else { panic!("{steps:?}") };
    let shown: Vec<String> = changes.iter().map(Change::to_string).collect();
    assert_eq!(
        shown,
        ["limits.cpu: unset -> 2", "limits.memory: 1GiB -> 2GiB", "root disk size: 20GiB -> 30GiB"]
    );
    assert_eq!(config.len(), 2);
    assert_eq!(devices["root"]["pool"], "fast");
    assert_eq!(steps[1..], [Step::Start]);

    found.config = made().config;
    found.config.insert("limits.memory".into(), "2048MiB".into());
    found.devices = made().devices;
    assert_eq!(decide(&wanted(), Some(&found)), Ok(vec![Step::Start]));
}

#[test]
fn what_only_a_new_instance_could_have_is_listed_whole() {
    let mut found = made();
    found.kind = InstanceType::VirtualMachine;
    found.profiles = vec!["big".into()];
    found.config.insert(USER_DATA.into(), format!("#cloud-config\nssh_authorized_keys: [\"{OTHER_KEY}\"]\n"));
    found.devices.get_mut("root").unwrap().insert("size".into(), "40GiB".into());
    let text = decide(&wanted(), Some(&found)).unwrap_err().to_string();
    let expected = format!(
        "the instance differs from the rig file: type: virtual-machine -> container; profiles: big -> default, extra; \
         authorized_key: another key -> {KEY}; size.disk (disks cannot shrink): 40GiB -> 30GiB"
    );
    assert_eq!(text, expected);
}
