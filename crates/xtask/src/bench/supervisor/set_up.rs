//! The same child under each supervisor, in one container: unit files, their configurations, and the plan of the measuring.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use indoc::{formatdoc, indoc};
use serde_json::{Value, json};

use super::SupervisorArgs;
use crate::bed::Instance;

/// The child: tells of itself, then costs nothing. Built into the shell, so that it forks nothing.
const CHILD: &str = indoc! {r#"
    #!/bin/sh
    echo "$1 $2 $$" > /run/bench.fifo
    exec sleep infinity
"#};

/// Three children a rival, as a rig has three loops.
pub const CHILDREN: [&str; 3] = ["a", "b", "c"];

/// Where a container's bench lies.
const DIR: &str = "/root/rivals";

/// The rig with these loops; `host` is the entry of the one host in it.
pub fn rig(names: &[String], host: &Value) -> Value {
    let one = |name: &String| {
        let child = json!(["/usr/local/bin/bench-child", "ccorch", name]);
        (name.clone(), json!({ "agent": "command", "workdir": ".", "command": child }))
    };
    json!({
        "rig": "bench",
        "workspace": { "root": "/srv/w", "user": "loops", "repositories": {} },
        "phases": [{ "id": "a", "plan": "a.md" }],
        "loops": names.iter().map(one).collect::<serde_json::Map<_, _>>(),
        "hosts": { "vm": host },
    })
}

/// The names of so many loops.
pub fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("l{number:04}")).collect()
}

/// The files of all rivals: path, text, mode.
fn files() -> Vec<(String, String, &'static str)> {
    let unit = |settings: &str| {
        formatdoc! {"
            [Unit]
            StartLimitIntervalSec=0

            [Service]
            User=loops
            Restart=always
            RestartSec=0
            {settings}
        "}
    };
    let child = "/usr/local/bin/bench-child";
    let mut files = vec![
        (child.to_owned(), CHILD.to_owned(), "0755"),
        (
            "/etc/systemd/system/bench-bare@.service".into(),
            unit(&format!("ExecStart={child} bare %i")),
            "0644",
        ),
        (
            "/etc/systemd/system/bench-tmux@.service".into(),
            unit(&format!(
                "Type=forking\nRuntimeDirectory=bench-tmux/%i\n\
                 ExecStart=/usr/bin/tmux -f /dev/null -S /run/bench-tmux/%i/tmux new-session -d -s %i {child} tmux %i"
            )),
            "0644",
        ),
    ];
    let mut supervisord = "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n".to_owned();
    let mut apps = Vec::new();
    for name in CHILDREN {
        for rival in ["runit", "s6"] {
            let run = format!("#!/bin/sh\nexec {child} {rival} {name}\n");
            files.push((format!("{DIR}/{rival}/{name}/run"), run, "0755"));
        }
        supervisord.push_str(&format!(
            "[program:{name}]\ncommand={child} supervisord {name}\nautorestart=true\nuser=loops\n"
        ));
        apps.push(
            json!({ "name": name, "script": child, "interpreter": "none", "args": ["pm2", name], "autorestart": true }),
        );
    }
    files.push((format!("{DIR}/supervisord.conf"), supervisord, "0644"));
    files.push((format!("{DIR}/pm2.json"), json!({ "apps": apps }).to_string(), "0644"));
    files
}

/// What the measuring is to do.
fn plan(args: &SupervisorArgs, host: &Value) -> Value {
    let units = |rival: &str| -> Vec<String> {
        CHILDREN.iter().map(|name| format!("bench-{rival}@{name}.service")).collect()
    };
    let systemd = |rival: &str| {
        let argv = |verb: &str| {
            let head = ["systemctl".to_owned(), verb.to_owned()];
            head.into_iter().chain(units(rival)).collect::<Vec<_>>()
        };
        json!({ "name": rival, "units": [format!("bench-{rival}@*.service")],
                "start": [argv("start")], "stop": [argv("stop")] })
    };
    let service = |rival: &str, argv: &[&str]| {
        let unit = format!("bench-{rival}.service");
        let start = ["systemd-run", "--quiet", "--property=Type=exec", "--unit", &unit];
        let start = [&start[..], argv].concat();
        json!({ "name": rival, "units": [unit], "start": [start], "stop": [["systemctl", "stop", unit]] })
    };
    let pm2 = format!("{DIR}/npm/node_modules/.bin/pm2");
    let daemon = ["env", "PM2_HOME=/root/pm2", &pm2, "start", "--no-daemon", &format!("{DIR}/pm2.json")];
    let start = ["systemctl", "start", "ccorch-supervisor.service"];
    let rivals = json!([
        systemd("bare"),
        systemd("tmux"),
        { "name": "ccorch", "units": ["ccorch-supervisor.service"], "start": [start], "stop": [] },
        service("runit", &["runsvdir", "-P", &format!("{DIR}/runit")]),
        service("s6", &["s6-svscan", &format!("{DIR}/s6")]),
        service("supervisord", &["supervisord", "-c", &format!("{DIR}/supervisord.conf")]),
        service("pm2", &daemon),
    ]);
    let rigs: serde_json::Map<_, _> =
        args.growth.iter().map(|count| (count.to_string(), rig(&names(*count), host))).collect();
    json!({
        "rivals": rivals,
        "children": CHILDREN,
        "kills": args.kills,
        "idle": args.idle,
        "watch": args.watch,
        "growth": args.growth,
        "rigs": rigs,
    })
}

/// Puts the child and the rivals' files in place.
pub fn lay_out(instance: &Instance) -> Result<()> {
    for (path, text, mode) in files() {
        instance.push_file(text.as_bytes(), &path, mode, "root:root")?;
    }
    Ok(())
}

/// Measures; the result as the measuring wrote it.
pub fn measure(instance: &Instance, args: &SupervisorArgs, host: &Value) -> Result<String> {
    let measure = include_bytes!("measure.py");
    instance.push_file(measure, &place("measure.py"), "0644", "root:root")?;
    instance.push_file(plan(args, host).to_string().as_bytes(), &place("plan.json"), "0644", "root:root")?;
    let said =
        instance.exec(&["python3", &place("measure.py"), &place("plan.json"), &place("result.json")])?;
    if !said.status.success() {
        bail!("the measuring failed: {}", crate::run::tail(&said));
    }
    instance.read(&["cat", &place("result.json")]).context("no result of the measuring")
}

fn place(name: &str) -> String {
    Path::new(DIR).join(name).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rig_of_the_growth_is_one() {
        let host = json!({ "ssh": "root@192.0.2.1", "host_key": "ssh-ed25519 AAAA" });
        let rig = rig(&names(1000), &host);
        let parsed = ccorch_core::rig::parse(&rig.to_string());
        assert_eq!(parsed.unwrap().loops.len(), 1000);
    }

    #[test]
    fn every_rival_has_its_three_children() {
        let text: String = files().iter().map(|(path, text, _)| format!("{path}\n{text}\n")).collect();
        for name in CHILDREN {
            for rival in ["runit", "s6", "supervisord"] {
                assert!(text.contains(&format!("bench-child {rival} {name}\n")), "{rival} {name}");
            }
            assert!(text.contains(&format!(r#""args":["pm2","{name}"]"#)), "{text}");
        }
    }
}
