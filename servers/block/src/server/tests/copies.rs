//! Clients without a window.

use protocol::block::{COPY_BYTES_MAX, Failure, Operation, Request};

use super::bench::*;

fn bench(window_bytes: u64) -> Bench {
    let mut disk = blocks(1, 0, Some(100), 0);
    disk.window = None;
    let clients =
        std::vec![named(1, "one", of(disk)), named(2, "two", of(blocks(1, 200, None, 0))), named(3, "three", of(disk))];
    let namespaces = std::vec![namespace(1, 1000, 512)];
    let mut bench = Bench::new(Model { namespaces, room: 99, ..Model::default() }, window_bytes, clients);
    bench.open(1);
    bench.open(2);
    bench
}

#[test]
fn data_goes_through_a_slot_of_the_servers_window() {
    let mut bench = bench(64 << 10);
    let data: std::vec::Vec<u8> = (0..COPY_BYTES_MAX).map(|index| index as u8).collect();
    let stored = bench.ask(1, Request::Store { offset: 512, data: &data });
    assert_eq!(bench.answers(), [(stored, Told::Done)]);
    let write = Operation::Write { first_block: 3, blocks: 6, offset: 512, durable: false };
    let written = bench.transfer(1, write);
    let transfer = bench.model.borrow().taken[0];
    assert_eq!((transfer.first_block, transfer.blocks), (3, 6));
    let mut lies = std::vec![0; COPY_BYTES_MAX];
    bench.window.copy_to(transfer.offset - OWN, &mut lies).unwrap();
    assert_eq!(lies, data, "where the device will read it");
    bench.finish(Ok(()));
    assert_eq!(bench.answers(), [(written, Told::Done)]);

    bench.transfer(1, Operation::Read { first_block: 0, blocks: 1, offset: 0 });
    let transfer = bench.model.borrow().taken[0];
    bench.window.copy_from(transfer.offset - OWN, &[7; 512]).unwrap();
    bench.finish(Ok(()));
    bench.answers();
    let loaded = bench.ask(1, Request::Load { offset: 510, bytes: 4 });
    assert_eq!(bench.answers(), [(loaded, Told::Data(std::vec![7, 7, 0, 1]))]);
}

#[test]
fn nobody_reaches_beyond_a_slot_or_anothers() {
    let mut bench = bench(64 << 10);
    let Told::Information(information) = bench.open(1) else { panic!("it has a disk") };
    assert!(information.is_slot);
    let end = information.window_bytes;
    for (badge, offset, bytes, failure) in [
        (1, end, 1, Failure::Invalid),
        (1, end - 3, 4, Failure::Invalid),
        (1, u64::MAX, 4, Failure::Invalid),
        (1, 0, COPY_BYTES_MAX as u16 + 1, Failure::Invalid),
        (2, 0, 4, Failure::Denied),
    ] {
        let load = bench.ask(badge, Request::Load { offset, bytes });
        assert_eq!(bench.answers(), [(load, failed(failure))]);
        let data = std::vec![1; bytes.into()];
        let store = bench.ask(badge, Request::Store { offset, data: &data });
        assert_eq!(bench.answers(), [(store, failed(failure))]);
    }
    let beyond = bench.transfer(1, Operation::Read { first_block: 0, blocks: 1, offset: end });
    assert_eq!(bench.answers(), [(beyond, failed(Failure::Invalid))]);
}

#[test]
fn without_room_for_slots_there_is_no_disk() {
    let mut bench = bench(4096);
    assert_eq!(bench.open(1), failed(Failure::NoDisk));
    assert!(bench.lines().contains(&"no disk reason=no-slot client=one".into()), "{:?}", bench.lines());
    assert!(matches!(bench.open(2), Told::Information(_)), "who has a window needs none");
}
