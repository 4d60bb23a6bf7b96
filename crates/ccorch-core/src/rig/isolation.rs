//! What keeps loops apart: what each may use, who it is, and what it may see and write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Loop, Rig, size_bytes};

/// What one loop may use of the host; what is not given has no limit of its own. They hold where systemd runs the loop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Above this the loop is slowed down and its memory taken back, for example `1GiB` (cgroup v2 only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<String>,
    /// At this the kernel kills processes of the loop, for example `2GiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<String>,
    /// Its share of a busy processor against the others' 100: from 1 to 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// How many processes and threads it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
}

impl Limits {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// As systemd.resource-control(5) has them: key and value, by key.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let bytes = |size: &Option<String>| Some(size_bytes(size.as_deref()?).ok()?.to_string());
        let all = [
            ("CPUWeight", self.cpu_weight.map(|weight| weight.to_string())),
            ("MemoryHigh", bytes(&self.memory_high)),
            ("MemoryMax", bytes(&self.memory_max)),
            ("TasksMax", self.tasks.map(|tasks| tasks.to_string())),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

impl Rig {
    /// The Unix user a loop runs as: its own, else the workspace's.
    pub fn user_of<'a>(&'a self, spec: &'a Loop) -> &'a str {
        spec.user.as_deref().unwrap_or(&self.workspace.user)
    }

    /// The users of loops that have one of their own.
    pub fn loop_users(&self) -> std::collections::BTreeSet<&str> {
        let users = self.loops.values().map(|spec| self.user_of(spec));
        users.filter(|user| *user != self.workspace.user).collect()
    }

    /// A path that the rig file names: absolute already, or relative to the workspace's root.
    pub fn place(&self, path: &str) -> String {
        let root = self.workspace.root.trim_end_matches('/');
        match path {
            "." => root.to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("{root}/{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::names::LoopName;
    use crate::rig::parse;
    use crate::rig::tests::GOOD;

    #[test]
    fn a_loop_with_a_user_of_its_own_has_a_login_of_its_own() {
        let builder = "builder: { agent: claude, workdir: cc-ci, prompt: plans/builder.md";
        let account = |more: &str| {
            let text = GOOD.replace(builder, &format!("{builder}{more}"));
            parse(&text).unwrap().account_of(&LoopName::new("builder").unwrap())
        };
        assert_eq!(account(""), "loops:~/.claude");
        assert_eq!(account(", user: adv"), "adv:~/.claude");
        assert_eq!(account(", user: adv, account: team"), "team");
    }
}
