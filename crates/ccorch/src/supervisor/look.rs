//! A look at an agent: its screen, the end of its transcript, the hooks it fired; and the verdict on them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use ccorch_core::names::LoopName;
use ccorch_core::watchdog::{Evidence, Verdict, decide, signals, still};
use ccorch_io::{clock, content};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::reader::Reader;
use crate::here::runtime::tmux;
use crate::here::{Here, loop_state};

/// The end of a transcript that is read, in bytes.
const TAIL: u64 = 64 << 10;
/// No more is read of one whose last record is longer.
const LONGEST: u64 = 16 << 20;
/// Hooks that are remembered.
const HOOKS: usize = 32;

/// Jumps of the wall clock that are remembered of one transcript.
const JUMPS: usize = 8;

/// What was seen of an agent.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its screen.
    pub screen: String,
    /// The end of its transcript.
    pub transcript: Tail,
}

/// The end of a transcript.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    /// Where in the file it begins.
    pub from: u64,
    /// What stands there.
    pub text: String,
}

/// A moment by both clocks: the wall's, which may be set, and the kernel's since its boot, which is not.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    wall: Timestamp,
    boot: Duration,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { wall: clock::now(), boot: clock::since_boot() }
    }

    /// How long ago that was, by the clock that nobody sets.
    fn since(self, boot: Duration) -> SignedDuration {
        SignedDuration::try_from(self.boot.saturating_sub(boot)).unwrap_or(SignedDuration::MAX)
    }

    /// When that was, by the wall clock as it is set now.
    fn at(self, boot: Duration) -> Timestamp {
        self.wall.checked_sub(self.since(boot)).unwrap_or(self.wall)
    }
}

/// Something that is looked at again and again: what it was like, and since when it is so.
#[derive(Debug, Default)]
struct Watched(Option<(u64, Duration)>);

impl Watched {
    fn sees(&mut self, what: &str, now: Moment) -> Duration {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let hash = hasher.finish();
        let since = self.0.filter(|(old, _)| *old == hash).map_or(now.boot, |(_, since)| since);
        self.0 = Some((hash, since));
        since
    }
}

/// What is remembered between looks at one agent.
#[derive(Debug, Default)]
pub struct Eyes {
    screen: Watched,
    /// Its screen without what only ticks.
    still: Watched,
    transcript: Watched,
    hooks: VecDeque<String>,
    /// When the last of them came.
    heard: Option<Duration>,
    /// What of the transcript, up to where, was written before the wall clock was set, and by how much that was.
    jumps: VecDeque<(u64, SignedDuration)>,
}

/// Looks; takes as long as tmux does.
pub fn look(here: &Here, name: &LoopName, session: Option<Uuid>) -> Seen {
    let screen = tmux(here, name).screen().unwrap_or_default();
    let transcript = session.and_then(|id| tail(here, name, id)).unwrap_or_default();
    Seen { screen, transcript }
}

/// The same where the transcript's disk may hang: then only the screen tells.
pub fn look_in_time(here: &Here, name: &LoopName, session: Option<Uuid>, reader: &Reader) -> Seen {
    let screen = tmux(here, name).screen().unwrap_or_default();
    let transcript = session.and_then(|id| tail_in_time(here, name, id, reader)).unwrap_or_default();
    Seen { screen, transcript }
}

/// As [`tail`]; none where it does not answer.
pub fn tail_in_time(here: &Here, name: &LoopName, session: Uuid, reader: &Reader) -> Option<Tail> {
    let path = loop_state::transcript(here, here.rig.loops.get(name)?, session);
    let read = path.clone();
    reader.read(name, &path, move || end_of(&read)).flatten()
}

/// The zone of a loop's agent: its own `TZ`, where that is one that is known, else the machine's.
pub fn zone(here: &Here, name: &LoopName) -> TimeZone {
    let own = here.rig.loops.get(name).and_then(|spec| spec.env.get("TZ"));
    own.and_then(|name| TimeZone::get(name).ok()).unwrap_or_else(TimeZone::system)
}

/// The end of a conversation's transcript; none where it is no file.
pub fn tail(here: &Here, name: &LoopName, session: Uuid) -> Option<Tail> {
    let spec = here.rig.loops.get(name)?;
    end_of(&loop_state::transcript(here, spec, session))
}

fn end_of(path: &Path) -> Option<Tail> {
    let mut most = TAIL;
    loop {
        let mut from = 0;
        let begin = |length: u64| {
            from = length.saturating_sub(most);
            from
        };
        let bytes = content::part(path, most, begin).ok()??;
        // A torn record tells nothing.
        if from == 0 || most >= LONGEST || bytes.trim_ascii_end().contains(&b'\n') {
            return Some(Tail { from, text: String::from_utf8_lossy(&bytes).into_owned() });
        }
        most *= 4;
    }
}

impl Eyes {
    /// A new agent: nothing of the old one counts. It may go on with the same transcript.
    pub fn forget(&mut self) {
        *self = Self { jumps: std::mem::take(&mut self.jumps), ..Self::default() };
    }

    /// The conversation is another one.
    pub fn forget_transcript(&mut self) {
        (self.transcript, self.jumps) = (Watched::default(), VecDeque::new());
    }

    /// A hook fired.
    pub fn hook(&mut self, line: String) {
        self.heard = Some(clock::since_boot());
        self.hooks.push_back(line);
        while self.hooks.len() > HOOKS {
            self.hooks.pop_front();
        }
    }

    /// The wall clock was set, when the transcript was this long: what was told before is read as of the clock now.
    pub fn jumped(&mut self, by: SignedDuration, length: u64) {
        for line in &mut self.hooks {
            *line = signals::shifted(line, by).trim_end().to_owned();
        }
        self.jumps.push_back((length, by));
        while self.jumps.len() > JUMPS {
            self.jumps.pop_front();
        }
    }

    /// A transcript with all of its times by the clock as it is set now.
    pub fn by_clock<'a>(&self, tail: &'a Tail) -> Cow<'a, str> {
        if self.jumps.is_empty() {
            return Cow::Borrowed(&tail.text);
        }
        let (mut text, mut at) = (String::with_capacity(tail.text.len()), tail.from);
        for line in tail.text.split_inclusive('\n') {
            let by: SignedDuration =
                self.jumps.iter().filter(|(length, _)| at < *length).map(|(_, by)| *by).sum();
            at += line.len() as u64;
            if by.is_zero() {
                text += line;
            } else {
                text += &signals::shifted(line, by);
            }
        }
        Cow::Owned(text)
    }

    /// The hooks that are remembered, one a line.
    pub fn hooks(&self) -> String {
        self.hooks.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Since when the screen is as it was last seen.
    pub fn seen_at(&self) -> Option<Timestamp> {
        self.screen.0.map(|(_, since)| Moment::now().at(since))
    }

    /// The verdict on what is seen of an agent that has its times of day in this zone.
    pub fn judge(&mut self, seen: &Seen, zone: TimeZone, stall_after: SignedDuration) -> Verdict {
        self.judge_at(Moment::now(), seen, zone, stall_after)
    }

    fn judge_at(&mut self, now: Moment, seen: &Seen, zone: TimeZone, stall_after: SignedDuration) -> Verdict {
        // While a tool runs, whatever moves counts: it may be silent for as long as it likes.
        let (tool, still) = (signals::tool_runs(&seen.transcript.text), still::without_ticks(&seen.screen));
        let since = self.screen.sees(if tool == Some(false) { &still } else { &seen.screen }, now);
        let told = self.transcript.sees(&seen.transcript.text, now).max(self.heard.unwrap_or_default());
        let (moved, stood) = (told.max(since), told.max(self.still.sees(&still, now)));
        let quiet = (tool == Some(true)).then(|| now.since(stood));
        let verdict = decide(&Evidence {
            hooks: &self.hooks(),
            transcript: &self.by_clock(&seen.transcript),
            screen: &seen.screen,
            now: now.wall,
            seen_at: Some(now.at(since)),
            zone,
            stall_after,
            still: Some(now.since(moved)),
        });
        Verdict { quiet, ..verdict }
    }
}

#[cfg(test)]
mod tests {
    use ccorch_core::watchdog::Kind;

    use super::*;

    const BUSY: &str = "● Bash(make)\n  ⎿  Running…\n\n✻ Baking… (2s · esc to interrupt)\n\n\
                        ╭────────────╮\n│ >          │\n╰────────────╯\n";
    const BOX: &str = "╭────────────╮\n│ >          │\n╰────────────╯\n";
    const STALL: SignedDuration = SignedDuration::from_mins(20);

    fn moment(minutes: u64, ahead: i64) -> Moment {
        let start: Timestamp = "2026-06-01T10:00:00Z".parse().unwrap();
        let wall = start + SignedDuration::from_mins(i64::try_from(minutes).unwrap() + ahead);
        Moment { wall, boot: Duration::from_secs(1_000_000 + minutes * 60) }
    }

    #[test]
    fn a_clock_that_is_set_makes_no_working_agent_stalled_and_no_stalled_one_work() {
        for ahead in [-60, 60] {
            let mut eyes = Eyes::default();
            let seen = Seen { screen: BUSY.into(), transcript: Tail::default() };
            let mut at =
                |minutes, ahead| eyes.judge_at(moment(minutes, ahead), &seen, TimeZone::UTC, STALL).verdict;
            assert_eq!(at(0, 0), Kind::Working);
            assert_eq!(at(2, ahead), Kind::Working, "put by {ahead} min");
            assert_eq!(at(19, ahead), Kind::Working, "put by {ahead} min");
            assert_eq!(at(21, ahead), Kind::Stalled, "put by {ahead} min");
        }
    }

    /// A screen on which the seconds pass, and what else is counted there.
    fn ticking(minutes: u64, more: &str) -> String {
        let sign = ["✻", "✽", "✶"][(minutes % 3) as usize];
        BUSY.replace("✻ Baking… (2s ", &format!("{sign} Baking… ({minutes}m {}s {more}", minutes % 60))
    }

    /// The verdicts of a look every five minutes, with the transcript as it is then.
    fn looks(screen: impl Fn(u64) -> String, transcript: impl Fn(u64) -> String) -> Vec<(u64, Kind)> {
        let mut eyes = Eyes::default();
        let look = |at: u64| {
            let transcript = Tail { from: 0, text: transcript(at) };
            let seen = Seen { screen: screen(at), transcript };
            (at, eyes.judge_at(moment(at, 0), &seen, TimeZone::UTC, STALL).verdict)
        };
        (0..=60).step_by(5).map(look).collect()
    }

    const ASKED: &str = "{\"type\":\"user\",\"message\":{\"content\":\"go\"}}\n";
    const CALLED: &str =
        "{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"tool_use\",\"id\":\"t1\"}]}}\n";
    const RESULT: &str =
        "{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t1\"}]}}\n";

    #[test]
    fn a_turn_of_which_only_the_seconds_pass_is_stalled() {
        for transcript in [ASKED.to_owned(), [ASKED, CALLED, RESULT].concat()] {
            let all = looks(|at| ticking(at, ""), |_| transcript.clone());
            let expected = |at| if at > 20 { Kind::Stalled } else { Kind::Working };
            assert!(all.iter().all(|(at, kind)| *kind == expected(*at)), "{transcript}{all:?}");
        }
    }

    #[test]
    fn tokens_that_come_and_tools_that_run_are_work_however_long() {
        let works = |all: Vec<(u64, Kind)>| all.iter().all(|(_, kind)| *kind == Kind::Working);
        assert!(
            works(looks(|at| ticking(at, &format!("· ↓ {at}.1k tokens ")), |_| ASKED.into())),
            "it thinks"
        );
        assert!(works(looks(|at| ticking(at, ""), |_| [ASKED, CALLED].concat())), "a silent build");
        let others = CALLED.replace("t1", "t2");
        let one_of_two = [ASKED, CALLED, &others, RESULT].concat();
        assert!(works(looks(|at| ticking(at, ""), |_| one_of_two.clone())), "one of two is done");
        // Its result comes half an hour later, and then nothing.
        let all =
            looks(|at| ticking(at, ""), |at| [ASKED, CALLED, if at < 30 { "" } else { RESULT }].concat());
        let expected = |at| if at > 50 { Kind::Stalled } else { Kind::Working };
        assert!(all.iter().all(|(at, kind)| *kind == expected(*at)), "{all:?}");
        // The end of a transcript that begins behind the calls that were made together.
        assert!(works(looks(|at| ticking(at, ""), |_| RESULT.into())), "another one may run");
        // What nobody can read is no proof of anything.
        assert!(works(looks(|at| ticking(at, ""), |_| String::new())));
    }

    #[test]
    fn the_end_of_a_transcript_holds_a_whole_record_however_long_that_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long = format!(
            "{CALLED}{}\n",
            RESULT.trim_end().replace("\"t1\"", &format!("\"t1\",\"x\":\"{}\"", "y".repeat(300_000)))
        );
        std::fs::write(file.path(), format!("{}{long}", ASKED.repeat(3_000))).unwrap();
        let text = end_of(file.path()).unwrap().text;
        assert!(text.ends_with(&long) && text.len() > 300_000, "{}", text.len());
        assert_eq!(signals::tool_runs(&text), Some(false));
    }

    #[test]
    fn a_tool_that_runs_is_quiet_from_the_last_that_it_or_its_turn_showed() {
        let mut eyes = Eyes::default();
        let mut quiet = |at: u64, screen: &str, transcript: &str| {
            let transcript = Tail { from: 0, text: transcript.into() };
            let seen = Seen { screen: screen.into(), transcript };
            eyes.judge_at(moment(at, 0), &seen, TimeZone::UTC, STALL).quiet.map(|quiet| quiet.as_mins())
        };
        let called = [ASKED, CALLED].concat();
        assert_eq!(quiet(0, &ticking(0, ""), ASKED), None, "no tool runs");
        assert_eq!(quiet(5, &ticking(5, ""), &called), Some(0));
        assert_eq!(quiet(125, &ticking(125, ""), &called), Some(120));
        assert_eq!(quiet(130, &ticking(130, "· ↓ 1.1k tokens "), &called), Some(0));
        assert_eq!(quiet(140, &ticking(140, "· ↓ 1.1k tokens "), &called), Some(10));
        let over = [&called, RESULT].concat();
        assert_eq!(quiet(150, &ticking(150, "· ↓ 1.1k tokens "), &over), None);
        assert_eq!(quiet(160, &ticking(160, ""), &[&over, CALLED].concat().replace("t1", "t2")), Some(0));
    }

    #[test]
    fn what_was_told_before_the_clock_was_set_stays_before_what_was_told_after() {
        for ahead in [-60, 60] {
            let by = SignedDuration::from_mins(ahead);
            let record = format!(
                "{{\"type\":\"user\",\"message\":{{\"content\":\"go\"}},\"timestamp\":\"{}\"}}\n",
                moment(1, 0).wall
            );
            let seen = Seen { screen: BOX.into(), transcript: Tail { from: 7, text: record.clone() } };
            let mut eyes = Eyes::default();
            eyes.jumped(by, 7 + record.len() as u64);
            // It ended two minutes later, by the clock as it was set meanwhile.
            let stop = format!("{{\"hook_event_name\":\"Stop\",\"at\":\"{}\"}}", moment(3, ahead).wall);
            eyes.hook(stop);
            eyes.heard = None;
            let verdict = eyes.judge_at(moment(4, ahead), &seen, TimeZone::UTC, STALL);
            assert_eq!(verdict.verdict, Kind::Idle, "put by {ahead} min: {verdict:?}");
            // And one that was told the next thing has a turn open again, whatever was put right in between.
            eyes.jumped(-by, 7 + record.len() as u64);
            let next = record.replace(&moment(1, 0).wall.to_string(), &moment(5, 0).wall.to_string());
            let seen = Seen { transcript: Tail { from: 7, text: record + &next }, ..seen };
            assert_eq!(
                eyes.judge_at(moment(6, 0), &seen, TimeZone::UTC, STALL).verdict,
                Kind::Working,
                "put by {ahead} min"
            );
        }
    }
}
