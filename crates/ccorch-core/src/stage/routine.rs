//! The routine that an orchestrator session finds on a host with ccorch: what to do at its start, whom to tell, how to go
//! back. A block between two marks; what stands around it is its owner's.

use crate::names::{HostName, LoopName};
use crate::rig::{Rig, Role};

const BEGIN: &str =
    "<!-- ccorch:begin: written by `ccorch stage`, which replaces what stands down to ccorch:end -->";
const END: &str = "<!-- ccorch:end -->";

/// The file, in the orchestrator's working directory.
pub const FILE: &str = "AGENTS.md";
/// The file where git holds one of that name: a change of it would be work that is not saved.
pub const BESIDE: &str = "AGENTS.ccorch.md";

/// The rig's orchestrator sessions.
pub fn orchestrators(rig: &Rig) -> impl Iterator<Item = &LoopName> {
    rig.loops.iter().filter(|(_, spec)| spec.role == Role::Orchestrator).map(|(name, _)| name)
}

/// The routine, for an orchestrator session on `host`.
pub fn routine(rig: &Rig, host: &HostName, name: &LoopName) -> String {
    let workers: Vec<&str> = rig
        .loops
        .iter()
        .filter(|(_, spec)| spec.role == Role::Worker)
        .map(|(name, _)| name.as_str())
        .collect();
    format!(
        "{BEGIN}
## The rig `{rig}` is kept alive by ccorch

You are `{name}`, the session above the loops {workers} on the host `{host}`. systemd starts you and them after every boot,
each in its own conversation; nothing has to be started by hand, and an agent that is started by hand passes by the fence.

At every start:

1. You are told why, if there is something to tell: `Reboot N: ...` after a reboot, and then which loops came back;
   `You were restarted by hand` or `You were stopped ...` otherwise. Nothing said means that nothing happened.
2. `ccorch reboots` lists when this host was down. `/var/lib/ccorch/HANDOFF.md`, if it is there, tells where the rig came
   from and which work was put away on branches.
3. `sudo ccorch status` (root's, where your owner grants it): lease, phase, every loop with its reason; exit status 1 means
   that something is wrong, and the last lines say what. `sudo ccorch loops show LOOP` tells more.

When a person is needed: `ccorch notify \"what, and what you need\"`. It is sent to them, marked with your name.

To go back to the host that the rig came from, a person runs, on the operator's machine, `ccorch rollback --dry-run` and then
`ccorch rollback`: all work goes along. Do not copy work or start loops elsewhere yourself.
{END}
",
        rig = rig.rig,
        workers = workers.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    )
}

/// The file's text with the block in it: in the place of the one that is there, else at the end.
pub fn put(text: &str, block: &str) -> String {
    let before = text.find("<!-- ccorch:begin");
    let after = before.and_then(|at| Some(at + text[at..].find(END)? + END.len()));
    match (before, after) {
        (Some(before), Some(after)) => {
            let rest = text[after..].strip_prefix('\n').unwrap_or(&text[after..]);
            format!("{}{block}{rest}", &text[..before])
        }
        // A block without an end was damaged: where it stops nobody knows, so nothing of it is taken away.
        _ if text.is_empty() => block.into(),
        _ => format!("{}\n\n{block}", text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_replaced_and_everything_else_stays() {
        let block = |words: &str| format!("{BEGIN}\n{words}\n{END}\n");
        assert_eq!(put("", &block("one")), block("one"));
        let text = put("# Mine\n", &block("one"));
        assert_eq!(text, format!("# Mine\n\n{}", block("one")));
        assert_eq!(put(&text, &block("one")), text, "twice is once");
        let around = format!("{text}below\n");
        assert_eq!(put(&around, &block("two")), format!("# Mine\n\n{}below\n", block("two")));
        let torn = format!("# Mine\n{BEGIN}\nhalf");
        let mended = put(&torn, &block("one"));
        assert!(mended.starts_with(&torn) && mended.ends_with(&block("one")));
    }

    #[test]
    fn it_names_the_rig_and_its_loops() {
        let rig = crate::rig::parse(indoc::indoc! {r#"
            rig: demo
            workspace: { root: /srv/w, user: loops, repositories: {}, carry: [a, b] }
            phases: [{ id: "1", plan: p.md }]
            loops:
              boss: { agent: claude, workdir: ., role: orchestrator }
              one: { agent: claude, workdir: a }
              two: { agent: claude, workdir: b }
            hosts: { vm: { ssh: vm } }
        "#})
        .unwrap();
        let names: Vec<&LoopName> = orchestrators(&rig).collect();
        assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["boss"]);
        let text = routine(&rig, &HostName::new("vm").unwrap(), names[0]);
        assert!(text.contains("`boss`, the session above the loops `one`, `two` on the host `vm`"), "{text}");
        assert_eq!(put(&text, &text), text);
    }
}
