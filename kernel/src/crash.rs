//! What is told of a task that stops: one line of the log, from which `image-builder explain-crash` finds functions,
//! files and lines.
//!
//! Tasks keep no frame pointers, so nobody walks frames here. Instead every word of the stack that could be a return
//! address is told together with its place, as `+0x18:0x40123a`: 0x18 bytes above the stack pointer. The host tool has
//! the programs' unwind tables; they tell at which place the return address of each function lies, so it picks the
//! right words and leaves out what earlier calls left on the stack.

use core::fmt;
use core::ops::Range;

use abi::layout::{PAGE_BYTES, STACK_TOP};
use abi::system_call::Number;
use heapless::Vec;

use crate::memory::task_memory::PAGE_WORDS;
use crate::objects::TaskId;
use crate::objects::task::{NO_CALL, Task};
use crate::state::Kernel;

/// Words of the stack that are looked at, at most: 8 KiB from the stack pointer.
const WORDS_MAX: usize = 1024;
/// Return addresses that are told, at most.
const RETURNS_MAX: usize = 24;

/// Words on a task's stack that lie in its code: place above the stack pointer in bytes, and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backtrace(Vec<(u32, u64), RETURNS_MAX>);

impl Backtrace {
    /// Looks through a stack, from the pointer's next multiple of 8 up. `page` gives the page in which an address lies.
    /// Empty if the pointer is not in the stack.
    fn scan(
        pointer: u64,
        stack: Range<u64>,
        code: Range<u64>,
        mut page: impl FnMut(u64, &mut dyn FnMut(&[u64; PAGE_WORDS])) -> bool,
    ) -> Self {
        let mut found = Vec::new();
        let Some(mut address) = pointer.checked_next_multiple_of(8).filter(|_| stack.contains(&pointer)) else {
            return Self(found);
        };
        let mut words = WORDS_MAX;
        while address < stack.end && words > 0 && !found.is_full() {
            let first = (address % PAGE_BYTES / 8) as usize;
            let count = (PAGE_WORDS - first).min(words);
            let there = page(address, &mut |page| {
                let words = page.get(first..first + count).unwrap_or_default();
                each_in(words, &code, |index, word| {
                    let place = address + index as u64 * 8 - pointer;
                    // Beyond the last that has room, none is told.
                    let _ = found.push((place as u32, word));
                });
            });
            if !there {
                break;
            }
            words -= count;
            address += count as u64 * 8;
        }
        Self(found)
    }
}

/// Tells of the words that lie in a range, with their numbers. Most do not, and each costs a kernel entry something: they
/// are looked at in groups.
fn each_in(words: &[u64], range: &Range<u64>, mut tell: impl FnMut(usize, u64)) {
    let (start, bytes) = (range.start, range.end.saturating_sub(range.start));
    let is_in = |word: u64| word.wrapping_sub(start) < bytes;
    for (group, words) in words.chunks(8).enumerate() {
        if let [a, b, c, d, e, f, g, h] = *words
            && !(is_in(a) | is_in(b) | is_in(c) | is_in(d) | is_in(e) | is_in(f) | is_in(g) | is_in(h))
        {
            continue;
        }
        for (index, word) in words.iter().enumerate().filter(|(_, word)| is_in(**word)) {
            tell(group * 8 + index, *word);
        }
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for (place, value) in &self.0 {
            write!(f, "{before}+{place:#x}:{value:#x}")?;
            before = ",";
        }
        if self.0.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// The name of a task's last system call.
fn last_call(task: &Task) -> &'static str {
    match task.last_call {
        NO_CALL => "none",
        number => Number::new(number).map_or("unknown", Number::name),
    }
}

/// Tells that a task stops, and why: `cause` begins with `cause=…`.
pub fn report(kernel: &mut Kernel, id: TaskId, cause: fmt::Arguments<'_>) {
    let task = kernel.objects.task(id);
    let registers = &task.registers;
    let backtrace = match &mut kernel.memory {
        None => Backtrace::default(),
        Some(memory) => {
            let (stack, code) = (task.stack_bottom..STACK_TOP, task.code.0..task.code.1);
            let found = Backtrace::scan(registers.rsp, stack, code, |address, look| {
                memory.page(task.address_space, address, look).is_some()
            });
            memory.forget();
            found
        }
    };
    crate::log!(
        "kernel",
        "task stopped task={} generation={} {cause} instruction={:#x} last_call={} stack={:#x} frame={:#x} backtrace={backtrace}",
        task.name,
        kernel.objects.generation(id),
        registers.rip,
        last_call(task),
        registers.rsp,
        registers.rbp
    );
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;
    use std::vec::Vec as Many;

    const STACK: Range<u64> = STACK_TOP - 0x3000..STACK_TOP;
    const CODE: Range<u64> = 0x40_0000..0x40_2000;

    /// Scans a stack that holds these words, and says which pages were asked for.
    fn scan(pointer: u64, words: &[(u64, u64)]) -> (Backtrace, Many<u64>) {
        let mut asked = Many::new();
        let found = Backtrace::scan(pointer, STACK, CODE, |address, look| {
            assert!(STACK.contains(&address), "{address:#x}");
            asked.push(address);
            let start = address - address % PAGE_BYTES;
            let mut page = [0; PAGE_WORDS];
            for (place, value) in words.iter().filter(|(place, _)| (start..start + PAGE_BYTES).contains(place)) {
                page[((place - start) / 8) as usize] = *value;
            }
            look(&page);
            true
        });
        (found, asked)
    }

    #[test]
    fn words_in_code_are_told_with_their_places_across_pages() {
        let pointer = STACK_TOP - 0x1010;
        let words = [
            (pointer - 8, 0x40_0001),
            (pointer, 0x40_0010),
            (pointer + 8, 0x40_2000),
            (pointer + 0x18, 0x40_1fff),
            (STACK_TOP - 8, 0x40_0000),
        ];
        let (found, _) = scan(pointer, &words);
        assert_eq!(found.to_string(), "+0x0:0x400010,+0x18:0x401fff,+0x1008:0x400000");
        let (found, _) = scan(pointer - 3, &words);
        assert!(found.to_string().starts_with("+0x3:0x400010,"), "{found}");
    }

    #[test]
    fn a_stack_pointer_that_is_not_in_the_stack_is_not_followed() {
        for pointer in [0, 8, STACK.start - 1, STACK_TOP, STACK_TOP + 8, u64::MAX, u64::MAX - 7, 0xffff_ffff_8000_0000]
        {
            let (found, asked) = scan(pointer, &[]);
            assert!(asked.is_empty(), "{pointer:#x}");
            assert_eq!(found.to_string(), "none");
        }
        assert!(scan(STACK_TOP - 1, &[]).1.is_empty(), "no whole word is left");
    }

    #[test]
    fn no_more_is_looked_at_or_told_than_is_bounded() {
        let words: Many<_> = STACK.step_by(8).map(|place| (place, CODE.start)).collect();
        let (found, asked) = scan(STACK.start, &words);
        assert_eq!((found.0.len(), asked.len()), (RETURNS_MAX, 1));
        let (found, asked) = scan(STACK.start + 8, &[(STACK.start + 8 + 8 * WORDS_MAX as u64, CODE.start)]);
        assert_eq!((found.0.len(), asked.len()), (0, 3));
    }
}
