//! What machine this is: the classification task's verdict and evidence.

use core::fmt;
use core::time::Duration;

use classify::recording;
use protocol::classify::{Answer, Request, Verdict};
use task::abi::evidence::Item;
use task::{Call, Deadline};

use crate::say;
use crate::terminal::Terminal;

/// The task answers from what it knows.
const PATIENCE: Duration = Duration::from_secs(10);

fn ask(cloud: Call, request: Request, terminal: &mut Terminal) -> Option<Answer> {
    match cloud.call(&request, Deadline::after(PATIENCE)) {
        Ok(answer) => Some(answer),
        Err(error) => {
            say!(terminal, "the classification task does not answer: {error}");
            None
        }
    }
}

/// The evidence, item by item.
fn each_item(cloud: Call, terminal: &mut Terminal, mut each: impl FnMut(&mut Terminal, &Item)) -> Option<u16> {
    for number in 0..u16::MAX {
        match ask(cloud, Request::Evidence(number), terminal)? {
            Answer::Evidence(Some(item)) => each(terminal, &item),
            _ => return Some(number),
        }
    }
    None
}

/// Shows the verdict, then each fact that it rests on.
pub fn verdict(cloud: Call, terminal: &mut Terminal) {
    let Some(Answer::Verdict(verdict)) = ask(cloud, Request::Verdict, terminal) else { return };
    let Verdict { provider, candidates, confidence, generation, storage, supporting, against } = verdict;
    say!(terminal, "provider={provider} confidence={confidence} generation={generation}");
    say!(terminal, "storage={} candidates={}", List(&storage), List(&candidates));
    say!(terminal, "for={}", List(&supporting));
    say!(terminal, "against={}", List(&against));
    each_item(cloud, terminal, |terminal, item| say!(terminal, "evidence {}", recording::Line(item)));
    say!(terminal, "nobody attests it: this is what the machine says of itself");
}

/// Shows the evidence as a recording: what `image-builder classify` replays.
pub fn record(cloud: Call, terminal: &mut Terminal) {
    let told = each_item(cloud, terminal, |terminal, item| say!(terminal, "cloud: evidence {}", recording::Line(item)));
    if let Some(items) = told {
        say!(terminal, "recorded items={items}");
    }
}

/// Names with commas between them.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        self.0.iter().enumerate().try_for_each(|(index, item)| write!(f, "{}{item}", if index > 0 { "," } else { "" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::everything;
    use crate::terminal::tests::written;
    use std::string::String;
    use std::vec::Vec;
    use task::Frame;
    use task::abi::evidence::{SmbiosField, text};
    use task::abi::system_call::Number;

    fn items() -> [Item; 2] {
        [
            Item::Processor { leaf: 0x4000_0000, registers: [1, 2, 3, 4] },
            Item::Smbios { field: SmbiosField::SystemProduct, value: text(b"a \"quoted\" name") },
        ]
    }

    /// A classification task: its answers go to the IPC buffer, as long ones do.
    fn classification(frame: &mut Frame, buffer: &mut [u8]) {
        if frame.code != Number::Call as u64 {
            return;
        }
        let mut request = [0; 48];
        for (place, word) in request.as_chunks_mut().0.iter_mut().zip(frame.words) {
            *place = word.to_le_bytes();
        }
        let answer = match postcard::from_bytes(&request[..frame.arguments[1] as usize]).unwrap() {
            Request::Evidence(number) => Answer::Evidence(items().get(usize::from(number)).cloned()),
            _ => Answer::Malformed,
        };
        let bytes = postcard::to_stdvec(&answer).unwrap();
        frame.arguments[1] = bytes.len() as u64;
        if bytes.len() > 48 {
            buffer[..bytes.len()].copy_from_slice(&bytes);
        } else {
            let mut words = [0; 48];
            words[..bytes.len()].copy_from_slice(&bytes);
            let words: Vec<_> = words.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
            frame.words = words.try_into().unwrap();
        }
    }

    #[test]
    fn a_recording_survives_the_terminal() {
        let text = written(classification, |terminal| record(everything().cloud.unwrap(), terminal));
        // As the serial port shows it.
        let shown: String = text.lines().map(|line| std::format!("> {line}\r\n")).collect();
        let read: Vec<_> = recording::items(&shown).map(|(_, item)| item.unwrap()).collect();
        assert_eq!(read, items());
        assert!(text.ends_with("\nrecorded items=2\n"));
    }
}
