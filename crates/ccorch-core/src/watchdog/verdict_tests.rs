//! Verdicts over structured signals, alone and against the screen; what holds for all evidence.

use proptest::prelude::*;

use super::*;

const BOX: &str = "\n╭────────────╮\n│ >          │\n╰────────────╯\n  builder\n";
const NOW: &str = "2026-06-01T10:00:00Z";

fn evidence<'a>(hooks: &'a str, transcript: &'a str, screen: &'a str) -> Evidence<'a> {
    Evidence {
        hooks,
        transcript,
        screen,
        now: NOW.parse().unwrap(),
        seen_at: None,
        zone: TimeZone::UTC,
        stall_after: SignedDuration::from_mins(20),
        still: None,
    }
}

fn verdict(hooks: &str, transcript: &str, screen: &str) -> (Kind, Option<String>) {
    let verdict = decide(&evidence(hooks, transcript, screen));
    (verdict.verdict, verdict.until.map(|until| until.to_string()))
}

fn kind(hooks: &str, transcript: &str, screen: &str) -> Kind {
    verdict(hooks, transcript, screen).0
}

fn hook(at: &str, event: &str, more: &str) -> String {
    format!("{{\"at\":\"2026-06-01T{at}Z\",\"session_id\":\"s\",\"hook_event_name\":\"{event}\"{more}}}\n")
}

fn api_error(at: &str, error: &str, text: &str) -> String {
    format!(
        "{{\"type\":\"assistant\",\"isApiErrorMessage\":true,\"error\":\"{error}\",\"timestamp\":\"2026-06-01T{at}Z\",\
         \"message\":{{\"role\":\"assistant\",\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}}}\n"
    )
}

fn said(at: &str, text: &str) -> String {
    format!(
        "{{\"type\":\"assistant\",\"timestamp\":\"2026-06-01T{at}Z\",\
         \"message\":{{\"role\":\"assistant\",\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}}}\n"
    )
}

fn own(text: &str) -> String {
    format!("> go on\n  ⎿  {text}\n{BOX}")
}

#[test]
fn a_failed_turn_is_what_its_words_say() {
    let rate = hook("09:59:00", "StopFailure", ",\"error\":\"rate_limit\"");
    let limit = "You've hit your session limit · resets 4:20pm (Asia/Tbilisi)";
    let until = Some("2026-06-01T12:20:00Z".to_owned());
    assert_eq!(
        verdict(&rate, &api_error("09:59:00", "rate_limit", limit), ""),
        (Kind::Limited, until.clone())
    );
    assert_eq!(verdict("", &api_error("09:59:00", "rate_limit", limit), ""), (Kind::Limited, until.clone()));
    assert_eq!(verdict(&rate, "", &own(limit)), (Kind::Limited, until.clone()));
    // Newer versions print it like an answer; with the hook it is none.
    assert_eq!(verdict(&rate, "", &format!("● {limit}\n{BOX}")), (Kind::Limited, until));
    // The same error word: not a plan limit.
    let throttle = "API Error: Server is temporarily limiting requests (not your usage limit) · Rate limited";
    assert_eq!(kind(&rate, &api_error("09:59:00", "rate_limit", throttle), BOX), Kind::Throttled);
    assert_eq!(kind(&rate, "", &own(throttle)), Kind::Throttled);
    assert_eq!(verdict(&rate, "", BOX), (Kind::Limited, None));
    let login = hook("09:59:00", "StopFailure", ",\"error\":\"authentication_failed\"");
    assert_eq!(kind(&login, "", BOX), Kind::LoginNeeded);
    assert_eq!(kind(&login, "", &own("5-hour limit reached ∙ resets 5pm")), Kind::LoginNeeded);
    let other = hook("09:59:00", "StopFailure", ",\"error\":\"server_error\"");
    assert_eq!(kind(&other, "", BOX), Kind::Stalled);
    let waiting = hook("09:59:01", "Notification", ",\"message\":\"Claude is waiting for your input\"");
    assert_eq!(kind(&(login + &waiting), "", BOX), Kind::LoginNeeded);
}

#[test]
fn a_text_is_resolved_from_the_time_of_its_record() {
    let record = api_error("04:00:00", "rate_limit", "5-hour limit reached ∙ resets 5am");
    assert_eq!(verdict("", &record, BOX), (Kind::Limited, Some("2026-06-01T05:00:00Z".into())));
    assert!(decide(&evidence("", &record, BOX)).reason.contains("probe now"));
    // The reset is past and a turn visibly runs.
    let busy = format!("● ok\n\n✻ Thinking… (2s · esc to interrupt)\n{BOX}");
    assert_eq!(kind("", &record, &busy), Kind::Working);
}

#[test]
fn what_came_later_counts() {
    let failed = hook("08:00:00", "StopFailure", ",\"error\":\"rate_limit\"");
    let prompt = hook("09:58:00", "UserPromptSubmit", ",\"prompt\":\"go on\"");
    let stop = hook("09:59:00", "Stop", "");
    assert_eq!(kind(&(failed.clone() + &prompt), "", ""), Kind::Working);
    assert_eq!(kind(&(failed.clone() + &prompt + &stop), "", ""), Kind::Idle);
    // The hook that told of the failure was lost.
    let record = api_error("09:58:30", "rate_limit", "5-hour limit reached ∙ resets 5pm");
    assert_eq!(kind(&prompt, &record, ""), Kind::Limited);
    assert_eq!(kind(&(prompt + &stop), &record, ""), Kind::Idle);
}

#[test]
fn a_turn_that_ended_well_makes_the_screen_a_quotation() {
    let stop = hook("09:59:00", "Stop", "");
    let screen = own("5-hour limit reached ∙ resets 5pm");
    assert_eq!(kind("", "", &screen), Kind::Limited);
    assert_eq!(kind(&stop, "", &screen), Kind::Idle);
    let words = said("09:59:00", "It shows this. ⎿  5-hour limit reached ∙ resets 5pm");
    assert_eq!(kind("", &words, &screen), Kind::Idle);
    assert_eq!(kind("", &said("09:59:00", "Done."), &screen), Kind::Limited);
    assert_eq!(kind(&hook("09:50:00", "UserPromptSubmit", ""), "", &screen), Kind::Limited);
}

#[test]
fn rate_limit_events() {
    let event = |at: &str, status: &str| {
        format!(
            "{{\"type\":\"rate_limit_event\",\"at\":\"2026-06-01T{at}Z\",\"rate_limit_info\":\
             {{\"status\":\"{status}\",\"resetsAt\":1780322400,\"rateLimitType\":\"five_hour\"}}}}\n"
        )
    };
    let until = Some("2026-06-01T14:00:00Z".to_owned());
    assert_eq!(verdict("", &event("09:00:00", "rejected"), BOX), (Kind::Limited, until.clone()));
    assert_eq!(verdict(&event("09:00:00", "rejected"), "", ""), (Kind::Limited, until.clone()));
    assert_eq!(kind("", &event("09:00:00", "allowed"), BOX), Kind::Idle);
    assert_eq!(kind("", &(event("09:00:00", "rejected") + &event("09:01:00", "allowed")), BOX), Kind::Idle);
    assert_eq!(kind("", &(event("09:00:00", "rejected") + &said("09:30:00", "Done.")), BOX), Kind::Idle);
    assert_eq!(
        kind(&hook("09:30:00", "UserPromptSubmit", ""), &event("09:00:00", "rejected"), ""),
        Kind::Stalled
    );
    // It gives the time to a failure that has none; so does a status line.
    let rate = hook("09:59:00", "StopFailure", ",\"error\":\"rate_limit\"");
    assert_eq!(verdict(&rate, &event("09:58:00", "rejected"), BOX), (Kind::Limited, until.clone()));
    let status = "{\"rate_limits\":{\"five_hour\":{\"used_percentage\":100,\"resets_at\":1780322400},\
                  \"seven_day\":{\"used_percentage\":41.2,\"resets_at\":1780900000}}}\n";
    assert_eq!(verdict(&format!("{status}{rate}"), "", BOX), (Kind::Limited, until));
    assert_eq!(kind(status, "", BOX), Kind::Idle);
}

#[test]
fn an_open_turn_stalls_only_when_nothing_moves() {
    let old = hook("09:30:00", "PreToolUse", ",\"tool_name\":\"Bash\"");
    let busy = format!("● Bash(make)\n  ⎿  Running…\n\n✻ Baking… (31m 2s · esc to interrupt)\n{BOX}");
    assert_eq!(kind(&old, "", BOX), Kind::Stalled);
    assert_eq!(kind(&hook("09:45:00", "PreToolUse", ""), "", BOX), Kind::Working);
    assert_eq!(kind(&old, &said("09:55:00", "so far"), BOX), Kind::Working);
    // The spinner's own clock may move.
    assert_eq!(kind(&old, "", &busy), Kind::Working);
    let seen = |at: &str, hooks: &str| {
        let seen_at = Some(format!("2026-06-01T{at}Z").parse().unwrap());
        decide(&Evidence { seen_at, ..evidence(hooks, "", &busy) }).verdict
    };
    assert_eq!(seen("09:35:00", &old), Kind::Stalled);
    assert_eq!(seen("09:50:00", &old), Kind::Working);
    assert_eq!(seen("09:35:00", &hook("09:55:00", "PostToolUse", "")), Kind::Working);
    assert_eq!(seen("09:35:00", ""), Kind::Stalled);
}

#[test]
fn who_looked_all_the_while_is_believed_and_not_the_clock() {
    // Put forward by an hour in the middle of a tool's run, and put back by one.
    for at in ["09:00:00", "11:00:00"] {
        let still = |minutes| {
            let still = Some(SignedDuration::from_mins(minutes));
            decide(&Evidence { still, ..evidence(&hook(at, "PreToolUse", ""), "", BOX) }).verdict
        };
        assert_eq!((still(1), still(21)), (Kind::Working, Kind::Stalled), "{at}");
    }
    // A record of before the clock was put back is older than a hook of now.
    assert_eq!(kind(&hook("09:58:00", "Stop", ""), &said("10:40:00", "so far"), BOX), Kind::Idle);
    let open =
        "{\"type\":\"user\",\"message\":{\"content\":\"go\"},\"timestamp\":\"2026-06-01T10:40:00Z\"}\n";
    assert_eq!(kind(&hook("09:58:00", "Stop", ""), open, BOX), Kind::Idle);
    let by = SignedDuration::from_hours(-1);
    let moved = crate::watchdog::signals::read(&crate::watchdog::signals::shifted(open, by)).moved;
    assert_eq!(moved.unwrap().to_string(), "2026-06-01T09:40:00Z");
}

#[test]
fn a_dialog_holds_the_keyboard_whatever_the_verdict() {
    let menu = "> go on\n  ⎿  5-hour limit reached ∙ resets 5pm\n\n What do you want to do?\n\n \
                ❯ 1. Stop and wait for limit to reset\n   2. Upgrade your plan\n\n Enter to confirm · Esc to cancel\n";
    let alone = decide(&evidence("", "", menu));
    assert_eq!((alone.verdict, alone.keyboard), (Kind::Dialog, Some(DialogKind::LimitMenu)));
    assert!(alone.reason.starts_with("limit menu") && alone.until.is_some() && alone.account_wide);
    let rate = hook("09:59:00", "StopFailure", ",\"error\":\"rate_limit\"");
    let both = decide(&evidence(&rate, "", menu));
    assert_eq!((both.verdict, both.keyboard), (Kind::Limited, Some(DialogKind::LimitMenu)));
    assert_eq!(both.until.unwrap().to_string(), "2026-06-01T17:00:00Z");
    let asks = hook("09:59:00", "Notification", ",\"message\":\"Claude needs your permission to use Bash\"");
    assert_eq!(kind(&asks, "", ""), Kind::Dialog);
    assert_eq!(kind(&(asks + &hook("09:59:30", "PostToolUse", "")), "", ""), Kind::Working);
}

#[test]
fn torn_and_foreign_lines_are_passed_over() {
    let hooks =
        format!("not json\n[1]\n{}{{\"hook_event_name\":\"Sto", hook("09:59:00", "UserPromptSubmit", ""));
    assert_eq!(kind(&hooks, "{\"type\":42}\nnull\n\"x\"\n", ""), Kind::Working);
    let wrapped = "{\"at\":1780307940,\"payload\":{\"hook_event_name\":\"Stop\",\"session_id\":\"s\"}}";
    assert_eq!(kind(wrapped, "", ""), Kind::Idle);
    let side = api_error("09:59:00", "rate_limit", "5-hour limit reached").replacen(
        '{',
        "{\"isSidechain\":true,",
        1,
    );
    assert_eq!(kind("", &side, BOX), Kind::Idle);
    assert_eq!(kind("", "", ""), Kind::Unknown);
}

#[test]
fn the_json_has_the_promised_keys() {
    let value =
        serde_json::to_value(decide(&evidence("", "", &own("Login expired · Please run /login")))).unwrap();
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["verdict", "until", "account_wide", "reason", "evidence"]);
    assert_eq!((&value["verdict"], &value["until"]), (&"login-needed".into(), &serde_json::Value::Null));
}

proptest! {
    #[test]
    fn no_evidence_is_too_much(
        pieces in prop::collection::vec(prop_oneof![
            "\\PC{0,20}", Just("\n".to_owned()), Just("  ⎿  ".to_owned()), Just("● Bash(".to_owned()),
            Just("5-hour limit reached ∙ resets 5am".to_owned()), Just("╭────╮\n│ > ".to_owned()),
            Just("╰────╯\n".to_owned()), Just(" ❯ 1. Yes\n".to_owned()), Just("   2. No\n".to_owned()),
            Just("─".repeat(30)), Just("\u{1b}[3".to_owned()), Just("\u{1b}]0;".to_owned()),
            Just("{\"hook_event_name\":\"StopFailure\",\"at\":1e300}\n".to_owned()),
        ], 0..24),
    ) {
        let text = pieces.concat();
        let _ = decide(&evidence(&text, &text, &text));
    }

    /// Whatever a tool prints at its five columns, lines of it are never a limit.
    #[test]
    fn what_a_tool_prints_is_no_limit(
        lines in prop::collection::vec(prop_oneof![
            "[ -~]{0,40}", Just("5-hour limit reached ∙ resets 5am".to_owned()),
            Just("  ⎿  You've hit your session limit · resets 4:20pm".to_owned()),
            Just("● Bash(x)".to_owned()), Just("> continue".to_owned()), Just(String::new()),
            Just("╭──────────╮".to_owned()), Just("│ >        │".to_owned()), Just("╰──────────╯".to_owned()),
            Just(" ❯ 1. Stop and wait for limit to reset".to_owned()), Just("   2. Upgrade your plan".to_owned()),
            Just(" Enter to confirm · Esc to cancel".to_owned()),
        ], 1..20),
    ) {
        let printed: Vec<String> = lines.iter().map(|line| format!("     {line}")).collect();
        let first = printed[0].trim_start();
        let screen = format!("● Bash(cat x)\n  ⎿  {first}\n{}\n{BOX}", printed[1..].join("\n"));
        let verdict = decide(&evidence("", "", &screen));
        prop_assert_eq!(verdict.verdict, Kind::Idle, "{}", screen);
    }
}

#[test]
fn what_an_agent_left_for_is_the_failure_and_not_its_leaving() {
    let failed = hook("09:59:00", "StopFailure", ",\"error\":\"rate_limit\"");
    let gone = hook("09:59:01", "SessionEnd", ",\"reason\":\"other\"");
    assert_eq!(kind(&format!("{failed}{gone}"), "", ""), Kind::Limited);
    let begun = hook("09:59:02", "SessionStart", ",\"source\":\"clear\"");
    assert_eq!(kind(&format!("{failed}{gone}{begun}"), "", BOX), Kind::Idle);
    let stopped = hook("09:59:00", "Stop", "");
    assert_eq!(kind(&format!("{stopped}{gone}"), "", ""), Kind::Unknown);
}

#[test]
fn a_command_that_the_program_answers_itself_opens_no_turn() {
    let user = |at: &str, text: &str| {
        let content = serde_json::Value::from(text);
        format!(r#"{{"type":"user","timestamp":"{at}","message":{{"role":"user","content":{content}}}}}"#)
            + "\n"
    };
    let last = |lines: &str| crate::watchdog::signals::read(lines).last.map(|signal| signal.turn);
    let before = said("10:00:00", "All of it is done.");
    let command =
        user("2026-03-01T10:05:00Z", "<command-name>/model</command-name>\n<command-args></command-args>");
    let answer =
        user("2026-03-01T10:05:01Z", "<local-command-stdout>Set model to the newest</local-command-stdout>");
    assert_eq!(last(&(before.clone() + &command + &answer)), last(&before));
    // In the middle of a turn it ends none.
    let open = user("2026-03-01T10:01:00Z", "go on");
    assert_eq!(last(&(before.clone() + &open + &command + &answer)), Some(Turn::Open));
    // One that is a prompt of its own has no such answer.
    let prompt = user("2026-03-01T10:06:00Z", "<command-message>review is running</command-message>");
    assert_eq!(last(&(before.clone() + &command + &answer + &prompt)), Some(Turn::Open));
    // The answer of a command that is too far back to be read says nothing.
    assert_eq!(last(&answer), None);
}
