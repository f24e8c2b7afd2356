//! What is told and kept of a task that stops: one line of the log, and a record in memory that outlives a reset
//! ([`kept`]). From either `image-builder explain-crash` finds functions, files and lines.
//!
//! Tasks keep no frame pointers, so nobody walks frames here. Instead every word of the stack that could be a return
//! address is told together with its place, as `+0x18:0x40123a`: 0x18 bytes above the stack pointer. The host tool has
//! the programs' unwind tables; they tell at which place the return address of each function lies, so it picks the
//! right words and leaves out what earlier calls left on the stack.

pub mod kept;

use core::fmt::{self, Write};
use core::ops::Range;

use abi::crash::{Cause, RETURNS_MAX, Reason, Registers as Kept, StackWord};
use abi::layout::{PAGE_BYTES, STACK_TOP};
use heapless::Vec;

use crate::memory::task_memory::PAGE_WORDS;
use crate::objects::TaskId;
use crate::objects::registers::Registers;
use crate::objects::task::NO_CALL;
use crate::state::Kernel;

/// Words of the stack that are looked at, at most: 8 KiB from the stack pointer.
const WORDS_MAX: usize = 1024;

/// Words on a task's stack that lie in its code.
type Returns = Vec<StackWord, RETURNS_MAX>;

/// Looks through a stack, from the pointer's next multiple of 8 up. `page` gives the page in which an address lies.
/// Empty if the pointer is not in the stack.
fn scan(
    found: &mut Returns,
    pointer: u64,
    stack: Range<u64>,
    code: Range<u64>,
    mut page: impl FnMut(u64, &mut dyn FnMut(&[u64; PAGE_WORDS])) -> bool,
) {
    let Some(mut address) = pointer.checked_next_multiple_of(8).filter(|_| stack.contains(&pointer)) else { return };
    let mut words = WORDS_MAX;
    while address < stack.end && words > 0 && !found.is_full() {
        let first = (address % PAGE_BYTES / 8) as usize;
        let count = (PAGE_WORDS - first).min(words);
        let there = page(address, &mut |page| {
            each_in(page.get(first..first + count).unwrap_or_default(), &code, |index, value| {
                let above = (address + index as u64 * 8 - pointer) as u32;
                // Beyond the last that has room, none is told.
                let _ = found.push(StackWord { above, value });
            });
        });
        if !there {
            break;
        }
        words -= count;
        address += count as u64 * 8;
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

/// A task's own words, cut where there is no more room for them.
pub fn reason(words: impl fmt::Display) -> Reason {
    struct Cut(Reason);
    impl Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            text.chars().try_for_each(|character| self.0.push(character).map_err(|_| fmt::Error))
        }
    }
    let mut cut = Cut(Reason::new());
    // It fails where it is cut.
    let _ = write!(cut, "{words}");
    cut.0
}

/// The registers of a record.
fn kept(registers: &Registers) -> Kept {
    let Registers { rip, rflags, rsp, rbp, rax, rbx, rcx, rdx, rsi, rdi, .. } = *registers;
    let Registers { r8, r9, r10, r11, r12, r13, r14, r15, .. } = *registers;
    Kept { rip, rflags, rsp, rbp, rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 }
}

/// Tells that a task stops, and why, and has it kept.
pub fn report(kernel: &mut Kernel, id: TaskId, cause: Cause) {
    let time = kernel.now();
    let generation = kernel.objects.generation(id);
    let task = kernel.objects.task(id);
    let record = kernel.crashes.begin(id);
    record.time = time;
    record.task.clone_from(&task.name);
    record.generation = generation;
    record.cause = cause;
    record.last_call = (task.last_call != NO_CALL).then_some(task.last_call);
    record.registers = kept(&task.registers);
    record.returns.clear();
    if let Some(memory) = &mut kernel.memory {
        let (stack, code) = (task.stack_bottom..STACK_TOP, task.code.0..task.code.1);
        scan(&mut record.returns, task.registers.rsp, stack, code, |address, look| {
            memory.page(task.address_space, address, look).is_some()
        });
        memory.forget();
    }
    crate::log!("kernel", "task stopped {record}");
    // The machine may end in this entry, which keeps it then; else it is kept in the next.
    kernel.arm_timer_for(time);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec as Many;

    const STACK: Range<u64> = STACK_TOP - 0x3000..STACK_TOP;
    const CODE: Range<u64> = 0x40_0000..0x40_2000;

    /// Scans a stack that holds these words, and says which pages were asked for.
    fn look(pointer: u64, words: &[(u64, u64)]) -> (Returns, Many<u64>) {
        let mut asked = Many::new();
        let mut found = Returns::new();
        scan(&mut found, pointer, STACK, CODE, |address, look| {
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

    fn told(found: &Returns) -> Many<(u32, u64)> {
        found.iter().map(|word| (word.above, word.value)).collect()
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
        let (found, _) = look(pointer, &words);
        assert_eq!(told(&found), [(0, 0x40_0010), (0x18, 0x40_1fff), (0x1008, 0x40_0000)]);
        let (found, _) = look(pointer - 3, &words);
        assert_eq!(told(&found)[0], (3, 0x40_0010));
    }

    #[test]
    fn a_stack_pointer_that_is_not_in_the_stack_is_not_followed() {
        for pointer in [0, 8, STACK.start - 1, STACK_TOP, STACK_TOP + 8, u64::MAX, u64::MAX - 7, 0xffff_ffff_8000_0000]
        {
            let (found, asked) = look(pointer, &[]);
            assert!(asked.is_empty(), "{pointer:#x}");
            assert!(found.is_empty());
        }
        assert!(look(STACK_TOP - 1, &[]).1.is_empty(), "no whole word is left");
    }

    #[test]
    fn no_more_is_looked_at_or_told_than_is_bounded() {
        let words: Many<_> = STACK.step_by(8).map(|place| (place, CODE.start)).collect();
        let (found, asked) = look(STACK.start, &words);
        assert_eq!((found.len(), asked.len()), (RETURNS_MAX, 1));
        let (found, asked) = look(STACK.start + 8, &[(STACK.start + 8 + 8 * WORDS_MAX as u64, CODE.start)]);
        assert_eq!((found.len(), asked.len()), (0, 3));
    }

    #[test]
    fn a_reason_is_cut_where_there_is_no_more_room_and_not_within_a_character() {
        assert_eq!(reason("no disk"), "no disk");
        let long = reason(format_args!("a{}", "ä".repeat(200)));
        assert_eq!((long.len(), long.chars().count()), (255, 128));
    }
}
