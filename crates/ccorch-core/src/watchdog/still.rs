//! A screen without what only ticks: an interface draws its spinner and counts the seconds whether anything comes of the
//! turn or not.

use super::styled;

/// Signs that a spinner turns through.
const SIGNS: &str = "·✢✳✶✻✽∗*";

/// A screen's text without what moves by time alone: of a spinner's line only what it counts besides is left (tokens that
/// come are progress), and no tip hangs below it.
pub fn without_ticks(screen: &str) -> String {
    let lines = styled::lines(screen);
    let lines = lines.iter().filter(|line| !is_tip(&line.text));
    lines.map(|line| of_spinner(&line.text).unwrap_or_else(|| line.text.clone()) + "\n").collect()
}

/// What a spinner's line counts besides its time; none when it is no such line.
fn of_spinner(line: &str) -> Option<String> {
    let text = line.trim();
    let sign = text.chars().next().filter(|sign| SIGNS.contains(*sign))?;
    let rest = text[sign.len_utf8()..].strip_prefix(' ')?;
    let (verb, counted) = rest.split_once(" (").unwrap_or((rest, ""));
    if !verb.ends_with('…') && !verb.ends_with("...") {
        return None;
    }
    let parts = counted.trim_end_matches(')').split('·').map(|part| {
        let words = part.split_whitespace();
        let kept: Vec<&str> = words.filter(|word| part.contains("token") || !is_time(word)).collect();
        kept.join(" ")
    });
    Some(parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "))
}

/// `31m`, `2s`.
fn is_time(word: &str) -> bool {
    let number = word.strip_suffix(['s', 'm', 'h', 'd']);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_tip(line: &str) -> bool {
    line.trim().strip_prefix('⎿').is_some_and(|text| text.trim_start().starts_with("Tip:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let screen =
            |spinner: &str| format!("● Done so far.\n\n{spinner}\n\n────────────\n❯ \n────────────\n");
        without_ticks(&screen(one)) == without_ticks(&screen(other))
    }

    #[test]
    fn seconds_signs_verbs_and_tips_are_no_movement() {
        assert!(same("✻ Baking… (31m 2s · esc to interrupt)", "✽ Baking… (31m 3s · esc to interrupt)"));
        assert!(same("· Baking… (59s)", "* Stirring… (1h 2m 3s)"));
        assert!(same("✶ Baking… (34s · ↓ 2.1k tokens)", "✶ Baking… (2d 1h · ↓ 2.1k tokens)"));
        assert!(same("✢ Baking...", "\u{1b}[31m✳ Baking...\u{1b}[0m"));
        assert!(same("✻ Baking… (1s · thought for 4s)", "✻ Baking… (9s · thought for 5s)"));
        assert!(same("✻ Baking… (1s)\n  ⎿  Tip: use /memory", "✻ Baking… (1s)\n  ⎿  Tip: press ?"));
    }

    #[test]
    fn whatever_else_changes_is() {
        assert!(!same("✶ Baking… (34s · ↓ 2.1k tokens)", "✶ Baking… (35s · ↓ 2.2k tokens)"));
        assert!(!same("✻ Baking… (1m · ↑ 3m tokens)", "✻ Baking… (1m · ↑ 4m tokens)"));
        assert!(!same("✻ Baking… (1s · thinking)", "✻ Baking… (2s · thought for 1s)"));
        assert!(!same("✻ Baking… (1s)", "✻ Baking… (1s)\n  ⎿  Next: write the test"));
        assert!(!same("● line 1 of 9…", "● line 2 of 9…"));
        assert!(!same("✻ Baked for 2m 4s", "✻ Baked for 2m 5s"), "a turn that is over does not tick");
        assert!(!same("  ⎿  Running… (3s)", "  ⎿  Running… (4s)"), "whether a tool runs is told elsewhere");
    }
}
