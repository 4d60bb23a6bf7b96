//! What runs the rig's proxy: from the rig file to an argv and what must be there before.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::rig::{Backend, Proxy};

/// The name under which `proxy.host_key` is pinned, so that no entry of another known_hosts file can stand in.
const KEY_ALIAS: &str = "ccorch-proxy";
/// The credential's name in `ccorch-proxy.service`.
const CREDENTIAL: &str = "identity";

/// Why the rig's `proxy` cannot be run; each text names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProxy {
    /// `listen` is no address with a port.
    #[error("proxy.listen: `{0}` is not an address with a port like `127.0.0.1:1055` or `[::1]:1055`")]
    Listen(String),
    /// Anybody on the network could use it.
    #[error("proxy.listen: `{0}` is not a loopback address; everybody who reaches it could use the proxy")]
    Open(SocketAddr),
    /// `backend: ssh` without a destination.
    #[error("proxy.ssh: `backend: ssh` needs a destination like `user@host`")]
    NoDestination,
    /// The destination would be read as an option or as several words.
    #[error("proxy.ssh: `{0}` is not an ssh destination like `user@host`")]
    Destination(String),
    /// The key is no public key line.
    #[error("proxy.host_key: expected one public key like `ssh-ed25519 AAAA...`")]
    HostKey,
    /// The identity is no absolute path.
    #[error("proxy.identity: `{0}` is not an absolute path on the host")]
    Identity(String),
}

/// Where the backend keeps and finds its files on the host.
#[derive(Debug, Clone)]
pub struct Places {
    /// Gone after a reboot: the pinned host key, tailscaled's control socket.
    pub runtime: PathBuf,
    /// Kept over reboots: tailscaled's node key.
    pub state: PathBuf,
    /// Host keys this host may trust, for an ssh backend without `host_key`.
    pub known_hosts: PathBuf,
    /// `$CREDENTIALS_DIRECTORY`, where systemd put the identity for a service user that may not read the file itself.
    pub credentials: Option<PathBuf>,
}

/// What `ccorch proxy run` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The rig has no proxy.
    Nothing,
    /// Become this program.
    Run(Program),
}

/// A program to become, and what must be there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Folders it needs, 0700.
    pub folders: Vec<PathBuf>,
    /// A file it needs, with its content; nothing in it is secret.
    pub file: Option<(PathBuf, String)>,
}

/// The address the proxy listens on; only a loopback address is accepted.
pub fn listen(proxy: &Proxy) -> Result<SocketAddr, BadProxy> {
    let address: SocketAddr = proxy.listen.parse().map_err(|_| BadProxy::Listen(proxy.listen.clone()))?;
    if !address.ip().is_loopback() {
        return Err(BadProxy::Open(address));
    }
    if address.port() == 0 { Err(BadProxy::Listen(proxy.listen.clone())) } else { Ok(address) }
}

/// What runs the proxy.
pub fn plan(proxy: &Proxy, places: &Places) -> Result<Plan, BadProxy> {
    Ok(match proxy.backend {
        Backend::None => Plan::Nothing,
        Backend::Tailscaled => Plan::Run(tailscaled(listen(proxy)?, places)),
        Backend::Ssh => Plan::Run(ssh(proxy, listen(proxy)?, places)?),
    })
}

/// `tailscaled` beside any other on the machine: no tun device, own state and socket, no fixed UDP port.
/// Options: <https://tailscale.com/kb/1278/tailscaled> and <https://tailscale.com/kb/1112/userspace-networking>.
fn tailscaled(listen: SocketAddr, places: &Places) -> Program {
    let argv = vec![
        "tailscaled".into(),
        "--tun=userspace-networking".into(),
        format!("--socks5-server={listen}"),
        format!("--statedir={}", places.state.display()),
        format!("--socket={}", places.runtime.join("tailscaled.sock").display()),
        "--port=0".into(),
    ];
    Program { argv, folders: vec![places.runtime.clone(), places.state.clone()], file: None }
}

fn ssh(proxy: &Proxy, listen: SocketAddr, places: &Places) -> Result<Program, BadProxy> {
    let destination = proxy.ssh.as_deref().ok_or(BadProxy::NoDestination)?;
    let word = |c: char| !c.is_whitespace() && !c.is_control();
    if destination.is_empty() || destination.starts_with('-') || !destination.chars().all(word) {
        return Err(BadProxy::Destination(destination.into()));
    }
    let pinned = places.runtime.join("known_hosts");
    let mut options: Vec<String> = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        // Without the forward the process is useless: better to end and be restarted.
        "ExitOnForwardFailure=yes",
        // A peer that vanished is noticed after 45 s, whatever NAT in between forgot.
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "ConnectTimeout=10",
        // A shared connection of the user's own configuration would take the forward over and let this process end.
        "ControlMaster=no",
        "ControlPath=none",
        "ForwardAgent=no",
        "PermitLocalCommand=no",
    ]
    .map(Into::into)
    .into();
    match &proxy.host_key {
        Some(_) => options.extend([
            format!("HostKeyAlias={KEY_ALIAS}"),
            format!("UserKnownHostsFile={}", pinned.display()),
            "GlobalKnownHostsFile=/dev/null".into(),
            // A key learnt from DNS would be one that nobody pinned.
            "VerifyHostKeyDNS=no".into(),
        ]),
        None => {
            options.push(format!("UserKnownHostsFile={} ~/.ssh/known_hosts", places.known_hosts.display()))
        }
    }
    let mut argv: Vec<String> = ["ssh", "-N", "-T", "-D"].map(Into::into).into();
    argv.push(listen.to_string());
    argv.extend(options.into_iter().flat_map(|o| ["-o".into(), o]));
    if let Some(port) = proxy.port {
        argv.extend(["-p".into(), port.to_string()]);
    }
    if let Some(identity) = &proxy.identity {
        argv.extend(["-o".into(), "IdentitiesOnly=yes".into(), "-i".into()]);
        // ssh expands `%` in this option.
        argv.push(identity_path(identity, places)?.display().to_string().replace('%', "%%"));
    }
    argv.extend(["--".into(), destination.into()]);
    let file = proxy.host_key.as_deref().map(key_line).transpose()?.map(|line| (pinned, line));
    Ok(Program { argv, folders: vec![places.runtime.clone()], file })
}

fn identity_path(identity: &str, places: &Places) -> Result<PathBuf, BadProxy> {
    absolute(identity)?;
    Ok(places.credentials.as_ref().map_or_else(|| identity.into(), |dir| dir.join(CREDENTIAL)))
}

fn absolute(path: &str) -> Result<(), BadProxy> {
    let ok = Path::new(path).is_absolute() && !path.chars().any(char::is_control);
    if ok { Ok(()) } else { Err(BadProxy::Identity(path.into())) }
}

/// One line of a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): type and key, the comment left out.
fn key_line(key: &str) -> Result<String, BadProxy> {
    let words: Vec<&str> = key.split_whitespace().collect();
    let base64 = |w: &str| w.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    match words[..] {
        [kind, body, ..] if !key.trim().contains('\n') && body.starts_with("AAAA") && base64(body) => {
            Ok(format!("{KEY_ALIAS} {kind} {body}\n"))
        }
        _ => Err(BadProxy::HostKey),
    }
}

/// The drop-in of `ccorch-proxy.service` that hands the identity, which only root can read, to the service's own user.
/// `None` where there is no identity.
pub fn drop_in(proxy: &Proxy) -> Result<Option<String>, BadProxy> {
    let Some(identity) = proxy.identity.as_deref().filter(|_| proxy.backend == Backend::Ssh) else {
        return Ok(None);
    };
    absolute(identity)?;
    // systemd expands `%` there.
    Ok(Some(format!("[Service]\nLoadCredential={CREDENTIAL}:{}\n", identity.replace('%', "%%"))))
}

#[cfg(test)]
mod tests {
    use indoc::indoc;

    use super::*;

    fn proxy(yaml: &str) -> Proxy {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn places() -> Places {
        Places {
            runtime: "/run/ccorch-proxy".into(),
            state: "/var/lib/ccorch-proxy".into(),
            known_hosts: "/etc/ccorch/known_hosts".into(),
            credentials: None,
        }
    }

    fn program(yaml: &str, places: &Places) -> Program {
        match plan(&proxy(yaml), places).unwrap() {
            Plan::Run(program) => program,
            Plan::Nothing => panic!("nothing to run"),
        }
    }

    #[test]
    fn tailscaled_shares_nothing_with_the_one_of_the_system() {
        insta::assert_snapshot!(program("{ backend: tailscaled }", &places()).argv.join(" "), @"tailscaled --tun=userspace-networking --socks5-server=127.0.0.1:1055 --statedir=/var/lib/ccorch-proxy --socket=/run/ccorch-proxy/tailscaled.sock --port=0");
    }

    #[test]
    fn ssh_with_a_pinned_key_knows_no_other() {
        let yaml = indoc! {"
            backend: ssh
            ssh: jump@b1
            port: 2222
            listen: '[::1]:1080'
            identity: /etc/ccorch/100%/id
            host_key: ssh-ed25519 AAAAC3Nz somebody's comment
        "};
        let program = program(yaml, &places());
        insta::assert_snapshot!(program.argv.join(" ").replace(" -o ", "\n-o "), @r"
        ssh -N -T -D [::1]:1080
        -o BatchMode=yes
        -o StrictHostKeyChecking=yes
        -o UpdateHostKeys=no
        -o ExitOnForwardFailure=yes
        -o ServerAliveInterval=15
        -o ServerAliveCountMax=3
        -o ConnectTimeout=10
        -o ControlMaster=no
        -o ControlPath=none
        -o ForwardAgent=no
        -o PermitLocalCommand=no
        -o HostKeyAlias=ccorch-proxy
        -o UserKnownHostsFile=/run/ccorch-proxy/known_hosts
        -o GlobalKnownHostsFile=/dev/null
        -o VerifyHostKeyDNS=no -p 2222
        -o IdentitiesOnly=yes -i /etc/ccorch/100%%/id -- jump@b1
        ");
        let (path, text) = program.file.unwrap();
        assert_eq!(path, Path::new("/run/ccorch-proxy/known_hosts"));
        assert_eq!(text, "ccorch-proxy ssh-ed25519 AAAAC3Nz\n");
    }

    #[test]
    fn a_service_user_gets_the_identity_from_systemd() {
        let yaml = "{ backend: ssh, ssh: b1, identity: /etc/ccorch/100%/id }";
        let credentials = Some("/run/credentials/ccorch-proxy.service".into());
        let argv = program(yaml, &Places { credentials, ..places() }).argv;
        assert!(argv.contains(&"/run/credentials/ccorch-proxy.service/identity".into()), "{argv:?}");
        let unit = drop_in(&proxy(yaml)).unwrap();
        assert_eq!(unit.as_deref(), Some("[Service]\nLoadCredential=identity:/etc/ccorch/100%%/id\n"));
        assert_eq!(drop_in(&proxy("{ backend: ssh, ssh: b1 }")).unwrap(), None);
        assert_eq!(drop_in(&proxy("{ backend: tailscaled, identity: /x }")).unwrap(), None);
    }

    #[test]
    fn no_proxy_is_a_plan_too() {
        assert_eq!(plan(&Proxy::default(), &places()), Ok(Plan::Nothing));
    }

    #[test]
    fn what_cannot_be_run_names_its_key() {
        let cases = [
            ("{ backend: ssh }", "proxy.ssh"),
            ("{ backend: ssh, ssh: '-oProxyCommand=reboot' }", "proxy.ssh"),
            ("{ backend: ssh, ssh: 'b1 reboot' }", "proxy.ssh"),
            ("{ backend: ssh, ssh: b1, host_key: b1.pub }", "proxy.host_key"),
            ("{ backend: ssh, ssh: b1, host_key: \"ssh-rsa AAAA\\n* ssh-rsa AAAB\" }", "proxy.host_key"),
            ("{ backend: ssh, ssh: b1, identity: id_ed25519 }", "proxy.identity"),
            ("{ backend: ssh, ssh: b1, identity: \"/a\\nUser=root\" }", "proxy.identity"),
            ("{ backend: tailscaled, listen: '0.0.0.0:1055' }", "proxy.listen"),
            ("{ backend: tailscaled, listen: 'localhost' }", "proxy.listen"),
            ("{ backend: tailscaled, listen: '127.0.0.1:0' }", "proxy.listen"),
        ];
        for (yaml, key) in cases {
            let error = plan(&proxy(yaml), &places()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key}: ")), "{yaml}: {error}");
        }
    }
}
