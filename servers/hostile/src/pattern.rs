//! What lies in memory that nobody may change: by it, a test that reads the machine's memory from outside sees whether
//! anybody did.

use task::{OutOfRange, Window};

/// Bytes of each word of the pattern.
const WORD: u64 = 8;

/// The word at this place, a multiple of eight, of memory with this salt.
pub const fn word(salt: u64, place: u64) -> u64 {
    (place / WORD + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt
}

/// Fills a part of a window, of whole words. Places are counted from the window's start.
///
/// # Errors
/// It does not lie in the window.
pub fn fill(window: &Window, salt: u64, offset: u64, bytes: u64) -> Result<(), OutOfRange> {
    (offset..offset + bytes)
        .step_by(WORD as usize)
        .try_for_each(|at| window.copy_from(at, &word(salt, at).to_le_bytes()))
}

/// How many words of that part are others.
///
/// # Errors
/// It does not lie in the window.
pub fn wrong(window: &Window, salt: u64, offset: u64, bytes: u64) -> Result<u64, OutOfRange> {
    let mut wrong = 0;
    for at in (offset..offset + bytes).step_by(WORD as usize) {
        wrong += u64::from(window.read_u64(at)? != word(salt, at));
    }
    Ok(wrong)
}

/// How many words of these bytes, which lie at the start of what was filled, are others.
pub fn wrong_in(bytes: &[u8], salt: u64) -> usize {
    let words = bytes.as_chunks::<8>().0.iter().zip((0..).step_by(WORD as usize));
    words.filter(|(found, place)| u64::from_le_bytes(**found) != word(salt, *place)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_is_seen() {
        let window = Window::host(4096, true);
        fill(&window, 5, 0, 4096).unwrap();
        assert_eq!((wrong(&window, 5, 0, 4096), wrong(&window, 6, 0, 4096)), (Ok(0), Ok(512)));
        window.copy_from(1001, &[!0, 0]).unwrap();
        assert_eq!((wrong(&window, 5, 0, 4096), wrong(&window, 5, 1008, 3000)), (Ok(1), Ok(0)));
        let mut bytes = [0; 4096];
        window.copy_to(0, &mut bytes).unwrap();
        assert_eq!(wrong_in(&bytes, 5), 1);
    }
}
