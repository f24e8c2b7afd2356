//! Transfers that a client posts: carried out as any other, and told of with a signal alone.

use crate::Machine;
use nvme::{AnswerRoom, State};
use nvme_model::{Identity, read};
use protocol::nvme::{Answer, BatchRoom, Completion, Failure, Notice, Request, Transfer};

const BADGE: u32 = 100;

fn ask(machine: &mut Machine, request: &Request<'_>) -> Answer<'static> {
    machine.driver.answer(&mut machine.kernel, BADGE, request, Box::leak(Box::new(AnswerRoom::new())))
}

fn post(machine: &mut Machine, transfers: &[Transfer]) {
    let room: BatchRoom<Transfer> = transfers.iter().copied().collect();
    machine.driver.post(&mut machine.kernel, BADGE, room.batch());
}

/// What the client is told with the next signal.
fn told(machine: &mut Machine) -> Vec<(u32, Result<(), Failure>)> {
    let mut room = BatchRoom::<Completion>::new();
    let Some(notice) = machine.driver.notice(BADGE, &mut room) else { return Vec::new() };
    let Some(notice) = Notice::read(&notice.bytes()[..notice.len()]) else { panic!("{notice:?}") };
    let mut told: Vec<_> = notice.completions.iter().map(|ended| (ended.tag, ended.outcome)).collect();
    told.sort_by_key(|(tag, _)| *tag);
    machine.driver.told(BADGE, told.len());
    told
}

#[test]
fn what_is_posted_is_carried_out_and_told_once_with_the_signal() {
    let mut machine = Machine::started(Identity::default());
    assert_eq!(ask(&mut machine, &Request::Begin), Answer::Begun { room: 128 });
    // One makes no sense, and one takes several commands.
    let good = [read(1, 1, 0, 8, 0), read(2, 1, 8, 8, 4096), read(3, 1, 16, 4096, 0)];
    post(&mut machine, &[good[0], read(9, 77, 0, 1, 0), good[1], good[2]]);
    assert!(machine.driver.take_news(), "one has failed already");
    assert_eq!(told(&mut machine), [(9, Err(Failure::Invalid))]);
    while machine.step() {}
    assert_eq!(told(&mut machine), [(1, Ok(())), (2, Ok(())), (3, Ok(()))]);
    assert_eq!(told(&mut machine), []);
    machine.assert_sound();
}

#[test]
fn as_many_as_there_is_room_for_are_taken() {
    let mut machine = Machine::started(Identity::default());
    ask(&mut machine, &Request::Begin);
    for batch in 0..4 {
        let all: Vec<_> = (0..32).map(|place| read(batch * 32 + place, 1, u64::from(place), 1, 0)).collect();
        post(&mut machine, &all);
    }
    let mut ended = 0;
    for _ in 0..1000 {
        machine.step();
        // More at a time than go along with a signal are asked for.
        let Answer::Exchanged { completions, .. } = ask(&mut machine, &Request::Exchange(protocol::Batch::EMPTY))
        else {
            panic!("the driver runs");
        };
        ended += completions.iter().count();
    }
    assert_eq!(ended, 128);
}

#[test]
fn who_has_not_begun_is_signalled_and_learns_it_by_asking() {
    let mut machine = Machine::started(Identity::default());
    machine.driver.take_news();
    post(&mut machine, &[read(1, 1, 0, 1, 0)]);
    assert!(machine.driver.take_news());
    assert_eq!(told(&mut machine), []);
    assert_eq!(ask(&mut machine, &Request::Exchange(protocol::Batch::EMPTY)), Answer::NotBegun);
    while machine.step() {}
    assert_eq!(told(&mut machine), []);
}

#[test]
fn a_driver_without_a_controller_signals_and_says_so_when_it_is_asked() {
    let mut machine = Machine::new(Identity::default());
    machine.kernel.present = false;
    machine.start();
    assert_eq!(machine.driver.state(), State::Gone);
    ask(&mut machine, &Request::Begin);
    machine.driver.take_news();
    post(&mut machine, &[read(1, 1, 0, 1, 0)]);
    assert!(machine.driver.take_news());
    assert_eq!(ask(&mut machine, &Request::Exchange(protocol::Batch::EMPTY)), Answer::NoController);
}
