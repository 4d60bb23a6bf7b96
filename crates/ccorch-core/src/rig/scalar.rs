//! What a plain scalar means: the YAML 1.2 core schema (<https://yaml.org/spec/1.2.2/#103-core-schema>).

use super::tree::{Node, Value};

/// A value by kind, as messages and the schema name it.
#[derive(Debug, PartialEq)]
pub(super) enum Kind<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Float(&'a str),
    Text(&'a str),
    List,
    Map,
}

impl<'a> Kind<'a> {
    /// What a node is.
    pub fn of(node: &'a Node) -> Self {
        match &node.value {
            Value::List(_) => Self::List,
            Value::Map(_) => Self::Map,
            Value::Scalar { text, plain: true } => plain(text),
            Value::Scalar { text, plain: false } => Self::Text(text),
        }
    }

    /// What was found, for a message.
    pub fn found(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(true) => "`true`",
            Self::Bool(false) => "`false`",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List => "a list",
            Self::Map => "a mapping",
        }
    }
}

fn plain(text: &str) -> Kind<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    if let Some(int) = integer(text) {
        return Kind::Int(int);
    }
    let bare = text.trim_start_matches(['-', '+']);
    let numeric = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && bare.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && text.parse::<f64>().is_ok();
    let special = matches!(bare, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN");
    if numeric || special { Kind::Float(text) } else { Kind::Text(text) }
}

fn integer(text: &str) -> Option<i128> {
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8);
    }
    let negative = text.starts_with('-');
    let bare = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits(bare, 10).map(|n| if negative { -n } else { n })
}

/// Digits alone: no second sign, and a number too long to hold is the largest there is, out of every range.
fn digits(text: &str, radix: u32) -> Option<i128> {
    let all = !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    all.then(|| i128::from_str_radix(text, radix).unwrap_or(i128::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, kind) in [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("true", Kind::Bool(true)),
            ("yes", Kind::Text("yes")),
            ("0600", Kind::Int(600)),
            ("0o17", Kind::Int(15)),
            ("0x1f", Kind::Int(31)),
            ("-3", Kind::Int(-3)),
            ("+-3", Kind::Text("+-3")),
            ("1.5", Kind::Float("1.5")),
            ("1e3", Kind::Float("1e3")),
            (".inf", Kind::Float(".inf")),
            ("1d", Kind::Text("1d")),
            ("127.0.0.1", Kind::Text("127.0.0.1")),
            ("99999999999999999999999999999999999999999999", Kind::Int(i128::MAX)),
        ] {
            assert_eq!(plain(text), kind, "{text}");
        }
    }
}
