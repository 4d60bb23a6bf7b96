//! Names that must not be mixed up: each kind is a type of its own, checked where it enters. A copy is cheap.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Why a name is refused; the text says what is allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{kind} name `{given}` is not allowed: 1 to {max} characters of a-z, 0-9 and `-`, not starting with `-`"
)]
pub struct BadName {
    /// Which kind of name: `rig`, `host` or `loop`.
    pub kind: &'static str,
    /// The name as given.
    pub given: String,
    /// The longest name of this kind, in characters.
    pub max: usize,
}

/// `[a-z0-9][a-z0-9-]{0,max-1}`: safe in a unit instance name, a path, a ref name and a shell word.
fn check(kind: &'static str, max: usize, given: String) -> Result<String, BadName> {
    let ok = (1..=max).contains(&given.len())
        && !given.starts_with('-')
        && given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if ok { Ok(given) } else { Err(BadName { kind, given, max }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $max:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The pattern every such name matches, as a regular expression.
            pub const PATTERN: &'static str = $pattern;

            /// Checks and wraps a name.
            pub fn new(given: impl Into<String>) -> Result<Self, BadName> {
                check($kind, $max, given.into()).map(|name| Self(name.into()))
            }

            /// The bare name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadName;
            fn try_from(given: String) -> Result<Self, BadName> {
                Self::new(given)
            }
        }

        impl std::str::FromStr for $type {
            type Err = BadName;
            fn from_str(given: &str) -> Result<Self, BadName> {
                Self::new(given)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.as_str().into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

name!(
    /// The name of a rig: it names the lease ref and the operator's state folder.
    RigName, "rig", 32, "^[a-z0-9][a-z0-9-]{0,31}$"
);
name!(
    /// A host as the rig file calls it; also the instance name where ccorch provisions it.
    HostName, "host", 63, "^[a-z0-9][a-z0-9-]{0,62}$"
);
name!(
    /// A loop: the instance of `ccorch-loop@NAME.service`.
    LoopName, "loop", 32, "^[a-z0-9][a-z0-9-]{0,31}$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_lower_case_and_never_an_option() {
        for good in ["a", "builder", "cc-ci", "0", &"x".repeat(32)] {
            assert!(LoopName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "a/b", "ä", "a@b", &"x".repeat(33)] {
            assert!(LoopName::new(bad).is_err(), "{bad}");
        }
    }
}
