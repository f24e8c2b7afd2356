//! Every decoder of messages on the same bytes: it answers with a message or an error, reads no more than there is, and what
//! it decodes, it encodes and decodes again the same. For bytes at random and for those that a fuzzer finds (qemu/fuzz).

use std::fmt::Debug;

use protocol::nvme::Batch;
use protocol::{Record, block, classify, nvme};
use serde::{Deserialize, Serialize};

/// Decodes, and looks at the whole message.
fn decode<'a, T: Serialize + Deserialize<'a> + Debug>(bytes: &'a [u8]) -> Option<Vec<u8>> {
    let (message, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    assert!(rest.len() < bytes.len() || bytes.is_empty());
    let _ = format!("{message:?}");
    Some(postcard::to_stdvec(&message).unwrap())
}

/// Decodes as each of these types, and again what that encodes to.
macro_rules! same_again {
    ($bytes:expr, $($type:ty),*) => {$(
        if let Some(encoded) = decode::<$type>($bytes) {
            assert_eq!(decode::<$type>(&encoded).as_ref(), Some(&encoded));
        }
    )*};
}

fn records<T: Record>(batch: Batch<'_, T>) {
    assert!(batch.iter().count() <= batch.len());
}

/// Every message that goes to or from a server.
pub fn every_decoder(bytes: &[u8]) {
    same_again!(bytes, block::Request<'_>, block::Answer<'_>, block::ClientGrant<'_>);
    same_again!(bytes, nvme::Request<'_>, nvme::Answer<'_>);
    same_again!(bytes, classify::Request, classify::Answer);
    if let Ok((block::Request::Exchange { transfers, .. }, _)) = postcard::take_from_bytes(bytes) {
        records(transfers);
    }
    if let Ok((nvme::Request::Exchange(transfers), _)) = postcard::take_from_bytes(bytes) {
        records(transfers);
    }
}

/// The recorded messages of the block server's protocol.
pub fn recorded() -> Vec<Vec<u8>> {
    let lines = include_str!("../vectors/block.txt").lines().filter_map(|line| line.split_once(' '));
    let bytes = lines.map(|(_, digits)| {
        let pairs = digits.trim().as_bytes().chunks_exact(2);
        pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    });
    bytes.filter(|bytes: &Vec<u8>| !bytes.is_empty()).collect()
}
