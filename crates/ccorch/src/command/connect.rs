//! `ccorch connect`: a ProxyCommand through the rig's proxy, so that no host needs the right flavour of `nc`.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ccorch_core::seconds::Seconds;
use ccorch_core::target::Target;
use ccorch_io::socks::SocksError;
use ccorch_io::{relay, socks};

use super::proxy;
use crate::context::Context;

/// Connect standard input and output to HOST:PORT through the rig's proxy
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: ssh -o ProxyCommand='ccorch connect %h %p' root@b1")]
pub struct Args {
    /// The host; a name is resolved on the proxy's far side
    host: String,
    /// The port
    port: u16,
    /// The proxy's address [default: the rig's `proxy.listen`]
    #[arg(long, value_name = "ADDRESS:PORT")]
    proxy: Option<SocketAddr>,
    /// The longest the connection may take to come about
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    timeout: Seconds,
}

/// Runs the verb.
pub fn run(context: &Context, args: &Args) -> Result<ExitCode> {
    let target = Target::new(&args.host, args.port)?;
    let proxy = proxy::address(context, args.proxy)?;
    let stream = socks::connect(proxy, &target, args.timeout.duration())?;
    let relayed =
        relay::standard_streams(stream).with_context(|| format!("{target} through proxy {proxy}"))?;
    // Some proxies say yes before they have tried.
    if relayed.received == 0 && !relayed.input_ended {
        return Err(SocksError::TargetClosed { proxy, target }.into());
    }
    Ok(ExitCode::SUCCESS)
}
