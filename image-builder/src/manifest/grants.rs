//! `[tasks.NAME.grants]`: the name that the task asks for, and what it is granted.
//!
//! The key that names the kind ([`abi::needs::Kind::key`]) also names what is granted: `{ dma = "disk-data" }`.

use abi::layout;
use abi::needs;
use abi::package::{Command, Commands, InspectTopic, PowerAction};

use super::disks;
use super::reader::Table;
use super::supervision;
use crate::charter::values::{self, Access, Bar, Name, Namespace, Offset, Size, Vector};
use crate::charter::{Blocks, Grant, GrantKind, Limit, Located, Span};
use crate::problem::{Kind, Problem, closest};

/// Reads a grant.
pub fn grant(name: Located<Name>, table: &mut Table<'_>) -> Option<Grant> {
    let kind = kind(table)?;
    let example = format!("{} = \"…\"", kind.key());
    let target = table.required(kind.key(), &example, |value| value.text(Name::new));
    let kind = match kind {
        needs::Kind::Call => {
            let disk = disks::disk(table);
            let shutdown = table.optional("shutdown", |value| value.boolean()).unwrap_or(false);
            GrantKind::Call { endpoint: target?, disk: disk?, shutdown }
        }
        needs::Kind::Receive => GrantKind::Receive { endpoint: target? },
        needs::Kind::Signal => GrantKind::Signal { task: target? },
        needs::Kind::Registers => registers(target, table)?,
        needs::Kind::Interrupt => {
            let vector = table.required("vector", "vector = 0", |value| value.number(Vector::new));
            GrantKind::Interrupt { device: target?, vector: vector? }
        }
        needs::Kind::DeviceInformation => GrantKind::Information { device: target? },
        needs::Kind::Dma => GrantKind::Dma { region: target? },
        needs::Kind::Window => window(target, table)?,
        needs::Kind::Log => GrantKind::Log { component: target? },
        needs::Kind::Evidence => {
            let help = "what the machine tells of itself comes through one";
            choice(&target?, table, kind, &[("firmware", GrantKind::Evidence)], help)?
        }
        needs::Kind::Console => {
            let help = "there is one console";
            choice(&target?, table, kind, &[("serial", GrantKind::Console)], help)?
        }
        needs::Kind::Inspect => {
            let topics: Vec<_> = InspectTopic::ALL.iter().map(|topic| (topic.name(), *topic)).collect();
            let topic = choice(&target?, table, kind, &topics, "the kernel can be asked about")?;
            GrantKind::Inspect { topic }
        }
        needs::Kind::Power => {
            let actions: Vec<_> = PowerAction::ALL.iter().map(|action| (action.name(), *action)).collect();
            let action = choice(&target?, table, kind, &actions, "a grant allows one of")?;
            GrantKind::Power { action }
        }
        needs::Kind::Supervise => supervision::supervise(target, table)?,
        needs::Kind::Kill => GrantKind::Kill { task: target? },
    };
    Some(Grant { name, kind })
}

/// Which kind of grant it is: the one key that names a kind. `call` comes first, since the disk that it may grant has a
/// `window` too.
fn kind(table: &mut Table<'_>) -> Option<needs::Kind> {
    let named: Vec<_> = needs::Kind::ALL
        .into_iter()
        .filter_map(|kind| table.keys().find(|key| key.value == kind.key()).map(|key| (kind, key.span)))
        .collect();
    match named[..] {
        [] => {
            let kinds = needs::Kind::ALL.map(needs::Kind::key);
            let slip = table.keys().find_map(|key| Some((closest(&key.value, kinds)?.to_owned(), key)));
            let message = format!("{} grants nothing", table.subject());
            table.problem(match slip {
                Some((meant, key)) => Problem::new(Kind::BadGrant, message, key.span, "not a kind of grant")
                    .help(format!("did you mean `{meant}`?")),
                None => Problem::new(Kind::BadGrant, message, table.span(), "no kind of grant is named")
                    .help(format!("a grant names one of: {}", kinds.join(", "))),
            });
            table.allow_all();
            None
        }
        [(kind, _)] => Some(kind),
        [(needs::Kind::Call, _), (needs::Kind::Window, _)] => Some(needs::Kind::Call),
        [(first, here), (second, there), ..] => {
            let message = format!("{} grants two things", table.subject());
            table.problem(
                Problem::new(Kind::TwoGrants, message, here, format!("`{}` here", first.key()))
                    .and(there, format!("and `{}` here", second.key()))
                    .help("a grant is one thing; give each a name of its own"),
            );
            table.allow_all();
            None
        }
    }
}

fn registers(device: Option<Located<Name>>, table: &mut Table<'_>) -> Option<GrantKind> {
    let bar = table.optional("bar", |value| value.number(Bar::new)).map_or(Bar::default(), |bar| bar.value);
    let subject = format!("a limit of {}", table.subject());
    let limits = table.optional_tables("limits", &subject, |mut table| {
        let namespace = table.optional("namespace", |value| value.number(Namespace::new));
        let (access, blocks) = (table.span_of("access"), blocks(&mut table));
        let opcodes = opcodes(&mut table, blocks.as_ref().map(|blocks| (blocks.access, access)));
        table.finish();
        let namespace = namespace.map(|namespace| namespace.value);
        Some(Limit { namespace, blocks: blocks?, opcodes: opcodes?, span: table.span() })
    });
    if let Some((span, 0)) = table.list("limits") {
        let message = format!("{} allows nothing", table.subject());
        table.problem(
            Problem::new(Kind::NoLimits, message, span, "an empty list of limits")
                .help("leave `limits` out to allow reading all of it, or list what is allowed: [{ namespace = 2 }]"),
        );
    }
    Some(GrantKind::Registers { device: device?, bar, limits })
}

/// `opcodes`: every command, where nothing is said. `access` is that of the limit, and where it is written, if it is.
fn opcodes(table: &mut Table<'_>, access: Option<(Access, Option<Span>)>) -> Option<Commands> {
    let Some(listed) = table.optional_texts("opcodes", values::opcode) else {
        return (!table.has("opcodes")).then_some(Commands::ALL);
    };
    if let Some((span, 0)) = table.list("opcodes") {
        let message = format!("{} allows nothing", table.subject());
        let names: Vec<_> = Command::ALL.iter().map(|command| format!("\"{}\"", command.name())).collect();
        table.problem(
            Problem::new(Kind::NoLimits, message, span, "an empty list of commands")
                .help(format!("leave `opcodes` out to allow every command, or list some of: {}", names.join(", "))),
        );
        return None;
    }
    if let Some((Access::ReadOnly, access)) = access
        && let Some(changing) = listed.iter().find(|opcode| opcode.value.changes_blocks())
    {
        let message = format!("{} lists `{}`, and lets no block be changed", table.subject(), changing.value.name());
        let problem = Problem::new(Kind::OpcodeBeyondAccess, message, changing.span, "changes blocks");
        table.problem(match access {
            Some(span) => {
                problem.and(span, "only to be read").help("allow `access = \"read-write\"`, or do not list it")
            }
            None => problem.help("add `access = \"read-write\"`, or do not list it"),
        });
    }
    Some(listed.iter().map(|opcode| opcode.value).collect())
}

fn window(region: Option<Located<Name>>, table: &mut Table<'_>) -> Option<GrantKind> {
    let offset = table.optional("offset", |value| value.text(Offset::new));
    let size =
        table.required("size", "size = \"64 KiB\"", |value| value.text(|text| Size::new(text, layout::WINDOW_STRIDE)));
    let access = table.optional("access", |value| value.text(Access::new));
    let region = region?;
    Some(GrantKind::Window {
        offset: offset.unwrap_or(Located { value: Offset::default(), span: region.span }),
        region,
        size: size?,
        access: access.map_or(Access::default(), |access| access.value),
    })
}

/// The value of a grant that names one of a few things, so that a charter says what it grants.
fn choice<T>(
    target: &Located<Name>,
    table: &mut Table<'_>,
    kind: needs::Kind,
    choices: &[(&str, T)],
    help: &str,
) -> Option<T>
where
    T: Clone,
{
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == target.as_str()) {
        return Some(value.clone());
    }
    let message = format!("`{}` of {} is not valid", kind.key(), table.subject());
    let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let problem = Problem::new(Kind::BadValue, message, target.span, format!("no `{}` of that name", kind.key()));
    table.problem(problem.help(format!("{help}: {}", names.join(", "))));
    None
}

/// `first_block`, `blocks` and `access`: all blocks, read-only, where nothing else is said.
pub(super) fn blocks(table: &mut Table<'_>) -> Option<Blocks> {
    let first = table.optional("first_block", |value| value.number(Ok));
    let count = table.optional("blocks", |value| value.number(Ok));
    let access = table.optional("access", |value| value.text(Access::new));
    let first_block = first.map_or(0, |first| first.value);
    if let Some(count) = count {
        let beyond = first_block.checked_add(count.value).is_none();
        if count.value == 0 || beyond {
            let here = if beyond { "ends beyond 2^64 blocks" } else { "no blocks at all" };
            let message = format!("`blocks` of {} is not valid", table.subject());
            table.problem(
                Problem::new(Kind::OutOfRange, message, count.span, here)
                    .help("leave `blocks` out for everything up to the end"),
            );
            return None;
        }
    }
    Some(Blocks {
        first: first_block,
        count: count.map(|count| count.value),
        access: access.map_or(Access::default(), |access| access.value),
    })
}
