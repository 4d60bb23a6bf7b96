//! The bare floor: stop, copy what changed, start, by a shell script over connections that are open already.

use anyhow::{Context as _, Result};

use super::super::median::Samples;
use crate::bed::Instance;
use crate::run::Run;
use crate::scenario::Scenario;

/// What stands for the rig: it starts and stops at once, so that nobody's own time is in it.
const UNIT: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
/// About what three agents leave behind between the last sync and the stop: a commit each, and some transcript.
const DELTA: &str = "mkdir -p /srv/floor; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do \
                     head -c 8192 /dev/urandom > /srv/floor/$n; done";
/// Prints the seconds from the stop to the end of the start.
const SCRIPT: &str = r#"
set -eu
config=$1; from=$2; to=$3; work=$4
began=$(date +%s.%N)
ssh -F "$config" "$from" systemctl stop bench-floor
rsync -a --delete -e "ssh -F $config" "$from:/srv/floor/" "$work/"
rsync -a --delete -e "ssh -F $config" "$work/" "$to:/srv/floor/"
ssh -F "$config" "$to" systemctl start bench-floor
ended=$(date +%s.%N)
echo "$began $ended"
"#;

/// So many moves from the pi to the target.
pub fn measure(scenario: &Scenario, vm: &Instance, times: usize) -> Result<Samples> {
    let place = &scenario.place;
    let work = tempfile::Builder::new().prefix("fl").tempdir_in("/tmp").context("no temporary folder")?;
    let address = vm.address()?.context("the target has no address")?;
    let known = work.path().join("known_hosts");
    let pinned = std::fs::read_to_string(&place.known_hosts)?;
    std::fs::write(&known, format!("{pinned}{address} {}\n", vm.host_key()?))?;
    let config = work.path().join("config");
    let text = format!(
        "UserKnownHostsFile {}\nIdentityFile {}\nIdentitiesOnly yes\nBatchMode yes\nLogLevel ERROR\nUser root\n\
         ControlMaster auto\nControlPath {}/%C\nControlPersist 60\n",
        known.display(),
        place.keys.operator.private.display(),
        work.path().display()
    );
    std::fs::write(&config, text)?;
    let copies = work.path().join("copies");
    std::fs::create_dir(&copies)?;
    for host in [&scenario.pi, vm] {
        host.push_file(UNIT.as_bytes(), "/etc/systemd/system/bench-floor.service", "0644", "root:root")?;
        host.script("mkdir -p /srv/floor; systemctl daemon-reload")?;
    }
    let destinations = [place.pi_address.to_string(), address.to_string()];
    let run = || -> Result<f64> {
        scenario.pi.script(&format!("{DELTA}; systemctl start bench-floor"))?;
        vm.script("systemctl stop bench-floor")?;
        for destination in &destinations {
            Run::new(&["ssh", "-F"]).arg(&config).arg(destination).arg("true").run()?;
        }
        let said =
            Run::new(&["sh", "-c", SCRIPT, "floor"]).arg(&config).args(&destinations).arg(&copies).read()?;
        took(&said)
    };
    let samples = (0..times).map(|_| run()).collect::<Result<Vec<f64>>>();
    for destination in &destinations {
        // A connection that ended meanwhile is as good.
        Run::new(&["ssh", "-F"]).arg(&config).args(&["-O", "exit"]).arg(destination).output()?;
    }
    Ok(Samples::of(samples?))
}

fn took(said: &str) -> Result<f64> {
    let (began, ended) = said.split_once(' ').with_context(|| format!("no two times: {said}"))?;
    Ok(ended.trim().parse::<f64>()? - began.parse::<f64>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_times_are_a_duration() {
        assert_eq!(took("10.25 10.5\n").unwrap(), 0.25);
        assert!(took("10.25").is_err());
    }
}
