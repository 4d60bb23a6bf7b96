//! The live part of an agent's screen: the input box or the dialog at its foot, and the last block above it.
//!
//! Everything higher up is history, and everything a tool printed or the agent said is somebody's text: neither says
//! what state the agent is in.

use super::blocks::{self, Block, Sort};
use super::dialog::{self, DialogKind};
use super::styled;

/// What is live on a screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// What holds the keyboard, and the line that shows it.
    pub dialog: Option<(DialogKind, String)>,
    /// The input box is there; its draft, which is empty where a hint is shown in its place.
    pub draft: Option<String>,
    /// What its prompt says where the line is not for the agent: `!` goes to a shell, `#` to its memory.
    pub mode: Option<char>,
    /// The line of a turn that runs.
    pub busy: Option<String>,
    /// The program's own message, if it is the last block.
    pub own: Option<String>,
    /// The agent's own words, if they are the last block.
    pub reply: Option<String>,
}

/// Reads a screen as a terminal shows it or as `tmux capture-pane` saves it, with or without colours.
pub fn read(screen: &str) -> Live {
    let (mut lines, hints): (Vec<String>, Vec<bool>) =
        styled::lines(screen).into_iter().map(|line| (line.text, line.hint)).unzip();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    if let Some(mut input) = input_box(&lines) {
        let mut inside =
            (input.top + 1..input.bottom).filter(|at| !lines[*at].trim_matches(['│', ' ']).is_empty());
        if inside.all(|at| hints[at]) {
            input.draft.clear();
        }
        let hinted = lines[input.bottom + 1..].iter().find(|line| line.contains("esc to interrupt")).cloned();
        let mut live = conversation(&lines[..input.top], true);
        live.busy = live.busy.or(hinted.map(|line| line.trim().to_owned()));
        return Live { draft: Some(input.draft), mode: input.mode, ..live };
    }
    if let Some(dialog) = dialog::find(&lines) {
        let live = conversation(&lines[..dialog.top], true);
        return Live { dialog: Some((dialog.kind, dialog.line)), busy: None, ..live };
    }
    conversation(&lines, false)
}

/// The last block above the live part. Without a box or dialog below, lines that are no block may be anything.
fn conversation(lines: &[String], has_foot: bool) -> Live {
    let mut blocks = blocks::parse(lines);
    // Rules and edges above a dialog belong to it.
    let edge = |b: &Block| b.sort == Sort::Other && b.text().chars().all(|c| "─╭╮╰╯│━═ \n".contains(c));
    blocks.retain(|block| !edge(block));
    let mut live = Live::default();
    let skipped = |b: &&Block| match b.sort {
        // The menu of a limit was opened by this line.
        Sort::User => b.text().starts_with("/rate-limit-options"),
        Sort::Done => true,
        _ => false,
    };
    let spinner = blocks.iter().rev().find(|b| !matches!(b.sort, Sort::User | Sort::Child));
    live.busy = spinner.filter(|b| b.sort == Sort::Spinner).and_then(|b| b.lines.first().cloned());
    match blocks.iter().rev().find(|b| !skipped(b)) {
        Some(block) if block.sort == Sort::Own => live.own = Some(block.text()),
        Some(block) if block.sort == Sort::Reply => live.reply = Some(block.text()),
        // Nothing but one message on the whole screen: a run without a terminal interface.
        Some(block) if block.sort == Sort::Other && blocks.len() == 1 && !has_foot => {
            live.own = Some(block.text());
        }
        _ => {}
    }
    live
}

struct InputBox {
    top: usize,
    bottom: usize,
    mode: Option<char>,
    draft: String,
}

/// Status lines below the box; more of them and it is something printed.
const STATUS_LINES: usize = 12;

/// The box at the foot of the screen: `╭─╮ │ > draft │ ╰─╯`, or two rules with `❯ draft` between them.
fn input_box(lines: &[String]) -> Option<InputBox> {
    let from = lines.len().saturating_sub(STATUS_LINES + 1);
    let bottom = (from..lines.len()).rev().find(|at| edge(&lines[*at], '╰', '╯') || rule(&lines[*at]))?;
    if lines[bottom + 1..].iter().any(|line| is_conversation(line)) {
        return None;
    }
    let boxed = edge(&lines[bottom], '╰', '╯');
    let top =
        (0..bottom).rev().find(|at| if boxed { edge(&lines[*at], '╭', '╮') } else { rule(&lines[*at]) })?;
    let inside: Vec<String> =
        lines[top + 1..bottom].iter().map(|line| within(line, boxed)).collect::<Option<_>>()?;
    let first = inside.first()?;
    let prompt = first.chars().next().filter(|prompt| ['>', '❯', '!', '#'].contains(prompt))?;
    let draft = match first.strip_prefix(prompt)? {
        "" => "",
        rest => rest.strip_prefix([' ', '\u{a0}'])?,
    };
    let mode = Some(prompt).filter(|prompt| ['!', '#'].contains(prompt));
    let rest = inside[1..].iter().map(|line| format!("\n{}", line.trim()));
    Some(InputBox { top, bottom, mode, draft: draft.trim().to_owned() + &rest.collect::<String>() })
}

fn within(line: &str, boxed: bool) -> Option<String> {
    let text = if boxed { line.trim_start().strip_prefix('│')?.trim_end_matches('│') } else { line };
    Some(text.strip_prefix(' ').unwrap_or(text).trim_end().to_owned())
}

fn edge(line: &str, left: char, right: char) -> bool {
    let text = line.trim();
    line.chars().take_while(|c| *c == ' ').count() <= 1
        && text.starts_with(left)
        && text.ends_with(right)
        && text.chars().filter(|c| *c == '─').count() >= 3
}

/// A rule over the width, which may carry a label (`──── builder ──`).
fn rule(line: &str) -> bool {
    let dashes = line.chars().filter(|c| *c == '─').count();
    line.starts_with("───") && line.ends_with('─') && dashes * 2 >= line.chars().count() && dashes >= 8
}

fn is_conversation(line: &str) -> bool {
    line.starts_with(['●', '⏺', '>', '$', '❯', '╭', '╰', '─']) || line.starts_with("  ⎿")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_for_the_agent_is_known_by_its_prompt() {
        let rule = "─".repeat(20);
        for (prompt, mode) in [("❯", None), (">", None), ("!", Some('!')), ("#", Some('#'))] {
            for space in [' ', '\u{a0}'] {
                for draft in ["", "ls"] {
                    let ruled = format!("{rule}\n{prompt}{space}{draft}\n{rule}\n  builder\n");
                    let boxed = format!("╭───╮\n│ {prompt}{space}{draft}  │\n╰───╯\n");
                    for screen in [ruled, boxed] {
                        let live = read(&screen);
                        assert_eq!((live.draft.as_deref(), live.mode), (Some(draft), mode), "{screen}");
                    }
                }
            }
        }
        assert_eq!(read(&format!("{rule}\n❯ !ls\n{rule}\n")).mode, None);
    }
}
