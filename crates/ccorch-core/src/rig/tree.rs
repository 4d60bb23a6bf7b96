//! The rig file as a tree that remembers its lines, read from YAML with every bound a hostile file could exceed.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::finding::{Finding, child, item, shown};

/// The largest rig file that is read, in bytes; a real one has a few thousand.
pub const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting; the schema itself needs six.
const MAX_DEPTH: usize = 32;
/// What all nodes may weigh after aliases are expanded, in bytes: a "billion laughs" ends here.
const MAX_WEIGHT: usize = 64 << 20;

/// A node and the line it starts on, from 1.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub line: usize,
    pub value: Value,
}

/// What a node holds. Scalars stay text: what they mean depends on what the schema expects.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar { text: String, plain: bool },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` with the line of its key.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub line: usize,
    pub key: String,
    /// Whether the key is a bare `<<`, which YAML 1.1 took for "merge".
    pub merge: bool,
    pub node: Node,
}

impl Node {
    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// (weight in bytes, depth); recursion is bounded because no tree deeper than `MAX_DEPTH` is ever built.
    fn measure(&self) -> (usize, usize) {
        let below: Vec<(usize, usize)> = match &self.value {
            Value::Scalar { text, .. } => return (size_of::<Self>() + text.len(), 1),
            Value::List(items) => items.iter().map(Self::measure).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|e| {
                    let (weight, depth) = e.node.measure();
                    (weight + e.key.len(), depth)
                })
                .collect(),
        };
        let weight = below.iter().map(|b| b.0).sum::<usize>() + size_of::<Self>();
        (weight, 1 + below.iter().map(|b| b.1).max().unwrap_or(0))
    }
}

/// Reads one YAML document. Without a tree there is at least one finding.
pub(super) fn read(text: &str) -> (Option<Node>, Vec<Finding>) {
    let mut findings = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        let message =
            format!("the file has {} bytes; expected a rig file of at most {MAX_BYTES}", text.len());
        return (None, vec![Finding::error(0, "", message)]);
    }
    // Neither YAML nor JSON allows these in a file, and the reader would take a NUL for the end.
    if let Some(at) = text.find(|c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r')) {
        let line = 1 + text[..at].matches('\n').count();
        let found = shown(&text[at..].chars().take(1).collect::<String>());
        return (None, vec![Finding::error(line, "", format!("not a text file: control character {found}"))]);
    }
    let mut builder = Builder::new(&mut findings);
    let result = builder.run(text);
    let root = match result {
        Ok(Some(root)) => Some(root),
        Ok(None) => {
            findings.push(Finding::error(1, "", "the file is empty; a rig file starts with `rig: NAME`"));
            None
        }
        Err(stop) => {
            findings.push(*stop);
            None
        }
    };
    (root, findings)
}

/// The number of the last line; lines end with `\n`, `\r\n` or, for YAML, `\r`.
pub(super) fn last_line(text: &str) -> usize {
    let unix = text.replace("\r\n", "\n").replace('\r', "\n");
    unix.lines().count().max(1)
}

/// What the YAML parser stumbled over. It reports where a value began; a tab may stand lines further on.
fn syntax(text: &str, line: usize, info: &str) -> Finding {
    let tab = |l: &str| l.trim_start_matches(' ').starts_with('\t');
    match text.lines().enumerate().skip(line.saturating_sub(1)).find(|(_, l)| tab(l)) {
        Some((index, _)) if info.contains("tab") => {
            Finding::error(index + 1, "", "not valid YAML: a tab indents this line; expected spaces")
        }
        _ => Finding::error(line, "", format!("not valid YAML: {info}")),
    }
}

/// Ends the reading: nothing after it can be trusted.
type Stop = Box<Finding>;

struct Builder<'f> {
    findings: &'f mut Vec<Finding>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    weight: usize,
    root: Option<Node>,
}

/// A list or mapping that is not closed yet.
struct Open {
    line: usize,
    anchor: usize,
    path: String,
    holds: Holds,
}

struct Key {
    line: usize,
    text: String,
    plain: bool,
}

enum Holds {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, lines: HashMap<String, usize>, key: Option<Key> },
}

impl<'f> Builder<'f> {
    fn new(findings: &'f mut Vec<Finding>) -> Self {
        Self { findings, open: Vec::new(), anchors: HashMap::new(), weight: 0, root: None }
    }

    fn run(&mut self, text: &str) -> Result<Option<Node>, Stop> {
        let mut parser = Parser::new_from_str(text);
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|e| Box::new(syntax(text, e.marker().line(), e.info())))?;
            let line = span.start.line();
            match event {
                Event::DocumentStart(_) if self.root.is_some() => {
                    let message = "a second YAML document starts here; expected one rig in one file";
                    self.findings.push(Finding::error(line, "", message));
                    break;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let plain = style == ScalarStyle::Plain && !self.tag(line, tag.as_deref(), "str");
                    let node = Node { line, value: Value::Scalar { text: text.into_owned(), plain } };
                    self.keep(anchor, &node)?;
                    self.place(node)?;
                }
                Event::Alias(anchor) => {
                    let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                        Box::new(Finding::error(line, self.path(), "this alias stands inside what it names"))
                    })?;
                    self.charge(line, &node)?;
                    self.place(node)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.tag(line, tag.as_deref(), "seq");
                    self.start(line, anchor, Holds::List(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.tag(line, tag.as_deref(), "map");
                    let holds = Holds::Map { entries: Vec::new(), lines: HashMap::new(), key: None };
                    self.start(line, anchor, holds)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
                _ => {}
            }
        }
        Ok(self.root.take())
    }

    /// The path of what comes next.
    fn path(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(open) => match &open.holds {
                Holds::List(items) => item(&open.path, items.len()),
                Holds::Map { key: Some(key), .. } => child(&open.path, &key.text),
                Holds::Map { key: None, .. } => open.path.clone(),
            },
        }
    }

    /// Whether the tag is the standard one of this name; any other is a finding, for it would be ignored.
    fn tag(&mut self, line: usize, tag: Option<&Tag>, name: &str) -> bool {
        let Some(tag) = tag else { return false };
        if tag.is_yaml_core_schema() && tag.suffix == name {
            return true;
        }
        let given = shown(&format!("{}{}", tag.handle, tag.suffix));
        let message = format!("the tag {given} means nothing here; expected a plain value");
        self.findings.push(Finding::error(line, self.path(), message));
        false
    }

    fn start(&mut self, line: usize, anchor: usize, holds: Holds) -> Result<(), Stop> {
        self.key_is_scalar(line)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(self.too_deep(line));
        }
        let path = self.path();
        self.open.push(Open { line, anchor, path, holds });
        Ok(())
    }

    fn too_deep(&self, line: usize) -> Stop {
        // The whole path would be as long as the nesting is deep.
        let top: String = self.path().split(['.', '[']).next().unwrap_or_default().to_owned();
        Box::new(Finding::error(line, top, format!("nested deeper than {MAX_DEPTH} levels")))
    }

    fn key_is_scalar(&self, line: usize) -> Result<(), Stop> {
        match self.open.last() {
            Some(Open { holds: Holds::Map { key: None, .. }, path, .. }) => Err(Box::new(Finding::error(
                line,
                path.clone(),
                "a list or mapping stands where a key was expected (a value that starts with `{`, `[`, `*` or `&` needs quotes)",
            ))),
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.holds {
            Holds::List(items) => Value::List(items),
            Holds::Map { entries, .. } => Value::Map(entries),
        };
        let node = Node { line: open.line, value };
        self.keep(open.anchor, &node)?;
        self.place(node)
    }

    fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), Stop> {
        if anchor > 0 {
            self.charge(node.line, node)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    /// Every copy of an anchored node is paid for before it is made.
    fn charge(&mut self, line: usize, node: &Node) -> Result<(), Stop> {
        let (weight, depth) = node.measure();
        if self.open.len() + depth > MAX_DEPTH {
            return Err(self.too_deep(line));
        }
        self.weight += weight;
        if self.weight > MAX_WEIGHT {
            let message = format!("aliases make this file larger than {} MiB", MAX_WEIGHT >> 20);
            return Err(Box::new(Finding::error(line, self.path(), message)));
        }
        Ok(())
    }

    fn place(&mut self, node: Node) -> Result<(), Stop> {
        let Some(Open { holds, path, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match holds {
            Holds::List(items) => items.push(node),
            Holds::Map { entries, lines, key } => match key.take() {
                None => match node.value {
                    Value::Scalar { text, plain } => *key = Some(Key { line: node.line, text, plain }),
                    _ => {
                        let message = "an alias of a list or mapping stands where a key was expected";
                        return Err(Box::new(Finding::error(node.line, path.clone(), message)));
                    }
                },
                Some(Key { line, text: key, plain }) => match lines.get(&key) {
                    Some(first) => {
                        let message = format!("this key is given twice; it stands on line {first} already");
                        self.findings.push(Finding::error(line, child(path, &key), message));
                    }
                    None => {
                        lines.insert(key.clone(), line);
                        let merge = plain && key == "<<";
                        entries.push(Entry { line, key, merge, node });
                    }
                },
            },
        }
        Ok(())
    }
}
