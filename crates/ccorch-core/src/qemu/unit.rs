//! The systemd unit that starts a machine when the operator's machine boots, and stops it in good time.

use crate::names::{HostName, RigName};

/// What the unit is made from.
#[derive(Debug, Clone)]
pub struct Unit<'a> {
    /// The rig.
    pub rig: &'a RigName,
    /// The host.
    pub host: &'a HostName,
    /// The ccorch binary, absolute.
    pub binary: &'a str,
    /// The rig file, absolute.
    pub rig_file: &'a str,
    /// The machine's pid file, absolute.
    pub pid_file: &'a str,
    /// Variables that decide where the operator's state lies.
    pub environment: &'a [(&'a str, String)],
    /// `multi-user.target`, or `default.target` of a user's own systemd.
    pub wanted_by: &'a str,
}

/// The unit's name.
pub fn unit_name(rig: &RigName, host: &HostName) -> String {
    format!("ccorch-vm-{rig}-{host}.service")
}

/// The unit's text. It runs `ccorch vm`, so that a fallback from KVM or a stop at the guest's own pace is the same as by
/// hand.
pub fn unit(unit: &Unit) -> String {
    let Unit { rig, host, pid_file, wanted_by, .. } = unit;
    let (binary, file) = (word(unit.binary), word(unit.rig_file));
    let environment: String = unit
        .environment
        .iter()
        .map(|(name, value)| format!("Environment={}\n", word(&format!("{name}={value}"))))
        .collect();
    let pid_file = pid_file.replace('%', "%%");
    format!(
        "# Written by ccorch provision.\n\n\
         [Unit]\n\
         Description=Virtual machine {host} of the rig {rig} (ccorch)\n\n\
         [Service]\n\
         Type=forking\n\
         PIDFile={pid_file}\n\
         {environment}\
         ExecStart={binary} --rig {file} vm start {host} --direct --timeout 10m\n\
         ExecStop={binary} --rig {file} vm stop {host} --direct --timeout 100s\n\
         TimeoutStartSec=11min\n\
         TimeoutStopSec=2min\n\
         # The guest is asked first; only what is left after that gets a signal.\n\
         KillMode=mixed\n\
         Restart=on-failure\n\
         RestartSec=10\n\n\
         [Install]\n\
         WantedBy={wanted_by}\n"
    )
}

/// One word of a unit file: in double quotes, with what systemd would expand escaped (systemd.service(5), "COMMAND LINES").
fn word(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{text}\"")
}
