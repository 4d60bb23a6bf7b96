//! The lines the stub obeys: `!stub ...` and `/exit`.

/// What a submitted line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// An ordinary message.
    Message,
    Crash(Crash),
    Hang,
    Limit(String),
    /// The same, and then the program leaves by itself.
    LimitExit(String),
    /// The same, and then a menu that holds the keyboard.
    LimitMenu(String),
    Throttle,
    Login,
    Exit(u8),
    Say(String),
    /// A turn that takes so many seconds, and is lost when the program has to leave before.
    Turn(u64),
    Pause,
    Work,
    /// A `!stub` line that is none of these, with what was wrong.
    Unknown(String),
}

/// How to crash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// Signal number.
    Signal(i32),
    Code(u8),
}

const SIGNALS: [(&str, i32); 9] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("ABRT", 6),
    ("BUS", 7),
    ("KILL", 9),
    ("SEGV", 11),
    ("TERM", 15),
];

impl Command {
    /// Reads a submitted text.
    pub fn parse(text: &str) -> Command {
        if text.trim() == "/exit" {
            return Command::Exit(0);
        }
        let Some(line) = text.strip_prefix("!stub ") else {
            return Command::Message;
        };
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let rest = rest.trim();
        let unknown = || Command::Unknown(format!("not a stub command: {line}"));
        match (word, rest) {
            ("crash", how) => Crash::parse(how).map_or_else(unknown, Command::Crash),
            ("hang", "") => Command::Hang,
            ("limit", text) if !text.is_empty() => Command::Limit(text.to_owned()),
            ("limit-exit", text) if !text.is_empty() => Command::LimitExit(text.to_owned()),
            ("limit-menu", text) if !text.is_empty() => Command::LimitMenu(text.to_owned()),
            ("throttle", "") => Command::Throttle,
            ("login", "") => Command::Login,
            ("exit", "") => Command::Exit(0),
            ("exit", code) => code.parse().map_or_else(|_| unknown(), Command::Exit),
            ("say", text) => Command::Say(text.to_owned()),
            ("turn", seconds) => seconds.parse().map_or_else(|_| unknown(), Command::Turn),
            ("pause", "") => Command::Pause,
            ("work", "") => Command::Work,
            _ => unknown(),
        }
    }
}

impl Crash {
    fn parse(how: &str) -> Option<Crash> {
        if how.is_empty() {
            return Some(Crash::Signal(9));
        }
        if let Some(code) = how.strip_prefix("code ") {
            return code.trim().parse().ok().map(Crash::Code);
        }
        let name = how.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        let known = SIGNALS.iter().find(|(known, number)| *known == name || number.to_string() == name);
        known.map(|(_, number)| Crash::Signal(*number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read() {
        let cases = [
            ("hello", Command::Message),
            ("say !stub hang", Command::Message),
            ("/exit", Command::Exit(0)),
            ("!stub crash", Command::Crash(Crash::Signal(9))),
            ("!stub crash sigsegv", Command::Crash(Crash::Signal(11))),
            ("!stub crash 15", Command::Crash(Crash::Signal(15))),
            ("!stub crash code 3", Command::Crash(Crash::Code(3))),
            ("!stub hang", Command::Hang),
            (
                "!stub limit 5-hour limit reached ∙ resets 5am",
                Command::Limit("5-hour limit reached ∙ resets 5am".into()),
            ),
            ("!stub limit-exit L", Command::LimitExit("L".into())),
            ("!stub limit-menu L", Command::LimitMenu("L".into())),
            ("!stub throttle", Command::Throttle),
            ("!stub login", Command::Login),
            ("!stub exit 4\n", Command::Exit(4)),
            ("!stub say a  b", Command::Say("a  b".into())),
            ("!stub turn 20", Command::Turn(20)),
            ("!stub pause", Command::Pause),
            ("!stub work", Command::Work),
        ];
        for (line, command) in cases {
            assert_eq!(Command::parse(line), command, "{line}");
        }
    }

    #[test]
    fn a_wrong_command_is_not_taken_for_another() {
        for line in [
            "!stub",
            "!stub crash often",
            "!stub limit",
            "!stub limit-menu",
            "!stub exit soon",
            "!stub turn",
            "!stub fly",
        ] {
            let command = Command::parse(line);
            assert!(matches!(command, Command::Unknown(_) | Command::Message), "{line}: {command:?}");
        }
    }
}
