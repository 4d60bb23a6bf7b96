//! The cloud-init user-data of a new instance (<https://cloudinit.readthedocs.io/en/latest/reference/modules.html>).

use crate::names::HostName;

use super::PublicKey;

/// User-data that lets the operator's key in as root and changes nothing else. The key is checked text, so it needs no
/// escape in YAML.
pub fn user_data(host: &HostName, key: &PublicKey) -> String {
    // `locale: "false"`: images without the locales package cannot generate one, and cloud-init then ends in error. As
    // text, since the schema of cloud-init before 23 knows no other, and warns.
    // `users`: without it the distribution's default user is made, with the key and with sudo without a password.
    format!(
        "#cloud-config\n\
         hostname: {host}\n\
         locale: \"false\"\n\
         ssh_pwauth: false\n\
         disable_root: false\n\
         users:\n  - name: root\n    ssh_authorized_keys: [\"{key}\"]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_reaches_root_and_nobody_else() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0t1vV0d7m3X5C0s8m8yJ6q0mO0p5m5iQ0m5x0x0x0x";
        let text = user_data(&HostName::new("vm").unwrap(), &key.parse().unwrap());
        assert!(text.starts_with("#cloud-config\n"), "{text}");
        let yaml: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "hostname": "vm",
            "locale": "false",
            "ssh_pwauth": false,
            "disable_root": false,
            "users": [{ "name": "root", "ssh_authorized_keys": [key] }],
        });
        assert_eq!(yaml, expected);
    }
}
