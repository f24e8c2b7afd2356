//! Does one thing that a task must not be able to do, or that the kernel must survive.
//!
//! It says `attempt name=…` first. What comes next is the kernel's line that the task was stopped, or `answered …` from
//! a system call that was refused, or `survived …` if nothing happened at all.
#![cfg_attr(target_os = "none", no_std, no_main)]

use task::{Environment, Started, Stop, log};

#[cfg(target_os = "none")]
mod calls;
#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod instructions;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod memory;

task::needs! { log: log }
task::main!(run);

/// What an attempt came to, if it came back.
pub struct Outcome {
    /// Whether the kernel answered it, rather than nothing having happened.
    pub answered: bool,
    /// More to tell: values that it brought back.
    pub values: [(&'static str, u64); 2],
}

#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "on the host nothing is attempted"))]
impl Outcome {
    /// Nothing happened.
    pub const SURVIVED: Self = Self { answered: false, values: [("", 0); 2] };

    /// The kernel answered.
    pub const fn answered(first: (&'static str, u64), second: (&'static str, u64)) -> Self {
        Self { answered: true, values: [first, second] }
    }
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let name = environment.setting("attempt").unwrap_or("");
    log!(grants.log, "attempt name={name}");
    task::ready(Started::Well);
    let Some(outcome) = attempt(name, &grants) else {
        return Err(Stop::new(format_args!("no such attempt: {name}")));
    };
    let word = if outcome.answered { "answered" } else { "survived" };
    match outcome.values {
        [("", _), _] => log!(grants.log, "{word} attempt={name}"),
        [(key, value), ("", _)] => log!(grants.log, "{word} attempt={name} {key}={value:#x}"),
        [(key, value), (other, more)] => {
            log!(grants.log, "{word} attempt={name} {key}={value:#x} {other}={more:#x}")
        }
    }
    task::idle()
}

#[cfg(target_os = "none")]
fn attempt(name: &str, grants: &Grants) -> Option<Outcome> {
    instructions::attempt(name)
        .or_else(|| interrupts::attempt(name))
        .or_else(|| memory::attempt(name))
        .or_else(|| entry::attempt(name))
        .or_else(|| calls::attempt(name, grants.log.handle().into()))
}

/// On the host nothing is attempted.
#[cfg(not(target_os = "none"))]
fn attempt(_name: &str, _grants: &Grants) -> Option<Outcome> {
    None
}
