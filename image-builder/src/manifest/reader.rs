//! Tables and values of a manifest that know what they are called, and say so when they are not what was expected.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::charter::values::{Bytes, Name, ValueError};
use crate::charter::{Located, Span};
use crate::problem::{Kind, Problem, Problems, closest};

/// What messages call the whole manifest.
pub const ROOT: &str = "the charter";

/// A table of the manifest. Every key that is asked for is a key that may be there; [`Table::finish`] reports others.
pub struct Table<'t> {
    subject: String,
    span: Span,
    entries: &'t DeTable<'t>,
    known: Vec<&'static str>,
    all_is_known: bool,
    /// Unknown keys that were reported already, as slips of others.
    slips: Vec<String>,
    problems: &'t Problems,
}

impl<'t> Table<'t> {
    /// `subject` is what messages call it, `span` is underlined where something is missing in it.
    pub fn new(subject: String, span: Span, entries: &'t DeTable<'t>, problems: &'t Problems) -> Self {
        Self { subject, span, entries, known: Vec::new(), all_is_known: false, slips: Vec::new(), problems }
    }

    /// What messages call it.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What is underlined where something is missing in it.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Gives it a longer name.
    pub fn set_subject(&mut self, subject: String) {
        self.subject = subject;
    }

    /// Keys that are possible here, although not asked for.
    pub fn allow(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    /// Reports no unknown keys: it is not known which keys are possible.
    pub fn allow_all(&mut self) {
        self.all_is_known = true;
    }

    /// Where a list is, and how many items it has.
    pub fn list(&self, key: &str) -> Option<(Span, usize)> {
        let (_, value) = self.entry(key)?;
        value.get_ref().as_array().map(|items| (value.span().into(), items.as_ref().len()))
    }

    /// What came out well; a mistake is kept, and gives `None`.
    pub fn keep<T>(&self, result: Result<T, Problem>) -> Option<T> {
        self.problems.keep(result)
    }

    /// Reports a mistake.
    pub fn problem(&self, problem: Problem) {
        self.problems.add(problem);
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.keys().any(|own| own.get_ref() == key)
    }

    /// Whether the key is there, and a table.
    pub fn is_table(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|(_, value)| value.get_ref().is_table())
    }

    /// Every key that is there.
    pub fn keys(&self) -> impl Iterator<Item = Located<String>> + use<'t> {
        let entries: &'t DeTable<'t> = self.entries;
        entries.keys().map(|key| Located { value: key.get_ref().to_string(), span: key.span().into() })
    }

    fn find(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.allow(key);
        let (_, value) = self.entries.iter().find(|(own, _)| own.get_ref() == key)?;
        Some(Value { subject: format!("`{key}` of {}", self.subject), value })
    }

    /// A value that must be there; `example` shows one.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(Value<'t>) -> Result<T, Problem>,
    ) -> Option<T> {
        match self.find(key) {
            Some(value) => self.problems.keep(read(value)),
            None => {
                let message = format!("{} has no `{key}`", self.subject);
                let near = closest(key, self.entries.keys().map(|own| own.get_ref().as_ref()));
                self.problems.add(match near.and_then(|near| self.entry(near)) {
                    // One mistake, not two: the key is there, under another name.
                    Some((span, _)) => {
                        self.slips.push(near.unwrap_or_default().to_owned());
                        Problem::new(Kind::UnknownKey, message, span, "not a key here")
                            .help(format!("did you mean `{key}`?"))
                    }
                    None => Problem::new(Kind::MissingKey, message, self.span, format!("`{key}` is missing"))
                        .help(format!("add `{example}`")),
                });
                None
            }
        }
    }

    /// A value that may be left out.
    pub fn optional<T>(&mut self, key: &'static str, read: impl FnOnce(Value<'t>) -> Result<T, Problem>) -> Option<T> {
        let value = self.find(key)?;
        self.problems.keep(read(value))
    }

    /// A table that may be left out.
    pub fn optional_table<T>(&mut self, key: &'static str, read: impl FnOnce(Table<'t>) -> T) -> Option<T> {
        let value = self.find(key)?;
        let (span, _) = self.entry(key)?;
        let subject = if self.subject == ROOT { format!("[{key}]") } else { format!("{key} of {}", self.subject) };
        let entries = self.problems.keep(value.table())?;
        Some(read(Table::new(subject, span, entries, self.problems)))
    }

    /// A list of tables that may be left out; `subject` is what messages call each of them.
    pub fn optional_tables<T>(
        &mut self,
        key: &'static str,
        subject: &str,
        mut read: impl FnMut(Table<'t>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.find(key)?;
        let items = self.problems.keep(value.array("a list of tables", "[{ … }]"))?;
        let problems = self.problems;
        let tables = items.iter().filter_map(|item| {
            let value = Value { subject: format!("each of {}", value.subject), value: item };
            let entries = problems.keep(value.table())?;
            read(Table::new(subject.to_owned(), item.span().into(), entries, problems))
        });
        Some(tables.collect())
    }

    /// A list of strings that may be left out, each of which `make` takes.
    pub fn optional_texts<T>(
        &mut self,
        key: &'static str,
        make: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<Vec<Located<T>>> {
        let value = self.find(key)?;
        let items = self.problems.keep(value.array("a list of strings", "[\"…\"]"))?;
        let item = |item| Value { subject: format!("each of {}", value.subject), value: item };
        // Every mistake is reported, not only the first.
        let texts: Vec<_> = items.iter().map(|value| self.problems.keep(item(value).text(&make))).collect();
        texts.into_iter().collect()
    }

    /// Where the value of a key is, if it is there.
    pub fn span_of(&self, key: &str) -> Option<Span> {
        self.entry(key).map(|(_, value)| value.span().into())
    }

    /// A table of tables, each with a name. The names go into `declared`, whatever their tables hold.
    pub fn named_tables<T>(
        &mut self,
        key: &'static str,
        what: &str,
        declared: &mut Vec<String>,
        mut read: impl FnMut(Located<Name>, &mut Table<'t>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Some(entries) = self.problems.keep(value.table()) else { return Vec::new() };
        let problems = self.problems;
        let items = entries.iter().filter_map(|(key, item)| {
            let key = Located { value: key.get_ref().to_string(), span: key.span().into() };
            let subject = format!("{what} `{}`", key.value);
            declared.push(key.value.clone());
            let name = problems.keep(super::name_of(&key, &subject));
            let value = Value { subject: subject.clone(), value: item };
            let mut table = Table::new(subject, key.span, problems.keep(value.table())?, problems);
            let item = read(name?, &mut table);
            table.finish();
            item
        });
        items.collect()
    }

    /// Keys that are not fixed, and their values.
    pub fn entries(&self) -> impl Iterator<Item = (Located<String>, Value<'t>)> + use<'t> {
        let subject = self.subject.clone();
        let entries: &'t DeTable<'t> = self.entries;
        entries.iter().map(move |(key, value)| {
            let subject = format!("`{}` of {subject}", key.get_ref());
            (Located { value: key.get_ref().to_string(), span: key.span().into() }, Value { subject, value })
        })
    }

    fn entry(&self, key: &str) -> Option<(Span, &'t Spanned<DeValue<'t>>)> {
        self.entries.iter().find(|(own, _)| own.get_ref() == key).map(|(own, value)| (own.span().into(), value))
    }

    /// Reports every key that nobody asked for.
    pub fn finish(&self) {
        if self.all_is_known {
            return;
        }
        let is_known = |key: &str| self.known.contains(&key) || self.slips.iter().any(|slip| slip == key);
        for key in self.keys().filter(|key| !is_known(&key.value)) {
            let message = format!("unknown key `{}` in {}", key.value, self.subject);
            let help = match closest(&key.value, self.known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("possible here: {}", self.known.join(", ")),
            };
            self.problem(Problem::new(Kind::UnknownKey, message, key.span, "not a key here").help(help));
        }
    }
}

/// A value of the manifest.
pub struct Value<'t> {
    subject: String,
    value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Value<'t> {
    /// Where it is.
    pub fn span(&self) -> Span {
        self.value.span().into()
    }

    fn wrong(&self, expected: &str) -> Problem {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("{} is {found}", self.subject);
        Problem::new(Kind::WrongType, message, self.span(), format!("expected {expected}"))
    }

    fn located<T>(&self, value: Result<T, ValueError>) -> Result<Located<T>, Problem> {
        match value {
            Ok(value) => Ok(Located { value, span: self.span() }),
            Err(error) => Err(Problem::value(&self.subject, self.span(), error)),
        }
    }

    /// A string that `make` takes.
    pub fn text<T>(self, make: impl FnOnce(&str) -> Result<T, ValueError>) -> Result<Located<T>, Problem> {
        match self.value.get_ref() {
            DeValue::String(text) => self.located(make(text)),
            DeValue::Integer(integer) => {
                let number = u64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(0);
                let help = match make(&number.to_string()) {
                    Err(error) if error.kind == Kind::MissingUnit => {
                        format!("a size is text, with a unit: \"{}\"", Bytes(number))
                    }
                    _ => format!("text is in quotes: \"{number}\""),
                };
                Err(self.wrong("a string").help(help))
            }
            DeValue::Boolean(value) => Err(self.wrong("a string").help(format!("text is in quotes: \"{value}\""))),
            _ => Err(self.wrong("a string")),
        }
    }

    /// A whole number, not negative, that `make` takes.
    pub fn number<T>(self, make: impl FnOnce(u64) -> Result<T, ValueError>) -> Result<Located<T>, Problem> {
        let DeValue::Integer(integer) = self.value.get_ref() else {
            let problem = self.wrong("a number");
            return Err(match self.value.get_ref() {
                DeValue::String(text) if text.parse::<u64>().is_ok() => {
                    problem.help(format!("a number has no quotes: {text}"))
                }
                DeValue::Float(_) => problem.help("numbers are whole"),
                _ => problem,
            });
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| ValueError {
            kind: Kind::OutOfRange,
            message: "out of range".into(),
            help: Some("numbers are whole, from 0 to 2^64 − 1".into()),
        });
        self.located(number.and_then(make))
    }

    /// True or false.
    pub fn boolean(self) -> Result<bool, Problem> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Ok(*value),
            DeValue::String(_) => Err(self.wrong("true or false").help("`true` or `false`, without quotes")),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// A table.
    pub fn table(&self) -> Result<&'t DeTable<'t>, Problem> {
        match self.value.get_ref() {
            DeValue::Table(table) => Ok(table),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                Err(self.wrong("a table").help("a table is there once, in single brackets or in braces alone"))
            }
            _ => Err(self.wrong("a table")),
        }
    }

    fn array(&self, expected: &str, single: &str) -> Result<&'t DeArray<'t>, Problem> {
        match self.value.get_ref() {
            DeValue::Array(array) => Ok(array),
            DeValue::Table(_) | DeValue::String(_) => {
                Err(self.wrong(expected).help(format!("also a single one is in brackets: {single}")))
            }
            _ => Err(self.wrong(expected)),
        }
    }
}
