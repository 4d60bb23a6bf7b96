//! The line of the step under way: on a terminal it is drawn again and again with the time it has taken, elsewhere it is
//! printed once. There is one terminal, so there is one line.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often it is drawn.
const DRAW: Duration = Duration::from_millis(100);
/// A terminal that does not say how wide it is.
const WIDTH: usize = 80;

struct Line {
    step: &'static str,
    does: String,
    waits: String,
    since: Instant,
}

static LINE: Mutex<Option<Line>> = Mutex::new(None);
static DRAWS: Once = Once::new();
static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A step begins.
pub fn begin(step: &'static str, does: &str) {
    if !std::io::stderr().is_terminal() {
        eprintln!("{step:<13} {does}");
        return;
    }
    set(Some(Line { step, does: does.into(), waits: String::new(), since: Instant::now() }));
    DRAWS.call_once(|| {
        // Without a thread the line is not drawn; what comes of the step is printed all the same.
        let _ = thread::Builder::new().name("line".into()).spawn(|| {
            loop {
                draw();
                thread::sleep(DRAW);
            }
        });
    });
}

/// What it waits for; shown in place of what it does.
pub fn tell(waits: &str) {
    if let Some(line) = lock().as_mut() {
        line.waits = waits.into();
    }
}

/// It is over: this is printed in its place.
pub fn end(text: &str) {
    let mut line = lock();
    if line.take().is_some() {
        eprint!("\r\x1b[K");
    }
    eprintln!("{text}");
}

/// A warning; one that was given is not given again, however often what it is about is tried.
pub fn warn(text: String) {
    let mut given = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if given.insert(text.clone()) {
        end(&format!("warning: {text}"));
    }
}

fn draw() {
    let line = lock();
    let Some(line) = line.as_ref() else { return };
    let width =
        rustix::termios::tcgetwinsize(std::io::stderr()).map_or(WIDTH, |size| usize::from(size.ws_col));
    let text = render(line.step, line.since.elapsed(), &line.does, &line.waits, width);
    // Nobody is told of a terminal that went away.
    let _ = write!(std::io::stderr(), "\r{text}\x1b[K");
}

/// One line, never as wide as the terminal: a full one wraps.
fn render(step: &str, took: Duration, does: &str, waits: &str, width: usize) -> String {
    let what = if waits.is_empty() { does } else { waits };
    let text = format!("{step:<13} {:>6.1} s  {what}", took.as_secs_f64());
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(width.saturating_sub(1)).collect()
}

fn set(line: Option<Line>) {
    *lock() = line;
}

fn lock() -> std::sync::MutexGuard<'static, Option<Line>> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_fits_and_says_what_is_waited_for() {
        let seconds = Duration::from_millis(61_250);
        assert_eq!(render("verify", seconds, "wait", "", 80), "verify          61.2 s  wait");
        let waits = "loop builder has not\nworked yet";
        assert_eq!(render("verify", seconds, "wait", waits, 40), "verify          61.2 s  loop builder ha");
        assert_eq!(render("verify", seconds, "wait", waits, 0), "");
    }
}
