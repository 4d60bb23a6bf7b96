//! The git host: bare repositories over ssh, and a lease that agents cannot push to.

use anyhow::Result;
use indoc::formatdoc;

use super::keys::Keys;
use crate::bed::Instance;

/// Two accounts that can do nothing but git: `git` for the work, `lease` for
/// the lease. The operator's key opens both, the agents' and the hosts' one each.
pub fn set_up(git: &Instance, keys: &Keys) -> Result<String> {
    let accounts = [("git", &keys.loops, "orchestrator cc-ci"), ("lease", &keys.lease, "lease")];
    for (account, key, repositories) in accounts {
        let allowed = format!("restrict {}\nrestrict {}\n", key.public, keys.operator.public);
        git.script(&formatdoc! {"
            useradd --create-home --shell /usr/bin/git-shell {account}
            install -d -m 755 /srv/git /srv/git/ci
            for name in {repositories}; do
                # Closed to the other account: the lease can be neither read nor guessed there.
                install -d -m 700 -o {account} -g {account} /srv/git/ci/$name.git
                runuser -u {account} -- git init --quiet --bare --initial-branch=main /srv/git/ci/$name.git
            done
        "})?;
        git.push_file(
            allowed.as_bytes(),
            &format!("/home/{account}/.ssh/authorized_keys"),
            "0644",
            "root:root",
        )?;
    }
    Ok("accounts git and lease, three repositories".to_owned())
}
