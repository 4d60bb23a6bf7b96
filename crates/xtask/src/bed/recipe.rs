//! What the system image is made of: packages, a few files, cloud-init templates.
//!
//! Everything here goes into the hash that names the image in the cache.

use indoc::{formatdoc, indoc};
use sha2::{Digest as _, Sha256};

/// The release that is built.
pub const SUITE: &str = "bookworm";
/// The alias instances are made from.
pub const ALIAS: &str = "debian-12";

/// Beside what every Debian has: what a rig needs, and a cron for the sweep of
/// left-over starts to look at. Without udev networkd would wait for it for ever.
pub const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "systemd-resolved",
    "libpam-systemd",
    "libnss-systemd",
    "dbus",
    "dbus-user-session",
    "udev",
    "cron",
    "openssh-server",
    "cloud-init",
    "tmux",
    "git",
    "rsync",
    "sudo",
    "procps",
    "iproute2",
    "ca-certificates",
];

/// Not wanted in an image that is unpacked for every test.
pub const LEFT_OUT: &[&str] = &["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*"];

/// Enabled in the image.
pub const ENABLED: &[&str] = &["systemd-networkd.service"];

/// Masked: they would ask a network that is not there, or a disk of their own.
pub const MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
];

/// Removed: what must be each instance's own. sshd's keys are made by
/// cloud-init on the first boot, the machine id by systemd.
pub const REMOVED: &[&str] = &[
    "etc/hostname",
    "etc/ssh/ssh_host_ecdsa_key",
    "etc/ssh/ssh_host_ecdsa_key.pub",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
    "var/lib/dbus/machine-id",
];

/// Written into the image: path and text.
pub const FILES: &[(&str, &str)] = &[
    ("etc/machine-id", ""),
    (
        "etc/systemd/network/80-eth0.network",
        indoc! {"
            [Match]
            Name=eth0

            [Network]
            DHCP=ipv4
            LinkLocalAddressing=no
            IPv6AcceptRA=no

            [DHCPv4]
            UseDomains=yes
        "},
    ),
    (
        // The cloud images of distributions set the same: the seed is the only source,
        // and without the locales package there is no locale to generate.
        "etc/cloud/cloud.cfg.d/90-image.cfg",
        indoc! {"
            datasource_list: [NoCloud, None]
            locale: false
            ssh_genkeytypes: [ed25519, ecdsa]
        "},
    ),
    (
        "etc/ssh/sshd_config.d/10-image.conf",
        indoc! {"
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            UseDNS no
        "},
    ),
];

/// The templates that Incus fills in when an instance is created: path in the
/// instance, name of the template, text. The names of the settings are those
/// of every Incus image with cloud-init.
pub const TEMPLATES: &[(&str, &str, &str)] = &[
    ("/etc/hostname", "hostname.tpl", "{{ container.name }}\n"),
    (
        "/var/lib/cloud/seed/nocloud-net/meta-data",
        "meta-data.tpl",
        indoc! {r#"
            instance-id: {{ container.name }}
            local-hostname: {{ container.name }}
            {{ config_get("user.meta-data", "") }}
        "#},
    ),
    (
        "/var/lib/cloud/seed/nocloud-net/user-data",
        "user-data.tpl",
        indoc! {r##"
            {% if config_get("cloud-init.user-data", "") == "" %}{{ config_get("user.user-data", "#cloud-config") }}{% else %}{{ config_get("cloud-init.user-data", "") }}{% endif %}
        "##},
    ),
    (
        "/var/lib/cloud/seed/nocloud-net/network-config",
        "network-config.tpl",
        indoc! {r#"
            {% if config_get("cloud-init.network-config", "") == "" %}{{ config_get("user.network-config", "config: disabled") }}{% else %}{{ config_get("cloud-init.network-config", "") }}{% endif %}
        "#},
    ),
];

/// Sixteen hex digits that change with anything above.
pub fn hash() -> String {
    let text = format!(
        "{SUITE} {PACKAGES:?} {LEFT_OUT:?} {ENABLED:?} {MASKED:?} {REMOVED:?} {FILES:?} {}",
        metadata("", 0)
    );
    let text = format!("{text} {TEMPLATES:?}");
    Sha256::digest(text.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The image's `metadata.yaml`.
pub fn metadata(hash: &str, created: u64) -> String {
    let mut text = formatdoc! {"
        architecture: {architecture}
        creation_date: {created}
        properties:
          os: Debian
          release: {SUITE}
          description: Debian 12 with cloud-init for the ccorch test bed
          recipe: \"{hash}\"
        templates:
    ", architecture = std::env::consts::ARCH};
    for (path, template, _) in TEMPLATES {
        text.push_str(&format!("  {path}:\n    when: [create, copy]\n    template: {template}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_names_every_template() {
        let text = metadata("abc", 7);
        assert!(text.contains("recipe: \"abc\"\n") && text.contains("creation_date: 7\n"), "{text}");
        assert_eq!(text.matches("template: ").count(), TEMPLATES.len());
    }

    #[test]
    fn nothing_written_is_also_removed() {
        assert!(FILES.iter().all(|(path, _)| !REMOVED.contains(path)));
        assert_eq!(hash().len(), 16);
    }
}
