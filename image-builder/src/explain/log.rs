//! What a serial log says of crashes.

use serde::Serialize;

/// What begins the line of a crash.
const STOPPED: &str = "kernel: task stopped ";
/// What begins the line in which a boot tells of a crash in one before it.
const PREVIOUS: &str = "crash: previous boot ";
/// What begins the first line of a boot.
const STARTING: &str = "charter: starting ";

/// The line of a task that stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Crash {
    /// The package of the boot that it was in, if the log has its first line or tells of it in a later boot.
    pub package: Option<u32>,
    /// Which task.
    pub task: String,
    /// Which generation of it, if the kernel restarts tasks.
    pub generation: Option<u32>,
    /// Why.
    pub cause: String,
    /// What else the line says of the cause: access, address, exit code and reason …
    pub details: Vec<(String, String)>,
    /// Where it was.
    pub instruction: u64,
    /// The last system call that it made.
    pub last_call: String,
    /// Its stack pointer.
    pub stack: u64,
    /// Its `rbp`.
    pub frame: u64,
    /// Words on its stack that lie in its code: bytes above the stack pointer, and value.
    pub words: Vec<(u64, u64)>,
}

/// A line of a crash that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the log: {what} in `{text}`")]
pub struct LineError {
    line: usize,
    what: String,
    text: String,
}

/// Every crash, in the order of the log; where a later boot tells of one again, once.
///
/// # Errors
/// If a line that begins as a crash's is not one.
pub fn crashes(log: &str) -> Result<Vec<Crash>, LineError> {
    let mut package = None;
    let mut crashes = Vec::new();
    for (index, line) in log.lines().enumerate() {
        if let Some(rest) = event(line, STARTING) {
            package = fields(rest).and_then(|fields| fields.into_iter().find(|(key, _)| key == "package"));
        }
        let (rest, is_again) = match (event(line, STOPPED), event(line, PREVIOUS)) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => continue,
        };
        let error = |what: String| LineError { line: index + 1, what, text: line.trim_end().to_owned() };
        let package = package.as_ref().and_then(|(_, value)| number(value)).and_then(|value| value.try_into().ok());
        let fields = fields(rest).ok_or_else(|| error("a value that does not end".into()))?;
        let crash = crash(package, fields).map_err(|key| error(format!("no {key}, or none that can be read,")))?;
        if !is_again || !crashes.contains(&crash) {
            crashes.push(crash);
        }
    }
    Ok(crashes)
}

/// What follows these words at a line's beginning, or where firmware's control sequences end: not where somebody only
/// repeats them.
fn event<'a>(line: &'a str, words: &str) -> Option<&'a str> {
    let (before, rest) = line.split_once(words)?;
    (before.is_empty() || (before.contains('\x1b') && !before.contains(": "))).then_some(rest)
}

fn crash(package: Option<u32>, fields: Vec<(String, String)>) -> Result<Crash, &'static str> {
    let mut crash = Crash { package, ..Crash::default() };
    let mut seen = Vec::new();
    for (key, value) in fields {
        let known = match key.as_str() {
            "task" => Some(("task", {
                crash.task = value;
                true
            })),
            "cause" => Some(("cause", {
                crash.cause = value;
                true
            })),
            "last_call" => Some(("last_call", {
                crash.last_call = value;
                true
            })),
            "instruction" => Some(("instruction", read(&value, &mut crash.instruction))),
            "stack" => Some(("stack", read(&value, &mut crash.stack))),
            "frame" => Some(("frame", read(&value, &mut crash.frame))),
            // Of the record that a later boot tells.
            "package" => {
                crash.package = number(&value).and_then(|value| value.try_into().ok());
                None
            }
            "record" | "boot" | "time_us" => None,
            "generation" => {
                crash.generation = value.parse().ok();
                None
            }
            "backtrace" => {
                let words = words(&value);
                let good = words.is_some();
                crash.words = words.unwrap_or_default();
                Some(("backtrace", good))
            }
            _ => {
                crash.details.push((key, value));
                None
            }
        };
        seen.extend(known.filter(|(_, good)| *good).map(|(key, _)| key));
    }
    let needed = ["task", "cause", "instruction", "last_call", "stack", "frame", "backtrace"];
    match needed.into_iter().find(|key| !seen.contains(key)) {
        Some(missing) => Err(missing),
        None => Ok(crash),
    }
}

fn read(value: &str, to: &mut u64) -> bool {
    number(value).map(|number| *to = number).is_some()
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `+0x8:0x400123,+0x20:0x400456`, or `none`.
fn words(text: &str) -> Option<Vec<(u64, u64)>> {
    if text == "none" {
        return Some(Vec::new());
    }
    let word = |word: &str| {
        let (place, value) = word.strip_prefix('+')?.split_once(':')?;
        Some((number(place)?, number(value)?))
    };
    text.split(',').map(word).collect()
}

/// `key=value key="quoted value"`; `None` if a quoted value does not end.
fn fields(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    while let Some((before, after)) = rest.split_once('=') {
        let key = before.rsplit(' ').next().unwrap_or(before).to_owned();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(|character: char| character.is_whitespace()).unwrap_or(after.len())),
        };
        fields.push((key, value.to_owned()));
        rest = left;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "kernel: task stopped task=nvme generation=2 cause=exit code=101 reason=\"panic: a = b\" \
                        address=none instruction=0x401000 last_call=exit stack=0x3fefff00 frame=0x0 \
                        backtrace=+0x8:0x400123,+0x20:0x400456";

    #[test]
    fn a_crash_is_read_with_the_image_that_it_is_of() {
        let log = format!(
            "BdsDxe: x\r\ncharter: starting system=a version=1 tasks=5 package=0x0000abcd\r\n{LINE}\r\n\
             charter: starting system=a version=1 tasks=5 package=0x12\n{}\n",
            LINE.replace("+0x8:0x400123,+0x20:0x400456", "none")
        );
        let [first, second] = &crashes(&log).unwrap()[..] else { panic!("two crashes") };
        assert_eq!((first.package, second.package), (Some(0xabcd), Some(0x12)));
        assert_eq!((first.task.as_str(), first.generation, first.cause.as_str()), ("nvme", Some(2), "exit"));
        assert_eq!((first.instruction, first.stack, first.frame), (0x40_1000, 0x3fef_ff00, 0));
        assert_eq!(first.words, [(8, 0x40_0123), (0x20, 0x40_0456)]);
        assert_eq!(first.details[1], ("reason".to_owned(), "panic: a = b".to_owned()));
        assert!(second.words.is_empty());
    }

    #[test]
    fn a_piece_of_a_log_has_no_image_and_a_torn_line_is_told_of() {
        assert_eq!(crashes(LINE).unwrap()[0].package, None);
        let torn = crashes(&format!("x\n{}", &LINE[..LINE.len() - 30])).unwrap_err().to_string();
        assert!(torn.starts_with("line 2 of the log: no backtrace, or none that can be read, in `kernel: "), "{torn}");
        assert_eq!(crashes("charter: boot complete tasks=5\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_crash_that_the_next_boot_tells_again_is_one_and_alone_it_is_known_as_well() {
        let again = LINE
            .replace("kernel: task stopped ", "crash: previous boot record=1 boot=3 package=0x0000abcd time_us=12 ");
        let next = format!("charter: starting system=a version=2 tasks=5 package=0x12\n{again}\n");
        let both = format!("charter: starting system=a version=1 tasks=5 package=0x0000abcd\n{LINE}\n{next}");
        assert_eq!(crashes(&both).unwrap().len(), 1);
        let [alone] = &crashes(&next).unwrap()[..] else { panic!("one crash") };
        assert_eq!((alone.package, alone.words.len(), alone.details.len()), (Some(0xabcd), 2, 3));
        assert_eq!(*alone, crashes(&both).unwrap()[0]);
    }

    #[test]
    fn what_only_quotes_a_crash_is_none() {
        assert_eq!(crashes(&format!("reader: says {LINE}\n> {LINE}\n")), Ok(Vec::new()));
    }
}
