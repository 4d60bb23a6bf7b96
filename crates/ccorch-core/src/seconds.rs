//! Durations as people write them in the rig file: `90s`, `20m`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A non-negative duration in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seconds(pub u64);

impl Seconds {
    /// The same as a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl TryFrom<String> for Seconds {
    type Error = String;
    fn try_from(given: String) -> Result<Self, String> {
        given.parse()
    }
}

impl std::str::FromStr for Seconds {
    type Err = String;
    fn from_str(given: &str) -> Result<Self, String> {
        let parsed: SignedDuration =
            given.parse().map_err(|_| format!("`{given}` is not a duration like `90s`, `20m` or `1h30m`"))?;
        u64::try_from(parsed.as_secs()).map(Self).map_err(|_| format!("duration `{given}` is negative"))
    }
}

impl From<Seconds> for String {
    fn from(seconds: Seconds) -> String {
        seconds.to_string()
    }
}

impl fmt::Display for Seconds {
    /// The largest units first, zero units left out: `1h 30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.0 / 3_600, "h"), (self.0 / 60 % 60, "m"), (self.0 % 60, "s")];
        let text: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
        f.pad(&if text.is_empty() { "0s".into() } else { text.join(" ") })
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a duration like `90s`, `20m` or `1h30m`" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_durations_in_many_ways() {
        for (text, seconds) in [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1h 30m", 5400), ("0s", 0)] {
            assert_eq!(text.parse(), Ok(Seconds(seconds)), "{text}");
        }
        for bad in ["", "90", "-5s", "soon"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for seconds in [0, 59, 60, 3600, 5400, 86_400] {
            assert_eq!(Seconds(seconds).to_string().parse(), Ok(Seconds(seconds)), "{}", Seconds(seconds));
        }
    }
}
