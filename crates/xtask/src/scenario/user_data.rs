//! The first boot of the scenario's instances, as cloud-init's user-data.

use serde_json::{Value, json};

/// The git host: the operator may log in as root, for looking around.
pub fn git(operator: &str) -> String {
    render(&json!({ "disable_root": false, "users": [root(operator)] }))
}

/// The pi: as such machines are, with a sudo-capable `pi` and a user for the loops.
pub fn pi(operator: &str) -> String {
    render(&json!({
        "disable_root": false,
        "users": [
            root(operator),
            {
                "name": "pi",
                "shell": "/bin/bash",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "lock_passwd": true,
                "ssh_authorized_keys": [operator],
            },
            { "name": "loops", "shell": "/bin/bash", "lock_passwd": true },
        ],
    }))
}

fn root(operator: &str) -> Value {
    json!({ "name": "root", "ssh_authorized_keys": [operator] })
}

/// JSON is YAML.
fn render(value: &Value) -> String {
    format!("#cloud-config\n{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pi_has_its_three_accounts_and_no_password() {
        let text = pi("ssh-ed25519 AAAA");
        let value: Value = serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        let names: Vec<_> = value["users"].as_array().unwrap().iter().map(|user| &user["name"]).collect();
        assert_eq!(names, ["root", "pi", "loops"]);
        assert_eq!(value["users"][2].get("ssh_authorized_keys"), None, "nobody logs in as the loops");
        assert!(!text.contains("passwd\": \""), "{text}");
    }
}
