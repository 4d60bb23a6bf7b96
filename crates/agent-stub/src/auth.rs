//! `auth status`: a login exists when its file does.

use anyhow::Result;
use serde_json::json;

use crate::paths;

/// Prints the login as JSON; the exit code is 1 when there is none.
pub(crate) fn status() -> Result<u8> {
    let logged_in = paths::credentials()?.exists();
    let method = if logged_in { "claude.ai" } else { "none" };
    let answer = json!({"loggedIn": logged_in, "authMethod": method, "apiProvider": "firstParty"});
    println!("{}", serde_json::to_string_pretty(&answer)?);
    Ok(if logged_in { 0 } else { 1 })
}
