//! The blocks of a conversation on the screen, told apart by their marks and columns.
//!
//! `● text` is said by the agent, `● Name(arguments)` is a tool call, `> text` is the person's or the supervisor's, a
//! spinner sign opens the line of a turn that runs. `⎿` two columns in is a tool's result when a tool call stands above
//! it, else the program's own message. All that a tool prints stands at least five columns in.

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// Said by the agent.
    Reply,
    /// A tool call.
    Tool,
    /// A tool's result, or what hangs below a spinner.
    Child,
    /// The program's own message.
    Own,
    /// Typed into the box.
    User,
    /// A turn runs.
    Spinner,
    /// A turn is over (`✻ Baked for 2m 4s`).
    Done,
    /// Anything else at the left edge: banner, shell, rule.
    Other,
}

/// A block: its lines, without the mark and the indentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub sort: Sort,
    pub lines: Vec<String>,
}

impl Block {
    /// The lines as one text.
    pub fn text(&self) -> String {
        self.lines.iter().map(|l| l.trim()).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

/// Right-aligned notices (`Context left until auto-compact: 5%`) belong to no block.
const NOTICE_INDENT: usize = 24;

/// Parts lines into blocks, top to bottom.
pub(super) fn parse(lines: &[String]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut blank = true;
    for line in lines {
        let text = line.trim();
        let indent = line.chars().take_while(|c| *c == ' ').count();
        let after_blank = std::mem::replace(&mut blank, text.is_empty());
        if text.is_empty() || (indent >= NOTICE_INDENT && after_blank) {
            continue;
        }
        match head(text, indent, &blocks) {
            Some((sort, rest)) => blocks.push(Block { sort, lines: vec![rest.to_owned()] }),
            None => match blocks.last_mut() {
                // What stands at the left edge without a mark is no part of a marked block.
                Some(last) if indent >= 2 || last.sort == Sort::Other => {
                    last.lines.push(line.trim_end().to_owned())
                }
                _ => blocks.push(Block { sort: Sort::Other, lines: vec![text.to_owned()] }),
            },
        }
    }
    blocks
}

fn head<'a>(text: &'a str, indent: usize, above: &[Block]) -> Option<(Sort, &'a str)> {
    let mark = text.chars().next()?;
    let rest = text.get(mark.len_utf8()..)?.trim_start();
    let spaced = text.get(mark.len_utf8()..).is_some_and(|r| r.is_empty() || r.starts_with([' ', '\u{a0}']));
    match mark {
        '⎿' if indent <= 3 => Some((hanging(above), rest)),
        '●' | '⏺' if indent <= 1 && spaced => {
            Some((if is_tool(rest) { Sort::Tool } else { Sort::Reply }, rest))
        }
        '>' | '❯' if indent <= 1 && spaced => Some((Sort::User, rest)),
        '!' if indent == 0 && spaced => Some((Sort::Tool, rest)),
        '·' | '✢' | '✳' | '✶' | '✻' | '✽' | '∗' | '*' if indent <= 1 && spaced => {
            Some((spinner(mark, rest)?, text))
        }
        _ => None,
    }
}

/// `✻ Baking… (34s · ↓ 2.1k tokens)` runs, `✻ Baked for 2m 4s` is over, `✻ Welcome` is neither.
fn spinner(mark: char, rest: &str) -> Option<Sort> {
    let first = rest.split('(').next().unwrap_or_default();
    let runs = first.contains('…') || first.contains("...") || rest.contains("esc to interrupt");
    let done = rest
        .split_once(" for ")
        .is_some_and(|(verb, time)| !verb.contains(' ') && time.starts_with(|c: char| c.is_ascii_digit()));
    match (runs, done) {
        // A list item of a plain text can start with a star or a dot, and end with dots.
        (true, _) if !"*·".contains(mark) || rest.contains("to interrupt") || rest.contains("tokens") => {
            Some(Sort::Spinner)
        }
        (_, true) => Some(Sort::Done),
        _ => None,
    }
}

/// What a `⎿` is, by what stands above it.
fn hanging(above: &[Block]) -> Sort {
    let Some(last) = above.last() else { return Sort::Own };
    let introduced = last.lines.last().is_some_and(|line| line.trim_end().ends_with([':', '：']));
    match last.sort {
        Sort::Tool | Sort::Spinner => Sort::Child,
        // A subagent's result has many lines of its own.
        Sort::Child => {
            let tool = above.iter().rev().find(|b| b.sort != Sort::Child).and_then(|b| b.lines.first());
            let agent = tool.is_some_and(|t| t.starts_with("Task(") || t.starts_with("Agent("));
            if agent { Sort::Child } else { Sort::Own }
        }
        // Somebody who says "the log shows:" quotes what follows.
        Sort::Reply | Sort::User if introduced => Sort::Child,
        _ => Sort::Own,
    }
}

/// `Bash(cargo test)`, `server - tool (MCP)(…)`, or a folded `Read 3 files (ctrl+o to expand)`.
fn is_tool(text: &str) -> bool {
    const FOLDED: [&str; 10] = [
        "Update Todos",
        "Read ",
        "Searched ",
        "Search",
        "Ran ",
        "Listed ",
        "Wrote ",
        "Updated ",
        "Fetched ",
        "Recalled ",
    ];
    let name_fits = |c: char| c.is_ascii_alphanumeric() || "_.-: ".contains(c);
    let call = text.split_once('(').is_some_and(|(name, _)| {
        let name = name.trim_end();
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.len() <= 60
            && name.chars().all(name_fits)
            && (!name.contains(' ') || name.contains(" - ") || matches!(name, "Web Search"))
    });
    let folded = FOLDED.iter().any(|start| text.starts_with(start));
    call || text.contains("(ctrl+o to expand)")
        || text.contains("(ctrl+r to expand)")
        || (folded && text.len() < 80)
}
