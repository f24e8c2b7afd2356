//! The one parser of the serial log.
//!
//! One line is one event: `component: event words key=value key="quoted value"`. The component is lower case, the
//! words come before the first key, and a value has no spaces unless it is quoted; in a quoted value `\"` and `\\`
//! stand for themselves. Firmware shares the serial port; what it prints has no component in this sense and is not an
//! event.

use std::fmt;

/// One event of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who wrote it: the kernel takes this from the sender's identity.
    pub component: String,
    /// What happened: the words before the first key, separated by single spaces.
    pub event: String,
    /// Keys and values, in the order of the line.
    pub fields: Vec<(String, String)>,
}

/// Why a line is not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    /// It does not begin with a component name and a colon: firmware's, or half a line.
    #[error("no component")]
    NoComponent,
    /// There is nothing between the colon and the first key.
    #[error("no event")]
    NoEvent,
    /// A word follows a `key=value`.
    #[error("a word after a value")]
    WordAfterValue,
    /// A quoted value does not end, or something is glued to its end.
    #[error("a quoted value that does not end")]
    OpenQuote,
}

/// A value that is not there, or is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{line}`: {key} {problem}")]
pub struct FieldError {
    line: String,
    key: String,
    problem: String,
}

impl Event {
    /// Parses one line, without its line end.
    ///
    /// # Errors
    /// If it is not of the log's form.
    pub fn parse(line: &str) -> Result<Self, NotAnEvent> {
        let (component, rest) = line.split_once(": ").ok_or(NotAnEvent::NoComponent)?;
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if !is_name(component) {
            return Err(NotAnEvent::NoComponent);
        }
        let mut words = Vec::new();
        let mut fields = Vec::new();
        let mut rest = rest.trim_start();
        while !rest.is_empty() {
            let end = rest.find(' ').unwrap_or(rest.len());
            match rest[..end].split_once('=') {
                Some((key, _)) if is_key(key) => {
                    let (value, after) = value(&rest[key.len() + 1..])?;
                    fields.push((key.to_owned(), value));
                    rest = after;
                }
                _ if !fields.is_empty() => return Err(NotAnEvent::WordAfterValue),
                _ => {
                    words.push(&rest[..end]);
                    rest = &rest[end..];
                }
            }
            rest = rest.trim_start();
        }
        if words.is_empty() {
            return Err(NotAnEvent::NoEvent);
        }
        Ok(Self { component: component.to_owned(), event: words.join(" "), fields })
    }

    /// Whether this is that event of that component.
    pub fn is(&self, component: &str, event: &str) -> bool {
        self.component == component && self.event == event
    }

    /// The value of a key, if the line has it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The value of a key.
    ///
    /// # Errors
    /// If the line does not have it.
    pub fn text(&self, key: &str) -> Result<&str, FieldError> {
        self.get(key).ok_or_else(|| self.field_error(key, "is missing"))
    }

    /// The number of a key, decimal or `0x…`.
    ///
    /// # Errors
    /// If the line does not have it or it is no number.
    pub fn number(&self, key: &str) -> Result<u64, FieldError> {
        let text = self.text(key)?;
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map_err(|_| self.field_error(key, &format!("is `{text}`, not a number")))
    }

    fn field_error(&self, key: &str, problem: &str) -> FieldError {
        FieldError { line: self.to_string(), key: key.to_owned(), problem: problem.to_owned() }
    }
}

fn is_key(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_lowercase())
        && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

/// The value at the start of `text`, and what follows it.
fn value(text: &str) -> Result<(String, &str), NotAnEvent> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let after = &quoted[at + 1..];
                let ends = after.is_empty() || after.starts_with(' ');
                return if ends { Ok((value, after)) } else { Err(NotAnEvent::OpenQuote) };
            }
            '\\' => value.push(characters.next().ok_or(NotAnEvent::OpenQuote)?.1),
            _ => value.push(character),
        }
    }
    Err(NotAnEvent::OpenQuote)
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.component, self.event)?;
        for (key, value) in &self.fields {
            if value.is_empty() || value.contains([' ', '"', '\\']) {
                write!(f, " {key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))?;
            } else {
                write!(f, " {key}={value}")?;
            }
        }
        Ok(())
    }
}

/// Removes terminal control sequences (firmware clears the screen and sets colours) and control characters.
pub fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            if characters.next_if_eq(&'[').is_some() {
                // A control sequence ends with a character from @ to ~ (ECMA-48, 5.4).
                while characters.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            } else {
                characters.next();
            }
        } else if !character.is_control() {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_before_keys() {
        let event = Event::parse(r#"nvme: identify controller model="QEMU NVMe Ctrl" serial=charter-0 namespaces=2"#);
        let event = event.unwrap();
        assert!(event.is("nvme", "identify controller"));
        assert_eq!(event.text("model"), Ok("QEMU NVMe Ctrl"));
        assert_eq!(event.number("namespaces"), Ok(2));
        assert_eq!(event.get("missing"), None);
        assert_eq!(
            event.to_string(),
            r#"nvme: identify controller model="QEMU NVMe Ctrl" serial=charter-0 namespaces=2"#
        );
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        let event = Event::parse("nvme: controller bound pci_vendor=0x1b36 version=2.0").unwrap();
        assert_eq!(event.number("pci_vendor"), Ok(0x1b36));
        let error = event.number("version").unwrap_err().to_string();
        assert_eq!(error, "`nvme: controller bound pci_vendor=0x1b36 version=2.0`: version is `2.0`, not a number");
        assert!(event.number("device").unwrap_err().to_string().ends_with("device is missing"));
    }

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        let line = r#"block: note text="say \"no\" to C:\\" empty="""#;
        let event = Event::parse(line).unwrap();
        assert_eq!(event.text("text"), Ok(r#"say "no" to C:\"#));
        assert_eq!(event.text("empty"), Ok(""));
        assert_eq!(event.to_string(), line);
    }

    #[test]
    fn an_equals_sign_in_a_word_or_a_value_is_kept() {
        let event = Event::parse("dma: 2+2=4 a=b=c").unwrap();
        assert_eq!(event.event, "2+2=4");
        assert_eq!(event.text("a"), Ok("b=c"));
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_reason() {
        for (line, reason) in [
            ("", NotAnEvent::NoComponent),
            ("BdsDxe: loading Boot0001", NotAnEvent::NoComponent),
            ("no colon here", NotAnEvent::NoComponent),
            ("two words: text", NotAnEvent::NoComponent),
            ("nvme: ", NotAnEvent::NoEvent),
            ("nvme: key=value", NotAnEvent::NoEvent),
            ("nvme: event key=value word", NotAnEvent::WordAfterValue),
            ("nvme: event key=\"value", NotAnEvent::OpenQuote),
            ("nvme: event key=\"value\"x", NotAnEvent::OpenQuote),
            ("nvme: event key=\"value\\", NotAnEvent::OpenQuote),
        ] {
            assert_eq!(Event::parse(line), Err(reason), "{line}");
        }
    }

    #[test]
    fn terminal_control_sequences_are_removed() {
        assert_eq!(plain("\u{1b}[2J\u{1b}[01;01H\u{1b}[=3hBdsDxe: \u{1b}[0mloading\r"), "BdsDxe: loading");
        assert_eq!(plain("\u{1b}"), "");
    }
}
