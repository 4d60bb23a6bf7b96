//! The timeline as an SVG: a row for each step, one for each host's lease, and the time in which nobody worked behind all.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::super::Journal;
use super::super::work::Gap;
use super::spans::{Bar, Spans};
use super::{escape, seconds};

/// Width of the picture and of the names at its left, in its own units.
const WIDTH: f64 = 960.0;
const NAMES: f64 = 120.0;
/// Room at the right for the last label.
const RIGHT: f64 = 150.0;
/// Height of a row and of a bar in it.
const ROW: f64 = 26.0;
const BAR: f64 = 14.0;
/// Above the first row: the label of the time in which nobody worked.
const TOP: f64 = 30.0;
/// A bar that would be thinner is drawn so wide, to be seen at all.
const THIN: f64 = 2.0;
/// About how many marks the axis has.
const MARKS: f64 = 6.0;

/// Draws it. `words` is the sentence that says the same.
pub fn draw(journal: &Journal, spans: &Spans, gap: Option<&Gap>, words: &str) -> String {
    let steps = &journal.plan.steps;
    let leases = TOP + ROW * (steps.len() as f64 + 0.5);
    let axis = leases + ROW * 2.25;
    let height = axis + 28.0;
    let scale = Scale::of(spans);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"picture-title picture-text\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<title id=\"picture-title\">Timeline of the cutover</title>\n\
         <desc id=\"picture-text\">{}</desc>\n",
        escape(&description(journal, spans, words))
    );
    if let Some(gap) = gap {
        svg.push_str(&dark(gap, &scale, axis));
    }
    svg.push_str(&marks(spans, &scale, axis));
    for (row, step) in steps.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        name(&mut svg, y, step.name());
        let bars: Vec<&Bar> = spans.bars.iter().filter(|bar| bar.step == *step).collect();
        for bar in &bars {
            let class = if bar.failed {
                "failed"
            } else if bar.undo {
                "undo"
            } else {
                "step"
            };
            let what = if bar.undo { "undo of " } else { "" };
            let title = format!("{what}{}: {}", step.name(), seconds(bar.length()));
            rect(&mut svg, &scale, y, class, (bar.from, bar.to), &title);
        }
        if let Some(last) = bars.iter().max_by_key(|bar| bar.to) {
            let label = label(&bars);
            let x = scale.x(last.to).max(scale.x(last.from) + THIN) + 6.0;
            let _ = writeln!(
                svg,
                "<text class=\"faint label\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>",
                y + 17.0
            );
        }
    }
    let _ = writeln!(
        svg,
        "<line class=\"rule\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>",
        leases - ROW / 4.0
    );
    let hosts = [(&journal.plan.from.name, &spans.source), (&journal.plan.to.name, &spans.target)];
    for (row, (host, active)) in hosts.into_iter().enumerate() {
        let y = leases + ROW * row as f64;
        name(&mut svg, y, &format!("lease: {host}"));
        for span in active {
            rect(&mut svg, &scale, y, "lease", *span, &format!("{host} is active by the lease"));
        }
    }
    svg + "</svg>\n"
}

/// How long the last performance took, and what colours alone would say.
fn label(bars: &[&Bar]) -> String {
    let performed = bars.iter().rev().find(|bar| !bar.undo);
    let failed = performed.is_some_and(|bar| bar.failed).then(|| "failed".to_owned());
    let undone = bars.iter().any(|bar| bar.undo).then(|| "undone".to_owned());
    let took = performed.map(|bar| seconds(bar.length()));
    [took, failed, undone].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Time to place.
struct Scale {
    begin: Timestamp,
    per_second: f64,
}

impl Scale {
    fn of(spans: &Spans) -> Self {
        let total = spans.total().as_secs_f64().max(0.001);
        Self { begin: spans.begin, per_second: (WIDTH - NAMES - RIGHT) / total }
    }

    /// Never outside the picture, whatever a clock said.
    fn x(&self, at: Timestamp) -> f64 {
        let after = at.duration_since(self.begin).as_secs_f64();
        (NAMES + after * self.per_second).clamp(NAMES, WIDTH - RIGHT)
    }
}

fn name(svg: &mut String, y: f64, text: &str) {
    // A host's name may be longer than there is room.
    let short: String = text.chars().take(17).collect();
    let text = if short.len() < text.len() { format!("{short}…") } else { short };
    let _ = writeln!(svg, "<text x=\"0\" y=\"{:.1}\">{}</text>", y + 17.0, escape(&text));
}

fn rect(svg: &mut String, scale: &Scale, y: f64, class: &str, span: (Timestamp, Timestamp), title: &str) {
    let (x, end) = (scale.x(span.0), scale.x(span.1));
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"><title>{}</title></rect>",
        y + (ROW - BAR) / 2.0,
        (end - x).max(THIN),
        escape(title)
    );
}

fn dark(gap: &Gap, scale: &Scale, axis: f64) -> String {
    let (from, to) = (scale.x(gap.source_last), scale.x(gap.target_first));
    let width = (to - from).max(THIN);
    let label = format!("nobody worked: {}", seconds(gap.length()));
    // Beside its band where it stands too far right to be beside it on that side.
    let middle = (from + width / 2.0).clamp(NAMES + 80.0, WIDTH - 80.0);
    let mut svg = format!(
        "<rect class=\"dark\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"/>\n",
        TOP - 6.0,
        axis - TOP + 6.0
    );
    for x in [from, from + width] {
        let _ = writeln!(
            svg,
            "<line class=\"edge\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{axis:.1}\"/>",
            TOP - 6.0
        );
    }
    let _ = writeln!(svg, "<text x=\"{middle:.1}\" y=\"15\" text-anchor=\"middle\">{label}</text>");
    svg
}

fn marks(spans: &Spans, scale: &Scale, axis: f64) -> String {
    let total = spans.total().as_secs_f64();
    let every = step(total / MARKS);
    let right = WIDTH - RIGHT;
    let mut svg =
        format!("<line class=\"rule\" x1=\"{NAMES}\" x2=\"{right}\" y1=\"{axis:.1}\" y2=\"{axis:.1}\"/>\n");
    let mut at = 0.0;
    while at <= total {
        let x = NAMES + at * scale.per_second;
        let _ = writeln!(
            svg,
            "<line class=\"rule\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{axis:.1}\" y2=\"{:.1}\"/>\
             <text class=\"faint\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            axis + 5.0,
            axis + 20.0,
            mark(at, every)
        );
        at += every;
    }
    svg
}

/// The next round number of seconds: 1, 2 or 5 times a power of ten, from a minute on what a clock face has.
fn step(wanted: f64) -> f64 {
    let round = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0];
    round.into_iter().find(|step| *step >= wanted).unwrap_or_else(|| (wanted / 3600.0).ceil() * 3600.0)
}

fn mark(at: f64, every: f64) -> String {
    if every < 1.0 {
        return format!("{at:.1} s");
    }
    let whole = at.round() as u64;
    if every < 60.0 && whole < 60 {
        format!("{whole} s")
    } else {
        format!("{}:{:02}", whole / 60, whole % 60)
    }
}

/// The picture in words, for who does not see it.
fn description(journal: &Journal, spans: &Spans, words: &str) -> String {
    let mut text = words.to_owned();
    for bar in &spans.bars {
        let what = if bar.undo { "undo of " } else { "" };
        let failed = if bar.failed { ", failed" } else { "" };
        let (after, took) = (seconds(spans.after(bar.from)), seconds(bar.length()));
        let _ = write!(text, " {what}{} after {after} for {took}{failed}.", bar.step.name());
    }
    for (host, active) in [(&journal.plan.from.name, &spans.source), (&journal.plan.to.name, &spans.target)] {
        for (from, to) in active {
            let (from, to) = (seconds(spans.after(*from)), seconds(spans.after(*to)));
            let _ = write!(text, " {host} active by the lease from {from} to {to}.");
        }
    }
    text
}
