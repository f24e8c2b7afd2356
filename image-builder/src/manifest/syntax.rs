//! What is not TOML, in words and places that help.

use crate::charter::Span;
use crate::problem::{Kind, Problem, Problems};

/// Reports the parser's errors. A table that is written twice gives an error for each of its keys: only the first one
/// says something.
pub fn report(text: &str, errors: Vec<toml::de::Error>, problems: &Problems) {
    let mut repeated_table: Option<Span> = None;
    for error in errors {
        let span = error.span().map_or(Span { start: 0, end: 0 }, |span| visible(text, span.into()));
        if !error.message().contains("duplicate key") {
            let problem = malformed(span, error.message());
            problems.add(match text[span.start..line_at(text, span.start).end].contains(['“', '”', '„', '‘', '’'])
            {
                true => problem.help("text is in plain quotes: \"…\""),
                false => problem,
            });
            continue;
        }
        let own_table = header_before(text, span.start);
        if own_table.is_some() && own_table == repeated_table {
            continue;
        }
        let line = line_at(text, span.start);
        let first = if text[line.start..].trim_start().starts_with('[') {
            repeated_table = Some(line);
            first_same_header(text, line)
        } else {
            first_same_key(text, own_table.map_or(0, |header| header.end), line, &text[span.start..span.end])
        };
        let name = text[span.start..span.end].trim();
        let problem = Problem::new(Kind::DuplicateKey, format!("`{name}` is written twice"), span, "again here");
        problems.add(match first {
            Some(first) => problem.and(first, "first here"),
            None => problem,
        });
    }
}

fn malformed(span: Span, message: &str) -> Problem {
    let mut lines = message.lines();
    let here = lines.next().unwrap_or("malformed").to_owned();
    let more: Vec<&str> = lines.collect();
    Problem::new(Kind::Syntax, "the charter is not well-formed TOML", span, here).maybe_help(if more.is_empty() {
        None
    } else {
        Some(more.join("; "))
    })
}

/// A span that can be underlined: inside the text, on character boundaries, not of line ends alone.
fn visible(text: &str, span: Span) -> Span {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let line = line_at(text, start);
    let mut end = span.end.clamp(start, line.end.max(start));
    while !text.is_char_boundary(end) {
        end += 1;
    }
    if start == end && start > line.start {
        // Behind the line's last character, which can be underlined in its place.
        start -= text[line.start..start].chars().next_back().map_or(0, char::len_utf8);
    }
    Span { start, end }
}

/// The line, without its end, that holds this place.
fn line_at(text: &str, at: usize) -> Span {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    Span { start, end }
}

/// Lines with their places.
fn lines(text: &str) -> impl DoubleEndedIterator<Item = (Span, &str)> {
    text.split('\n').map(move |line| {
        let start = line.as_ptr().addr() - text.as_ptr().addr();
        (Span { start, end: start + line.len() }, line)
    })
}

/// The last line before this place that begins a table.
fn header_before(text: &str, at: usize) -> Option<Span> {
    lines(text)
        .filter(|(line, _)| line.start <= at)
        .rfind(|(_, line)| line.trim_start().starts_with('['))
        .map(|(line, _)| line)
}

fn first_same_header(text: &str, own: Span) -> Option<Span> {
    let header = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let wanted = header(&text[own.start..own.end]);
    let found = lines(text).find(|(line, content)| line.start < own.start && header(content) == wanted);
    found.map(|(line, content)| Span { start: line.start, end: line.start + content.trim_end().len() })
}

fn first_same_key(text: &str, from: usize, own: Span, key: &str) -> Option<Span> {
    let found = lines(text).find(|(line, content)| {
        let rest = content.trim_start().strip_prefix(key).map(str::trim_start);
        (from..own.start).contains(&line.start) && rest.is_some_and(|rest| rest.starts_with(['=', '.']))
    });
    found.map(|(line, content)| {
        let start = line.start + (content.len() - content.trim_start().len());
        Span { start, end: start + key.len() }
    })
}
