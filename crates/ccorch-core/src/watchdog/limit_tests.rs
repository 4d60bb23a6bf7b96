//! Messages of the program, texts that only speak about them, and what holds for all texts.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::reset::tests::resets;
use super::*;

fn limit(text: &str) -> (Option<String>, bool) {
    match read(text) {
        Some(Message::Limited { reset, account_wide }) => (reset.map(|r| r.to_string()), account_wide),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn limits_of_every_wording() {
    for (text, reset) in [
        ("5-hour limit reached ∙ resets 5am", Some("5am")),
        ("5-hour limit reached · resets 5am", Some("5am")),
        (
            "Claude usage limit reached. Your limit will reset at 5pm (Europe/Warsaw).",
            Some("5pm (Europe/Warsaw)"),
        ),
        ("Claude usage limit reached. Your limit will reset at Oct 6, 1pm.", Some("Oct 6 at 1pm")),
        ("Claude AI usage limit reached|1755806400", Some("1755806400")),
        (
            "Weekly limit reached ∙ resets Oct 9 at 5:15pm (America/New_York)",
            Some("Oct 9 at 5:15pm (America/New_York)"),
        ),
        ("You've hit your session limit · resets 4:20pm (Asia/Tbilisi)", Some("4:20pm (Asia/Tbilisi)")),
        (
            "You've hit your limit · resets Jan 18, 11:30am (Asia/Calcutta)",
            Some("Jan 18 at 11:30am (Asia/Calcutta)"),
        ),
        (
            "You’ve hit your limit for Claude messages. Limits will reset at 9:30 AM. View your usage details.",
            Some("9:30am"),
        ),
        (
            "You've hit your weekly limit · resets 4am (Europe/Madrid)\n/upgrade to increase your usage limit.",
            Some("4am (Europe/Madrid)"),
        ),
        ("You're out of extra usage · resets 3pm (Europe/Paris)", Some("3pm (Europe/Paris)")),
        ("Session limit reached ∙ resets 11pm", Some("11pm")),
        ("5-hour limit reached", None),
        ("You've hit your limit · resets next full moon", None),
        ("You've hit your org's monthly usage limit · contact your admin", None),
        ("Credit balance is too low", None),
    ] {
        assert_eq!(limit(text), (reset.map(str::to_owned), true), "{text}");
    }
    assert_eq!(
        limit("Opus weekly limit reached ∙ resets Oct 31, 9am"),
        (Some("Oct 31 at 9am".into()), false)
    );
}

#[test]
fn what_is_no_plan_limit() {
    for (text, expected) in [
        ("Approaching usage limit · resets 7pm", Message::Warning),
        ("Approaching Opus usage limit · /model to use best available model", Message::Warning),
        ("You've used 91% of your session limit · resets 7pm", Message::Warning),
        (
            "API Error: Server is temporarily limiting requests (not your usage limit) · Rate limited",
            Message::Throttled,
        ),
        ("529 overloaded", Message::Throttled),
        ("API Error: Repeated 529 Overloaded errors", Message::Throttled),
        ("API Error: Request rejected (429) · this may be a temporary capacity issue.", Message::Throttled),
        (
            r#"API Error (529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}) · Retrying in 4 seconds… (attempt 4/10)"#,
            Message::Throttled,
        ),
        ("API Error (Request timed out.) · Retrying in 8 seconds… (attempt 5/10)", Message::Retrying),
        ("API Error: 500 Internal server error", Message::Failed),
        ("API Error: Connection error.", Message::Failed),
        ("Login expired · Please run /login", Message::LoginNeeded),
        ("Invalid API key · Please run /login", Message::LoginNeeded),
        ("Not logged in · Please run /login", Message::LoginNeeded),
        (
            r#"API Error: 401 {"type":"error","error":{"type":"authentication_error","message":"OAuth token has expired."}} · Please run /login"#,
            Message::LoginNeeded,
        ),
    ] {
        assert_eq!(read(text), Some(expected), "{text}");
    }
}

#[test]
fn texts_about_limits_are_no_messages() {
    for text in [
        "",
        "The log says: 5-hour limit reached ∙ resets 5am",
        "\"5-hour limit reached ∙ resets 5am\"",
        "5-hour limit reached ∙ resets 5am is what the test prints",
        "5-hour limit reached ∙ resets 5am and then it goes on with the next file as if nothing was",
        "+ 5-hour limit reached ∙ resets 5am",
        "src/limit.rs:12: You've hit your session limit · resets 4:20pm",
        "42 You've hit your session limit · resets 4:20pm",
        "Context limit reached · /compact or /clear to continue",
        "Concurrent subagent limit reached · do not retry",
        "Memory limit reached · resets 5am",
        "File size limit exceeded",
        "You've hit your head · resets 5am",
        "You've hit your session limit in three tests",
        "5-hour limit reached. I will handle that case next.",
        "Overloaded operators are listed below",
        "Please run /login",
        "The agent prints: Login expired · Please run /login",
        "You've used 91% of the disk",
        "limit reached",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn every_limit_is_read_with_its_time(
        reset in resets(),
        (before, after) in select(vec![
            ("5-hour limit reached ∙ resets ", ""),
            ("5-hour limit reached · resets ", ""),
            ("Weekly limit reached ∙ resets ", ""),
            ("Claude usage limit reached. Your limit will reset at ", "."),
            ("You've hit your session limit · resets ", ""),
            ("You've hit your limit · resets ", "\n     /upgrade to increase your usage limit."),
            ("You’ve hit your weekly limit · resets ", " · /extra-usage to finish what you're working on"),
        ]),
    ) {
        let text = format!("{before}{reset}{after}");
        prop_assert_eq!(read(&text), Some(Message::Limited { reset: Some(reset), account_wide: true }), "{}", text);
    }

    #[test]
    fn no_text_is_too_much(text in "\\PC{0,200}", cut in 0..80usize) {
        let _ = read(&text);
        // Part of a real one, at any character.
        let real: String = "You’ve hit your session limit ∙ resets Oct 9 at 5:15pm (America/New_York)".chars().take(cut).collect();
        let _ = read(&format!("{real}{text}"));
        let _ = read(&format!("{text}{real}"));
    }
}
