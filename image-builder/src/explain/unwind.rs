//! From function to caller, by the unwind tables of a program (DWARF 5, 6.4).
//!
//! A table tells for each instruction how far above the stack pointer the return address lies; the log tells the words
//! that lie in code and where. Where the tables say nothing, or lead to a place at which no such word is, the next word
//! above counts that follows a call instruction.

use gimli::{
    BaseAddresses, CfaRule, DebugFrame, LittleEndian, Register, RegisterRule, UnwindContext, UnwindSection, X86_64,
};

use super::log::Crash;

/// More callers than a stack's words that the log tells.
const FRAMES_MAX: usize = 64;

/// An address of the backtrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it was or where it returns to.
    pub address: u64,
    /// An address in the instruction that is meant: of a caller, of its call.
    pub lookup: u64,
    /// Whether the tables say so.
    pub is_certain: bool,
}

/// What a table says of an instruction.
struct Row {
    /// The register that the frame is counted from.
    base: Register,
    /// Bytes from there to the end of the frame; the return address lies just below.
    offset: i64,
    /// Whether `rbp` is as it was in the caller.
    keeps_rbp: bool,
}

/// The backtrace of a crash, from the inside out. `code` gives bytes of the program's code, if they are code.
pub fn unwind<'a>(crash: &Crash, debug_frame: &[u8], code: impl Fn(u64, usize) -> Option<&'a [u8]>) -> Vec<Found> {
    // A system call's address is that of the instruction after it.
    let back = u64::from(crash.cause == "exit");
    let mut now = Found { address: crash.instruction, lookup: crash.instruction.wrapping_sub(back), is_certain: true };
    let mut found = vec![now];
    let (mut stack, mut rbp) = (crash.stack, Some(crash.frame));
    while found.len() < FRAMES_MAX {
        let word_at = |place: u64| crash.words.iter().find(|(own, _)| *own == place);
        let row = if code(now.lookup, 1).is_some() {
            row(debug_frame, now.lookup)
        } else {
            // Called what is no code: nothing was pushed since.
            Some(Row { base: X86_64::RSP, offset: 8, keeps_rbp: true })
        };
        let frame_end = row.as_ref().and_then(|row| {
            let base = if row.base == X86_64::RSP { Some(stack) } else { rbp.filter(|_| row.base == X86_64::RBP) };
            base?.checked_add_signed(row.offset).filter(|end| *end > stack)
        });
        let told = frame_end.and_then(|end| end.checked_sub(8)?.checked_sub(crash.stack)).and_then(word_at);
        let (word, is_certain) = match told {
            Some(word) => (*word, now.is_certain),
            None => {
                let above = stack.wrapping_sub(crash.stack);
                let next = crash.words.iter().find(|(place, value)| *place >= above && is_after_call(*value, &code));
                let Some(word) = next else { break };
                (*word, false)
            }
        };
        let (place, value) = word;
        stack = crash.stack.wrapping_add(place).wrapping_add(8);
        rbp = rbp.filter(|_| told.is_some() && row.is_some_and(|row| row.keeps_rbp));
        now = Found { address: value, lookup: value.wrapping_sub(1), is_certain };
        found.push(now);
    }
    found
}

fn row(debug_frame: &[u8], address: u64) -> Option<Row> {
    let section = DebugFrame::new(debug_frame, LittleEndian);
    let (bases, mut context) = (BaseAddresses::default(), UnwindContext::new());
    let row = section.unwind_info_for_address(&bases, &mut context, address, DebugFrame::cie_from_offset).ok()?;
    let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { return None };
    let rbp = row.register(X86_64::RBP);
    let keeps_rbp = matches!(rbp, None | Some(RegisterRule::Undefined | RegisterRule::SameValue));
    Some(Row { base: register, offset, keeps_rbp })
}

/// Whether the bytes before an address are a call: E8 and a displacement, or FF /2 with its address (Intel SDM volume 2,
/// CALL).
fn is_after_call<'a>(address: u64, code: &impl Fn(u64, usize) -> Option<&'a [u8]>) -> bool {
    let before = |bytes: usize| code(address.checked_sub(bytes as u64)?, bytes);
    let direct = before(5).is_some_and(|bytes| bytes[0] == 0xe8);
    let indirect = |length: &usize| before(*length).is_some_and(|bytes| indirect_call_bytes(bytes) == Some(*length));
    direct || [2, 3, 4, 6, 7].iter().any(indirect)
}

/// How long the indirect call is that begins here, without a prefix, if it is one (Intel SDM volume 2, table 2-2).
fn indirect_call_bytes(bytes: &[u8]) -> Option<usize> {
    let [0xff, form, rest @ ..] = bytes else { return None };
    let (mode, base) = (form >> 6, form & 7);
    if form >> 3 & 7 != 2 {
        return None;
    }
    let scaled = usize::from(mode != 3 && base == 4);
    let displacement = match mode {
        0 if base == 5 || (base == 4 && rest.first()? & 7 == 5) => 4,
        0 | 3 => 0,
        1 => 1,
        _ => 4,
    };
    Some(2 + scaled + displacement)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code at 0x1000: a call of five bytes that returns to 0x1005, one of two that returns to 0x1007, and no more.
    fn code(address: u64, bytes: usize) -> Option<&'static [u8]> {
        const CODE: [u8; 16] = [0xe8, 0, 0, 0, 0, 0xff, 0xd0, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90];
        let start = usize::try_from(address.checked_sub(0x1000)?).ok()?;
        CODE.get(start..start.checked_add(bytes)?)
    }

    fn crash(instruction: u64, words: &[(u64, u64)]) -> Crash {
        Crash { instruction, stack: 0x8000, words: words.to_vec(), ..Crash::default() }
    }

    #[test]
    fn without_tables_words_after_calls_are_told_as_perhaps() {
        let found = unwind(&crash(0x1008, &[(0, 0x1009), (8, 0x1005), (16, 0x1006), (24, 0x1007)]), &[], code);
        let addresses: Vec<_> = found.iter().map(|found| (found.address, found.is_certain)).collect();
        assert_eq!(addresses, [(0x1008, true), (0x1005, false), (0x1007, false)]);
        assert_eq!(found[1].lookup, 0x1004);
    }

    #[test]
    fn a_call_to_nowhere_returns_to_the_word_at_the_stack_pointer() {
        let found = unwind(&crash(0, &[(0, 0x1005)]), &[], code);
        assert_eq!(found[1], Found { address: 0x1005, lookup: 0x1004, is_certain: true });
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn nonsense_ends() {
        let words: Vec<_> = (0..24).map(|place| (place * 8, 0x1005)).collect();
        assert_eq!(unwind(&crash(u64::MAX, &words), &[0xff; 40], code).len(), 25);
        let odd = Crash { stack: u64::MAX, frame: u64::MAX, ..crash(0x1000, &[(u64::MAX, u64::MAX), (7, 0)]) };
        assert_eq!(unwind(&odd, &[], code).len(), 1);
    }
}
