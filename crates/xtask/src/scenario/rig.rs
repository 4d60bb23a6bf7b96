//! The rig file that moves the legacy rig from the pi to an instance of the bed.

use indoc::formatdoc;

use super::Place;
use crate::bed::State;

/// The phases of the rig, in order; the pi is at index 2.
pub const PHASES: [&str; 6] = ["1d", "2", "3", "4", "5", "6"];
/// The workspace's path, the same on both hosts.
pub const WORKSPACE: &str = "/srv/cc-ci";
/// Files the agents read, outside the repositories.
pub const REFERENCES: &str = "/srv/recipe-maintainer";

/// The rig as `ccorch.yaml`; keys and certificate lie beside it.
/// `pi_key` is the public host key of the pi.
pub fn rig_yaml(place: &Place, bed: &State, pi_key: &str) -> String {
    let phase = |id: &&str| format!("  - {{ id: \"{id}\", plan: cc-ci-plan/plan-phase{id}.md }}\n");
    let phases: String = PHASES.iter().map(phase).collect();
    formatdoc! {r#"
        rig: cc-ci
        workspace:
          root: {WORKSPACE}
          user: loops
          repositories:
            ".":       {{ url: "{outer}", branch: main }}
            cc-ci:     {{ url: "{inner}", branch: main }}
            cc-ci-adv: {{ url: "{inner}", branch: main }}
          copies:
            references: {{ from: {REFERENCES} }}
            git-login:  {{ from: /home/loops/.ssh }}
          carry: [.cc-ci-logs, .testenv]
          phase_file: .cc-ci-logs/.phase-idx
          reboot_log: REBOOTS.md
        phases:
        {phases}loops:
          builder:
            agent: claude
            workdir: cc-ci
            prompt: cc-ci-plan/prompts/builder.md
            inbox: machine-docs/INBOX.md
          adversary:
            agent: claude
            workdir: cc-ci-adv
            prompt: cc-ci-plan/prompts/adversary.md
            inbox: machine-docs/INBOX.md
          orchestrator:
            agent: claude
            workdir: .
            role: orchestrator
            remote_control: autonomous-orchestrator
        lease:
          remote: "{lease}"
          key: lease_ed25519
          offline: wait
        tools: [git, tmux, rsync]
        hosts:
          pi:
            ssh: pi@{pi_address}
            host_key: "{pi_key}"
            identity: operator_ed25519
            runs:
              stop: [cc-ci-plan/launch.sh, stop]
              start: [cc-ci-plan/launch.sh, start]
              units: [cc-ci-loops.service]
          vm:
            provider: incus
            identity: operator_ed25519
            incus:
              url: "{url}"
              fingerprint: {fingerprint}
              project: {project}
              certificate: bed.crt
              key: bed.key
              image: {image}
              type: container
              authorized_key: operator_ed25519.pub
            size: {{ cpus: 2, memory: 2GiB, disk: 30GiB }}
        # The loops are always in the middle of something: it goes along, and a branch of its own keeps it.
        # A rehearsal does not wait long for crashes that do not come.
        cutover: {{ from: pi, to: vm, unsaved: rescue, confirm: {{ settle: 3s }} }}
        "#,
        outer = place.repository("orchestrator"),
        inner = place.repository("cc-ci"),
        lease = place.lease(),
        pi_address = place.pi_address,
        url = bed.url,
        fingerprint = bed.fingerprint,
        project = bed.project,
        image = bed.image,
    }
}
