//! Is every stack as large as its program was seen to use, and a quarter more?
//!
//! What was seen is the deepest that a test saw it, not the deepest that is possible: an error that never happened, or
//! the text of a panic, may take more. Hence the quarter. Beyond it lies unmapped memory, so that a stack which is too
//! small after all stops its task and harms nobody.

use abi::layout::PAGE_BYTES;

use super::Executables;
use crate::charter::Charter;
use crate::charter::values::Bytes;
use crate::problem::{Kind, Problem, Problems};

/// What a stack has to hold for a program that was seen to use so many bytes of it, in whole pages.
fn needed(seen: u32) -> u64 {
    let seen = u64::from(seen);
    (seen + seen / 4).next_multiple_of(PAGE_BYTES)
}

pub fn check(charter: &Charter, programs: &Executables, problems: &Problems) {
    for task in &charter.tasks {
        let program = task.program.as_ref().and_then(|name| programs.get(&name.value));
        let Some(seen) = program.and_then(|program| program.stack_seen) else { continue };
        let (given, needed) = (task.stack.bytes(), needed(seen));
        if given >= needed {
            continue;
        }
        let message = format!("the stack of task `{}` is too small for its program", task.name.value);
        let here = match task.stack.span == task.name.span {
            true => format!("it says nothing of its stack, which is {} then", Bytes(given)),
            false => format!("its program was seen to use {seen} bytes"),
        };
        let problem = Problem::new(Kind::StackTooSmall, message, task.stack.span, here);
        let help = format!(
            "stack = \"{}\": the {seen} bytes that were seen and a quarter more, in whole pages",
            Bytes(needed)
        );
        problems.add(problem.help(help));
    }
}
