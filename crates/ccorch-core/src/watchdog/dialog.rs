//! Menus and questions that hold the keyboard: nothing may be typed into one that was meant for the agent.

use std::fmt;

/// What kind of dialog it is; each has another answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialogKind {
    /// What to do at a usage limit.
    LimitMenu,
    /// Whether the folder is trusted.
    Trust,
    /// Whether a tool may run.
    Permission,
    /// Whether permissions may be skipped altogether.
    BypassWarning,
    /// A way to log in has to be chosen, or a code typed.
    Login,
    /// First-run choices: theme, terminal set-up.
    FirstRun,
    /// Whether a plan is carried out.
    Plan,
    /// The agent asks something.
    Question,
    /// Any key or Enter goes on.
    PressEnter,
    /// Some other menu.
    Menu,
}

impl fmt::Display for DialogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LimitMenu => "limit menu",
            Self::Trust => "trust dialog",
            Self::Permission => "permission dialog",
            Self::BypassWarning => "bypass permissions warning",
            Self::Login => "login screen",
            Self::FirstRun => "first-run screen",
            Self::Plan => "plan approval",
            Self::Question => "question",
            Self::PressEnter => "press-enter screen",
            Self::Menu => "menu",
        })
    }
}

/// A dialog at the foot of the screen, and the line that told its kind.
pub(super) struct Dialog {
    pub kind: DialogKind,
    pub line: String,
    /// Where it starts, so that what stands above it can be read apart.
    pub top: usize,
}

/// The words that tell a kind, most telling first.
const SIGNS: [(&str, DialogKind); 22] = [
    ("wait for limit to reset", DialogKind::LimitMenu),
    ("bypass permissions mode", DialogKind::BypassWarning),
    ("do you trust the files", DialogKind::Trust),
    ("i trust this folder", DialogKind::Trust),
    ("quick safety check", DialogKind::Trust),
    ("select login method", DialogKind::Login),
    ("paste code here", DialogKind::Login),
    ("use the url below to sign in", DialogKind::Login),
    ("api key?", DialogKind::Login),
    ("choose the text style", DialogKind::FirstRun),
    ("terminal setup", DialogKind::FirstRun),
    ("would you like to proceed?", DialogKind::Plan),
    ("ready to code?", DialogKind::Plan),
    ("tell claude what to do differently", DialogKind::Permission),
    ("don't ask again", DialogKind::Permission),
    ("do you want to proceed?", DialogKind::Permission),
    ("do you want to make this edit", DialogKind::Permission),
    ("do you want to create", DialogKind::Permission),
    ("do you want to allow", DialogKind::Permission),
    ("do you want to ", DialogKind::Permission),
    ("type something", DialogKind::Question),
    ("tab/arrow keys to navigate", DialogKind::Question),
];

/// More lines have no dialog that is known.
const TALLEST: usize = 40;

/// Finds a dialog that ends the screen. `lines` are without blank ones at the end.
pub(super) fn find(lines: &[String]) -> Option<Dialog> {
    let bare: Vec<String> = lines.iter().map(|line| inner(line)).collect();
    let last = bare.iter().rposition(|line| !line.is_empty())?;
    if is_press_enter(&bare[last]) {
        return Some(Dialog { kind: DialogKind::PressEnter, line: bare[last].clone(), top: last });
    }
    if asks_for_code(&bare[last]) {
        return Some(Dialog {
            kind: DialogKind::Login,
            line: bare[last].clone(),
            top: last.saturating_sub(12),
        });
    }
    // The foot: an option, the advice below them, or both.
    let foot = (0..=last).rev().take(4).find(|at| option(&lines[*at]).is_some())?;
    if !bare[foot + 1..=last].iter().all(|line| line.is_empty() || is_advice(line) || is_detail(line)) {
        return None;
    }
    let floor = foot.saturating_sub(TALLEST);
    let first = (floor..=foot).rev().find(|at| option(&lines[*at]).is_some_and(|o| o.number == 1))?;
    let chosen = (first..=foot).any(|at| option(&lines[at]).is_some_and(|o| o.chosen));
    let several = (first..=foot).filter(|at| option(&lines[*at]).is_some()).count() >= 2;
    let together = (first..=foot)
        .all(|at| option(&lines[at]).is_some() || lines[at].trim().is_empty() || deep(&lines[at]));
    if !(chosen && several && together) {
        return None;
    }
    let top = title(&bare, &lines[..first], floor);
    let about = top..=last;
    let found = SIGNS.iter().find_map(|(sign, kind)| {
        let line = bare[about.clone()].iter().find(|line| line.to_lowercase().contains(sign))?;
        Some((*kind, line.clone()))
    });
    let (kind, line) = found.unwrap_or_else(|| (DialogKind::Menu, bare[top].clone()));
    Some(Dialog { kind, line, top })
}

/// The first line of what belongs to the options: up to the dialog's own edge or the last block of the conversation.
fn title(bare: &[String], above: &[String], floor: usize) -> usize {
    let edge = |line: &str| {
        let text = line.trim_start();
        text.starts_with(['●', '⏺', '⎿', '╭', '╰', '─', '❯']) || text.starts_with("> ")
    };
    let from = (floor..above.len()).rev().find(|at| edge(&above[*at])).map_or(floor, |at| at + 1);
    (from..above.len()).find(|at| !bare[*at].is_empty()).unwrap_or(above.len())
}

struct Choice {
    number: u32,
    chosen: bool,
}

/// `❯ 1. Yes`, `  2. No`, with or without the edge of a box; deeper ones are something printed.
fn option(line: &str) -> Option<Choice> {
    let line = line.trim_end().trim_start_matches('│');
    let indent = line.chars().take_while(|c| *c == ' ').count();
    let text = line.trim();
    let (chosen, text) = match text.strip_prefix('❯') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let (number, rest) = text.split_once(['.', ')'])?;
    let fits = indent <= 4 && number.len() <= 2 && rest.starts_with(' ');
    fits.then(|| number.parse().ok()).flatten().map(|number| Choice { number, chosen })
}

fn inner(line: &str) -> String {
    let text = line.trim().trim_start_matches('│').trim_end_matches('│').trim();
    let edge = text.chars().all(|c| "─╭╮╰╯━═╌▔▁".contains(c));
    if edge { String::new() } else { text.to_owned() }
}

/// A line that goes on with the option above it.
fn deep(line: &str) -> bool {
    line.trim_start_matches('│').starts_with("     ")
}

fn is_detail(line: &str) -> bool {
    line.starts_with("(esc)") || line.starts_with("☐") || line.starts_with("ctrl")
}

fn is_advice(line: &str) -> bool {
    let line = line.to_lowercase();
    let keys =
        ["enter to ", "esc to ", "tab to ", "↑", "arrow keys", "space to ", "ctrl+", "ctrl-", "shift+"];
    line.len() < 160 && keys.iter().any(|key| line.contains(key))
}

fn is_press_enter(line: &str) -> bool {
    let line = line.trim_end_matches(['…', '.', '>', ' ']).to_lowercase();
    line.len() < 80
        && (line.starts_with("press enter to ")
            || line.ends_with("press enter to continue")
            || line == "press any key to continue")
}

fn asks_for_code(line: &str) -> bool {
    line.to_lowercase().starts_with("paste code here")
}
