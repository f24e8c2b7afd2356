//! Replays a recorded machine: the evidence in a captured serial log goes through the same rules as on the machine.

use std::fmt;

use abi::evidence::ITEMS_MAX;
use classify::recording::{self, NotEvidence};
use classify::report::report;

/// Why a recording was not classified.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A line of evidence is damaged.
    #[error("line {line} is no evidence")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        source: NotEvidence,
    },
    /// There is no evidence in it.
    #[error("no line of it begins with `{}`: is it the serial log of a boot?", recording::PREFIX)]
    Nothing,
    /// There is more in it than one boot gives.
    #[error("more than {MOST} lines of evidence: is it the log of several boots? Classify them one by one")]
    Several,
}

/// Most items of one recording.
const MOST: usize = 2 * ITEMS_MAX;

/// What the log of that machine says: classification, evidence, verdict.
///
/// # Errors
/// If the text holds no evidence, damaged evidence, or that of several boots.
pub fn classify(text: &str) -> Result<Vec<String>, RecordingError> {
    let items = recording::items(text)
        .map(|(line, item)| item.map_err(|source| RecordingError::Line { line, source }))
        .collect::<Result<Vec<_>, _>>()?;
    match items.len() {
        0 => Err(RecordingError::Nothing),
        1..=MOST => {
            let mut lines = Vec::new();
            report(&items, |component, line: fmt::Arguments<'_>| lines.push(format!("{}: {line}", component.name())));
            Ok(lines)
        }
        _ => Err(RecordingError::Several),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "cloud: evidence source=smbios field=system-manufacturer value=\"QEMU\"\n";

    #[test]
    fn a_recording_is_classified() {
        let lines = classify(&format!("firmware's noise\n{LINE}nvme: something else\n")).unwrap();
        assert_eq!(lines[0], LINE.trim());
        assert!(lines[1].starts_with("cloud: verdict provider=qemu "), "{lines:?}");
    }

    #[test]
    fn what_is_no_recording_is_refused_with_the_reason() {
        let refused = |text: &str| classify(text).unwrap_err().to_string();
        assert!(refused("nothing\n").contains("is it the serial log"));
        assert_eq!(refused(&format!("{LINE}\n{}", LINE.replace("field", "feild"))), "line 3 is no evidence");
        assert!(refused(&LINE.repeat(MOST + 1)).contains("several boots"));
    }
}
