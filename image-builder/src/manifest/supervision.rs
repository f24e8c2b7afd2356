//! A grant to watch over a task: which, when to restart it, and how often it must say that it is alive.

use abi::supervision::{GiveUp, RESTARTS_MAX};

use super::reader::Table;
use crate::charter::duration::Duration;
use crate::charter::values::{Name, ValueError};
use crate::charter::{GrantKind, Located, RestartPolicy};
use crate::problem::Kind;

/// Reads what is said beside the task's name.
pub fn supervise(task: Option<Located<Name>>, table: &mut Table<'_>) -> Option<GrantKind> {
    let limit = table.optional("limit", |value| value.number(limit));
    let mut time = |key, default| {
        let written = table.optional(key, |value| value.text(Duration::new));
        written.map_or(default, |written| written.value)
    };
    let within = time("within", RestartPolicy::DEFAULT.within);
    let back_off = time("back_off", RestartPolicy::DEFAULT.back_off);
    let give_up = table.optional("give_up", |value| value.text(give_up));
    let heartbeat = table.optional("heartbeat", |value| value.text(Duration::new));
    let restart = RestartPolicy {
        limit: limit.map_or(RestartPolicy::DEFAULT.limit, |limit| limit.value),
        within,
        back_off,
        give_up: give_up.map_or(RestartPolicy::DEFAULT.give_up, |give_up| give_up.value),
    };
    Some(GrantKind::Supervise { task: task?, restart, heartbeat: heartbeat.map(|heartbeat| heartbeat.value) })
}

fn limit(number: u64) -> Result<u8, ValueError> {
    match u8::try_from(number) {
        Ok(limit @ 0..=RESTARTS_MAX) => Ok(limit),
        _ => Err(ValueError {
            kind: Kind::OutOfRange,
            message: "out of range".into(),
            help: Some(format!("0 to {RESTARTS_MAX} restarts; 0 is never")),
        }),
    }
}

fn give_up(text: &str) -> Result<GiveUp, ValueError> {
    GiveUp::from_name(text).ok_or_else(|| {
        let names: Vec<_> = GiveUp::ALL.iter().map(|give_up| format!("\"{}\"", give_up.name())).collect();
        ValueError { kind: Kind::BadValue, message: "nothing that can be done".into(), help: Some(names.join(", ")) }
    })
}
