//! Any bytes, as messages of every server.

mod decoders;

use decoders::{every_decoder, recorded};
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_bytes_do_no_harm(kind in 0u8..12, mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Some(first) = bytes.first_mut() {
            // Most kinds there are not.
            *first = kind;
        }
        every_decoder(&bytes);
    }

    #[test]
    fn changed_messages_do_no_harm(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), value: u8, cut in 0usize..40, more in 0usize..40
    ) {
        let messages = recorded();
        let mut bytes = which.get(&messages).clone();
        *at.get_mut(&mut bytes) = value;
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(20)));
        bytes.extend(std::iter::repeat_n(value, more.saturating_sub(20)));
        every_decoder(&bytes);
    }
}

#[test]
fn the_recorded_messages_are_there() {
    assert!(recorded().len() > 20);
}
