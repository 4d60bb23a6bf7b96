//! The report of a cutover: one HTML page that needs nothing else, with the timeline as a picture. Pure: a journal in, a
//! text out.

mod picture;
mod spans;

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use super::work::Gap;
use super::{Entry, Journal, Outcome, Status, Step};
use spans::Spans;

/// Colours of a light and of a dark page. Each pair of text and ground has a contrast of at least 4.5 (WCAG 2.2, 1.4.3).
const STYLE: &str = r#"
:root { color-scheme: light dark; --ground: #ffffff; --text: #1c2128; --faint: #59636e; --rule: #d1d9e0;
  --step: #4a78c4; --undo: #b35900; --fail: #b3261e; --lease: #2f7d4f; --dark: #f2dede; --edge: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181d; --text: #e6edf3; --faint: #9aa4ae; --rule: #363d46;
  --step: #7aa7f0; --undo: #f0a04b; --fail: #ff8178; --lease: #5fc08a; --dark: #3d2426; --edge: #ff8178; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; }
.faint { color: var(--faint); }
.fail { color: var(--fail); }
figure { margin: 1.5rem 0; overflow-x: auto; }
svg { display: block; width: 100%; min-width: 44rem; height: auto; }
svg text { fill: var(--text); font: 13px system-ui, sans-serif; }
svg .faint { fill: var(--faint); }
svg .label { paint-order: stroke; stroke: var(--ground); stroke-width: 3px; stroke-linejoin: round; }
svg .rule { stroke: var(--rule); }
svg .step { fill: var(--step); } svg .undo { fill: var(--undo); } svg .failed { fill: var(--fail); }
svg .lease { fill: var(--lease); } svg .dark { fill: var(--dark); }
svg .edge { stroke: var(--edge); stroke-dasharray: 4 3; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--rule); }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th.n { text-align: right; }
td { overflow-wrap: anywhere; } td:last-child { width: 100%; }
td:first-child, td:nth-child(2), th { white-space: nowrap; } th, td { padding-right: 1.25rem; }
"#;

/// The page.
pub fn render(journal: &Journal, gap: Option<&Gap>) -> String {
    let spans = Spans::of(journal);
    let (from, to) = (&journal.plan.from.name, &journal.plan.to.name);
    let title = escape(&format!("Cutover of {} from {from} to {to}", journal.rig));
    let outcome = match journal.outcome() {
        Some(Outcome::Completed) => format!("Completed: {to} runs the rig."),
        Some(Outcome::RolledBack) => format!("Rolled back: {from} runs the rig."),
        Some(Outcome::Superseded) => "Ended by somebody else: the lease tells who runs the rig.".into(),
        None => "Not finished.".into(),
    };
    let words = format!(
        "{outcome} It took {} in all{}.",
        seconds(spans.total()),
        match gap {
            Some(gap) => format!("; nobody worked for {}", seconds(gap.length())),
            // What was taken back may have interrupted nobody: then there is nothing to measure.
            None if journal.goes_back() => String::new(),
            None => "; how long nobody worked is not known".into(),
        }
    );
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>{}</p>\n<p class=\"faint\">Journal {}, begun {}. All times by the clock of the machine that drove it.</p>\n",
        escape(&words),
        escape(&journal.id),
        time(spans.begin),
    );
    if let Some(why) = turned_back(journal) {
        let _ = writeln!(page, "<p class=\"fail\">Taken back because: {}</p>", escape(why));
    }
    let _ = write!(page, "<figure>\n{}</figure>\n", picture::draw(journal, &spans, gap, &words));
    page.push_str(&table(journal, &spans));
    if let Some(gap) = gap {
        let _ = write!(
            page,
            "<h2>When nobody worked</h2>\n<p>The last sign of work on {from} was at {}, the first one on {to} at {}: \
             {} between them, from agents' transcripts and pushes.</p>\n",
            time(gap.source_last),
            time(gap.target_first),
            seconds(gap.length())
        );
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn turned_back(journal: &Journal) -> Option<&str> {
    journal.lines.iter().find_map(|line| match &line.entry {
        Entry::TurnBack { why } => Some(why.as_str()),
        _ => None,
    })
}

fn table(journal: &Journal, spans: &Spans) -> String {
    let mut table = String::from(
        "<h2>Steps</h2>\n<table>\n<thead><tr><th scope=\"col\">Step</th><th scope=\"col\">Came to</th>\
         <th scope=\"col\" class=\"n\">Began after</th><th scope=\"col\" class=\"n\">Took</th>\
         <th scope=\"col\">What it found or did</th></tr></thead>\n<tbody>\n",
    );
    for step in &journal.plan.steps {
        let bar = spans.bars.iter().rev().find(|bar| bar.step == *step && !bar.undo);
        let (began, took) = bar.map_or((String::new(), String::new()), |bar| {
            (seconds(spans.after(bar.from)), seconds(bar.length()))
        });
        let _ = writeln!(
            table,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{began}</td><td class=\"n\">{took}</td><td>{}</td></tr>",
            step.name(),
            status(journal.status(*step)),
            escape(&notes(journal, *step)),
        );
    }
    table + "</tbody>\n</table>\n"
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Pending => "not begun",
        Status::Started => "begun",
        Status::Done => "done",
        Status::Failed => "failed",
        Status::Undoing => "being undone",
        Status::Undone => "undone",
    }
}

/// What the step came to, and what its undo kept.
fn notes(journal: &Journal, step: Step) -> String {
    let last = |told: fn(&Entry) -> Option<(Step, &String)>| {
        let told = journal.lines.iter().rev().filter_map(|line| told(&line.entry));
        told.filter(|(of, _)| *of == step).map(|(_, words)| words.clone()).next().unwrap_or_default()
    };
    let did = last(|entry| match entry {
        Entry::Done { step, note } => Some((*step, note)),
        Entry::Failed { step, why } => Some((*step, why)),
        _ => None,
    });
    let kept =
        last(|entry| if let Entry::UndoDone { step, note } = entry { Some((*step, note)) } else { None });
    [did, kept].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; undone: ")
}

/// Text that is text whatever is in it: a host, a branch or an error may hold anything.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = duration.as_secs();
    if whole < 3600 {
        format!("{} min {} s", whole / 60, whole % 60)
    } else {
        format!("{} h {} min", whole / 3600, whole / 60 % 60)
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.1f UTC").to_string()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
