//! Tests written in Nix: a file evaluates to how many cases it has and which of them failed.

use anyhow::{Result, bail};
use serde_json::Value;

use super::Outcome;
use super::tool::Nix;

/// Runs a file of cases.
pub fn cases(nix: &Nix, file: &str, arguments: &[(&str, String)]) -> Result<Outcome> {
    Ok(Outcome::Passed(judge(file, &nix.eval(file, arguments)?)?))
}

/// Says how many cases hold.
///
/// # Errors
/// When one does not, or when there is none.
pub fn judge(file: &str, result: &Value) -> Result<String> {
    let failed: Vec<&str> =
        result["failed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match result["count"].as_u64() {
        None | Some(0) => bail!("{file} has no case"),
        Some(count) if failed.is_empty() && result["failed"].is_array() => {
            Ok(format!("{count} cases of {file}"))
        }
        Some(count) => bail!("{file}: {} of {count} cases failed:\n  {}", failed.len(), failed.join("\n  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failed_case_is_named() {
        assert!(judge("t.nix", &json!({ "count": 2, "failed": [] })).is_ok());
        let error = judge("t.nix", &json!({ "count": 2, "failed": ["the sky is green"] })).unwrap_err();
        assert!(error.to_string().contains("the sky is green"), "{error}");
        assert!(judge("t.nix", &json!({ "count": 0, "failed": [] })).is_err());
        assert!(judge("t.nix", &json!({ "count": 2 })).is_err());
    }
}
