//! Who goes first, with figures: clients over a device that does one thing at a time.

use std::collections::VecDeque;
use std::vec::Vec as StdVec;

use super::*;

/// A client that always has so many requests of so many bytes under way.
#[derive(Clone, Copy)]
struct Load {
    depth: usize,
    bytes: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    requests: u64,
    bytes: u64,
    /// The longest time from asking to the end, in bytes that the device moved meanwhile.
    longest: u64,
}

fn transfer() -> Transfer {
    Transfer { tag: 0, operation: Operation::Read, nsid: 1, first_block: 0, blocks: 1, offset: 0 }
}

/// Lets the device move so many bytes. It takes what it is given in order, in parts of at most 128 KiB that take turns,
/// as the NVMe driver cuts them.
fn simulate(loads: &[Load], bytes: u64) -> StdVec<Seen> {
    let mut requests = Requests::<()>::default();
    let mut seen = std::vec![Seen::default(); loads.len()];
    let mut asked: StdVec<VecDeque<u64>> = std::vec![VecDeque::new(); loads.len()];
    let mut device: VecDeque<(u32, u64)> = VecDeque::new();
    let mut now = 0;
    while now < bytes {
        for (party, load) in loads.iter().enumerate() {
            while requests.held(party) < load.depth {
                requests.admit(party, Origin::Tag(0), transfer(), load.bytes).unwrap();
                asked[party].push_back(now);
            }
        }
        loop {
            let mut batch = BatchRoom::new();
            requests.choose(&mut batch);
            if batch.is_empty() {
                break;
            }
            for transfer in batch.batch() {
                let index = (transfer.tag & 0xff) as usize;
                device.push_back((transfer.tag, requests.entries[index].as_ref().unwrap().bytes));
            }
        }
        let (tag, left) = device.pop_front().expect("somebody always has something to do");
        let part = left.min(128 << 10);
        now += part;
        if left > part {
            device.push_back((tag, left - part));
            continue;
        }
        let party = requests.complete(tag, Ok(())).unwrap().trailing_zeros() as usize;
        requests.taken(party, 1);
        let own = &mut seen[party];
        own.requests += 1;
        own.bytes += loads[party].bytes;
        own.longest = own.longest.max(now - asked[party].pop_front().unwrap());
    }
    seen
}

#[test]
fn a_greedy_client_and_a_modest_one() {
    // 64 requests of 128 KiB all the time, against one of 4 KiB.
    let greedy = Load { depth: 64, bytes: 128 << 10 };
    let modest = Load { depth: 1, bytes: 4096 };
    let seen = simulate(&[greedy, modest], 1 << 30);
    std::println!("greedy {:?}, modest {:?}", seen[0], seen[1]);
    // The modest one never waits for more than what the device may have of the greedy one, and one request more.
    assert!(seen[1].longest <= BYTES_IN_FLIGHT_MAX + (128 << 10) + 4096, "{:?}", seen[1]);
    assert!(seen[1].requests >= 900, "{:?}", seen[1]);
    // Without bounds it would wait behind all 64: 8 MiB.
    assert!(seen[1].longest * 6 < 64 * (128 << 10));
}

#[test]
fn clients_that_always_have_more_to_do_move_the_same_bytes() {
    for (one, other) in [
        (Load { depth: 64, bytes: 128 << 10 }, Load { depth: 64, bytes: 4096 }),
        (Load { depth: 64, bytes: 128 << 10 }, Load { depth: 8, bytes: 64 << 10 }),
        (Load { depth: 8, bytes: 512 << 10 }, Load { depth: 64, bytes: 64 << 10 }),
    ] {
        let seen = simulate(&[one, other], 1 << 30);
        let ratio = seen[0].bytes as f64 / seen[1].bytes as f64;
        std::println!(
            "{} KiB x {} against {} KiB x {}: {ratio:.2}",
            one.bytes >> 10,
            one.depth,
            other.bytes >> 10,
            other.depth
        );
        assert!((0.4..2.5).contains(&ratio), "{ratio} {seen:?}");
    }
}

#[test]
fn nobody_starves_among_many() {
    let mut loads = std::vec![Load { depth: 12, bytes: 1 << 20 }; 8];
    loads.extend([Load { depth: 2, bytes: 4096 }; 8]);
    let seen = simulate(&loads, 1 << 30);
    for own in &seen[8..] {
        // One turn of everybody: eight large ones.
        assert!(own.longest <= 2 * (8 << 20) + (64 << 10), "{own:?}");
    }
    let (least, most) = (seen[..8].iter().map(|own| own.bytes).min(), seen[..8].iter().map(|own| own.bytes).max());
    assert!(least.unwrap() * 10 >= most.unwrap() * 9, "equals get the same: {seen:?}");
}

#[test]
fn one_client_alone_has_the_whole_queue() {
    let mut requests = Requests::<()>::default();
    for _ in 0..64 {
        requests.admit(0, Origin::Tag(0), transfer(), 4096).unwrap();
    }
    let mut count = 0;
    for _ in 0..3 {
        let mut batch = BatchRoom::new();
        requests.choose(&mut batch);
        count += batch.len();
    }
    assert_eq!(count, IN_FLIGHT_MAX);
}

#[test]
fn requests_of_a_client_keep_their_order() {
    let mut requests = Requests::<()>::default();
    for first_block in 0..50 {
        requests.admit(3, Origin::Tag(0), Transfer { first_block, ..transfer() }, 4096).unwrap();
    }
    let mut order = StdVec::new();
    while order.len() < 50 {
        let mut batch = BatchRoom::new();
        requests.choose(&mut batch);
        let batch: StdVec<_> = batch.batch().iter().collect();
        // The driver takes a third.
        let taken = batch.len().div_ceil(3);
        requests.not_taken(&batch[taken..]);
        order.extend(batch[..taken].iter().map(|own| own.first_block));
    }
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn there_is_room_for_no_more_than_all_shares_and_the_servers_own() {
    let mut requests = Requests::<()>::default();
    for number in 0..REQUESTS {
        assert!(requests.admit(number % CLIENTS_MAX, Origin::Tag(0), transfer(), 0).is_ok());
    }
    assert_eq!(requests.admit(0, Origin::Tag(7), transfer(), 0), Err(Origin::Tag(7)));
    requests.fail_all(Failure::Gone);
    assert!(!requests.is_in_flight() && !requests.is_waiting());
    for party in 0..CLIENTS_MAX {
        let count = requests.ended(party).count();
        requests.taken(party, count);
        assert_eq!(requests.held(party), 0);
    }
}
