//! What the agent program says when it cannot go on: a plan limit, throttling, an expired login, another API error.
//!
//! A text counts only when all of it is such a message: a head that is known in its shape, then nothing but a reset
//! time and the program's own advice. So `5-hour limit reached ∙ resets 5am` is a limit and `the log says: 5-hour
//! limit reached ∙ resets 5am` is not. Heads are matched by their words, not letter by letter, because the wording
//! changes every few months. Seen in versions 1.0 to 2.1.2 of Claude Code and in public reports of 2025 and 2026.

use super::reset::Reset;

/// A message of the agent program about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The plan, a budget or a credit is used up.
    Limited {
        /// When it is there again, if it was said in a form that is understood.
        reset: Option<Reset>,
        /// Every loop on the account is in the same place; false for the limit of one model.
        account_wide: bool,
    },
    /// The server asks for a pause of seconds or minutes; the plan is not used up.
    Throttled,
    /// Nothing goes on before a person has logged in.
    LoginNeeded,
    /// The turn ended by another error of the API.
    Failed,
    /// The agent tries again by itself.
    Retrying,
    /// A limit is near. Work goes on.
    Warning,
}

/// Longer texts are no messages of the program: they are answers.
const LONGEST: usize = 900;

/// Reads a whole text; none when it is not wholly such a message.
pub fn read(text: &str) -> Option<Message> {
    let text = normal(text);
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    warning(&lower).or_else(|| login(&lower)).or_else(|| api_error(&lower)).or_else(|| limited(&text, &lower))
}

/// One kind of separator and apostrophe, single spaces.
fn normal(text: &str) -> String {
    let same = |c: char| match c {
        '∙' | '•' | '⋅' | '・' => '·',
        '’' | '‘' | 'ʼ' => '\'',
        c => c,
    };
    let text: String = text.chars().map(same).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn warning(text: &str) -> Option<Message> {
    let near = text.starts_with("approaching ") && text.contains(" limit");
    let used = text.strip_prefix("you've used ").and_then(|rest| rest.split_once('%'));
    let used = used.is_some_and(|(n, rest)| {
        n.bytes().all(|b| b.is_ascii_digit() || b == b'.') && rest.starts_with(" of your ")
    });
    let whole = text.len() < 160 && !text.contains(['"', '`']);
    (whole && (near || used)).then_some(Message::Warning)
}

/// What may stand before `· Please run /login`.
const LOGIN: [&str; 14] = [
    "login expired",
    "login required",
    "invalid api key",
    "missing api key",
    "not logged in",
    "session expired",
    "authentication failed",
    "authentication error",
    "oauth token has expired",
    "oauth token expired",
    "oauth token revoked",
    "oauth authentication is currently not supported",
    "your account does not have access to claude",
    "credentials expired",
];

fn login(text: &str) -> Option<Message> {
    let text = text.trim_end_matches('.');
    let (head, advice) = text.rsplit_once(" · ")?;
    let head = head.strip_prefix("api error: ").unwrap_or(head);
    let asks = advice == "please run /login" || advice.starts_with("fix external api key");
    let known = LOGIN.iter().any(|known| head.strip_prefix(known).is_some_and(|rest| rest.len() < 60))
        || head.starts_with("401 ")
        || head.starts_with("403 ")
        || head.starts_with("your organization has disabled ");
    (asks && known).then_some(Message::LoginNeeded)
}

fn api_error(text: &str) -> Option<Message> {
    let bare = ["529 overloaded", "overloaded_error", "overloaded", "529 overloaded_error"];
    if bare.contains(&text.trim_end_matches('.')) {
        return Some(Message::Throttled);
    }
    let rest = match text.strip_prefix("api error") {
        Some(rest) if rest.starts_with([':', ' ']) => rest.trim_start_matches([':', ' ', '(']),
        _ => text,
    };
    let throttled = ["server is temporarily limiting requests", "request rejected (429)", "repeated 529 "];
    if throttled.iter().any(|head| rest.starts_with(head)) && short(rest) {
        return Some(Message::Throttled);
    }
    if rest.len() == text.len() {
        return None;
    }
    let code = rest.split([' ', ')', '.']).next().unwrap_or_default();
    Some(match code {
        "529" | "429" | "overloaded" | "rate" => Message::Throttled,
        "401" | "403" if rest.contains("authentication_error") || rest.contains("oauth") => {
            Message::LoginNeeded
        }
        _ if rest.contains("· retrying in ") => Message::Retrying,
        _ => Message::Failed,
    })
}

/// Short enough for the program's own words after a known head.
fn short(text: &str) -> bool {
    text.len() < 260
}

fn limited(text: &str, lower: &str) -> Option<Message> {
    let (head, tail) = heads(lower)?;
    let kind = head.trim();
    let model = ["opus", "sonnet", "haiku", "fable"].iter().any(|m| kind.split(' ').any(|word| word == *m));
    let mut reset = None;
    for clause in clauses(text.get(lower.len() - tail.len()..)?) {
        match part(clause)? {
            Part::Time(time) => reset = reset.or(time),
            Part::Advice => {}
        }
    }
    Some(Message::Limited { reset, account_wide: !model })
}

/// Parts a limit message into what is limited and all that follows.
fn heads(lower: &str) -> Option<(&str, &str)> {
    for start in ["you've hit ", "you have hit ", "you've reached ", "you have reached "] {
        if let Some(rest) = lower.strip_prefix(start) {
            let rest = ["your ", "the "].iter().find_map(|word| rest.strip_prefix(word))?;
            let (kind, tail) = limit_word(rest)?;
            let tail = tail.strip_prefix(" for claude messages").unwrap_or(tail);
            return is_kind(kind).then_some((kind, tail));
        }
    }
    for start in [
        "you're out of extra usage",
        "out of extra usage",
        "credit balance is too low",
        "credit balance too low",
    ] {
        if let Some(tail) = lower.strip_prefix(start) {
            return Some(("", tail));
        }
    }
    let (kind, tail) = limit_word(lower)?;
    let tail = tail.strip_prefix(" reached").or_else(|| tail.strip_prefix(" exceeded"))?;
    (!kind.is_empty() && is_kind(kind)).then_some((kind, tail))
}

/// Up to and after the word `limit`.
fn limit_word(text: &str) -> Option<(&str, &str)> {
    let at = if text.starts_with("limit") { 0 } else { text.find(" limit")? + 1 };
    let tail = &text[at + "limit".len()..];
    Some((&text[..at], tail.strip_prefix('s').unwrap_or(tail)))
}

/// The words that name a plan's limit. Limits of other things (context, subagents, output, files) have other words.
fn is_kind(kind: &str) -> bool {
    const WORDS: [&str; 26] = [
        "claude",
        "ai",
        "code",
        "usage",
        "plan",
        "hour",
        "hourly",
        "five",
        "weekly",
        "week",
        "session",
        "daily",
        "monthly",
        "opus",
        "sonnet",
        "haiku",
        "fable",
        "max",
        "pro",
        "org's",
        "organization's",
        "team's",
        "spend",
        "spending",
        "account",
        "5h",
    ];
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    kind.split([' ', '-'])
        .filter(|word| !word.is_empty())
        .all(|word| WORDS.contains(&word) || is_number(word))
}

/// What follows the head, apart at separators and sentence ends.
fn clauses(tail: &str) -> impl Iterator<Item = &str> {
    tail.split(['·', '|'])
        .flat_map(|part| part.split(". "))
        .map(|c| c.trim().trim_end_matches('.').trim())
        .filter(|c| !c.is_empty() && *c != "-" && *c != "—")
}

enum Part {
    Time(Option<Reset>),
    Advice,
}

fn part(clause: &str) -> Option<Part> {
    let clause = clause.trim_start_matches(['-', '—', '–', ' ', ',']);
    let lower = clause.to_ascii_lowercase();
    if clause.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Part::Time(Some(Reset::parse(clause)?)));
    }
    let subject = ["your limits ", "your limit ", "the limit ", "limits ", "limit ", "it ", "usage "];
    let rest = subject.iter().find_map(|s| lower.strip_prefix(s)).unwrap_or(&lower);
    for verb in ["will reset ", "resets ", "reset ", "try again "] {
        if let Some(rest) = rest.strip_prefix(verb) {
            let (time, advice) = without_advice(clause.get(lower.len() - rest.len()..)?);
            let reset = Reset::parse(time);
            // A new way to write a time is still a limit; a whole sentence is not.
            let fits = reset.is_some()
                || (advice.is_none() && time.split(' ').count() <= 4 && !time.contains(['"', '`', '(']));
            return fits.then_some(Part::Time(reset));
        }
    }
    is_advice(&lower).then_some(Part::Advice)
}

/// Advice may follow a time on the next line, without a separator.
fn without_advice(text: &str) -> (&str, Option<&str>) {
    match text.find(" /") {
        Some(at) if is_advice(&text[at + 1..].to_ascii_lowercase()) => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    }
}

/// What the program itself advises.
fn is_advice(clause: &str) -> bool {
    const COMMANDS: [&str; 7] =
        ["/upgrade", "/login", "/extra-usage", "/rate-limit-options", "/model", "/usage", "/status"];
    const STARTS: [&str; 11] = [
        "upgrade",
        "view your usage",
        "contact your admin",
        "ask your admin",
        "contact an admin",
        "add funds",
        "add credits",
        "try again later",
        "please try again",
        "turn on extra usage",
        "now using extra usage",
    ];
    let command =
        COMMANDS.iter().any(|c| clause.strip_prefix(c).is_some_and(|r| r.is_empty() || r.starts_with(' ')));
    clause.len() < 160 && (command || STARTS.iter().any(|start| clause.starts_with(start)))
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
