//! No charter makes the builder panic, and what it accepts the kernel accepts.

mod common;

use common::judge;
use proptest::prelude::*;

/// Words that mean something in a charter, to be put in wrong places.
const WORDS: [&str; 40] = [
    "nvme",
    "block",
    "reader",
    "disk",
    "disk-data",
    "data",
    "0",
    "1",
    "63",
    "64",
    "-1",
    "\"4 MiB\"",
    "\"2 MiB\"",
    "\"1 GiB\"",
    "\"0\"",
    "\"3 KiB\"",
    "\"read-only\"",
    "\"read-write\"",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    "\"",
    "\n",
    "#",
    "call",
    "receive",
    "signal",
    "registers",
    "interrupt",
    "information",
    "dma",
    "window",
    "log",
    "namespace = 1,",
    "[tasks.more]\n",
    "0xffffffffffffffff",
    "ü",
];

#[derive(Clone, Debug)]
enum Change {
    /// Leaves a line out.
    Remove(usize),
    /// Writes a line a second time, elsewhere.
    Copy(usize, usize),
    /// Puts a word in place of a word.
    Replace(usize, usize),
    /// Puts a character in place of a character.
    Character(usize, char),
    /// Ends the text here.
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => any::<usize>().prop_map(Change::Remove),
        2 => any::<(usize, usize)>().prop_map(|(from, to)| Change::Copy(from, to)),
        8 => any::<(usize, usize)>().prop_map(|(at, word)| Change::Replace(at, word)),
        2 => any::<(usize, char)>().prop_map(|(at, character)| Change::Character(at, character)),
        1 => any::<usize>().prop_map(Change::Cut),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut changed = lines.clone();
    match *change {
        Change::Remove(at) => {
            changed.remove(at % lines.len());
        }
        Change::Copy(from, to) => changed.insert(to % lines.len(), lines[from % lines.len()]),
        Change::Replace(at, word) => {
            let is_part = |character: char| character.is_alphanumeric() || character == '-' || character == '_';
            let starts: Vec<usize> = text
                .char_indices()
                .filter(|(start, character)| is_part(*character) && !text[..*start].ends_with(is_part))
                .map(|(start, _)| start)
                .collect();
            let Some(start) = starts.get(at % starts.len().max(1)) else { return text.to_owned() };
            let length = text[*start..].find(|character| !is_part(character)).unwrap_or(text.len() - start);
            let word = WORDS[word % WORDS.len()];
            return format!("{}{word}{}", &text[..*start], &text[start + length..]);
        }
        Change::Character(at, character) => {
            let mut characters: Vec<char> = text.chars().collect();
            if characters.is_empty() {
                return text.to_owned();
            }
            let at = at % characters.len();
            characters[at] = character;
            return characters.into_iter().collect();
        }
        Change::Cut(at) => {
            let mut end = at % (text.len() + 1);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            return text[..end].to_owned();
        }
    }
    changed.join("\n")
}

#[test]
fn the_example_is_good() {
    assert!(judge(&common::example()));
}

#[test]
fn no_text_at_all_is_no_charter() {
    for text in
        ["", "\n", "\r\n", "#", "version", "version = 1", "\u{feff}", "version = 1\r\n[tasks", "version = 1\n[tasks]"]
    {
        assert!(!judge(text), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_changed_charter_panics(changes in proptest::collection::vec(change(), 1..4)) {
        let text = changes.iter().fold(common::example(), |text, change| apply(&text, change));
        judge(&text);
    }

    #[test]
    fn no_changed_fixture_panics(fixture in 0usize..1000, changes in proptest::collection::vec(change(), 0..3)) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let text = std::fs::read_to_string(&files[fixture % files.len()]).unwrap();
        judge(&changes.iter().fold(text, |text, change| apply(&text, change)));
    }

    #[test]
    fn no_text_panics(text in "(?s).{0,80}") {
        judge(&text);
        judge(&format!("version = 1\n{text}"));
    }
}
