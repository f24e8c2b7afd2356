use std::collections::VecDeque;

use super::*;
use crate::crash::Judge;
use crate::plan::Mix;

/// A disk in memory that ends operations in another order, and does what `fault` says.
struct Model {
    window: Window,
    disk: std::rc::Rc<std::cell::RefCell<Vec<u8>>>,
    pending: VecDeque<Transfer>,
    fault: Fault,
    count: u32,
    room: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Every so many writes is lost.
    Lost(u32),
    /// Every so many writes goes one block too far.
    Misplaced(u32),
    /// Only the first bytes of its blocks are written, every so many times.
    Torn(u32),
    /// Every so many operations fails.
    Failed(u32),
    /// The block server restarts every so many operations; some of what was under way was done, some in part.
    Restarted(u32),
}

const BLOCK: usize = 512;

impl Model {
    fn perform(&mut self, operation: &Operation) -> Result<(), Failure> {
        self.count += 1;
        let every = |period: u32| self.count.is_multiple_of(period);
        let mut disk = self.disk.borrow_mut();
        match *operation {
            _ if matches!(self.fault, Fault::Failed(period) if every(period)) => {
                return Err(Failure::Device { kind: 0, code: 6 });
            }
            Operation::Read { first_block, blocks, offset } => {
                let range = first_block as usize * BLOCK..(first_block as usize + blocks as usize) * BLOCK;
                self.window.copy_from(offset, &disk[range]).unwrap();
            }
            Operation::Write { first_block, blocks, offset, .. } => {
                let mut data = vec![0; blocks as usize * BLOCK];
                self.window.copy_to(offset, &mut data).unwrap();
                let at = first_block as usize * BLOCK;
                match self.fault {
                    Fault::Lost(period) if every(period) => {}
                    Fault::Misplaced(period) if every(period) && at + data.len() + BLOCK <= disk.len() => {
                        disk[at + BLOCK..][..data.len()].copy_from_slice(&data);
                    }
                    Fault::Torn(period) if every(period) => disk[at..][..300].copy_from_slice(&data[..300]),
                    _ => disk[at..][..data.len()].copy_from_slice(&data),
                }
            }
            Operation::Discard { first_block, blocks } | Operation::WriteZeroes { first_block, blocks } => {
                disk[first_block as usize * BLOCK..][..blocks as usize * BLOCK].fill(0);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Disk for Model {
    fn exchange(&mut self, transfers: &BatchRoom<Transfer>, each: &mut dyn FnMut(Completion)) -> Result<usize, Error> {
        let has_restarted =
            |own: &Self| matches!(own.fault, Fault::Restarted(period) if own.count.is_multiple_of(period));
        if !self.pending.is_empty() && has_restarted(self) {
            self.count += 1;
            for (index, Transfer { operation, .. }) in core::mem::take(&mut self.pending).into_iter().enumerate() {
                match operation {
                    Operation::Write { first_block, offset, durable, .. } if index % 3 == 1 => {
                        let _ = self.perform(&Operation::Write { first_block, blocks: 1, offset, durable });
                    }
                    operation if index % 3 == 2 => drop(self.perform(&operation)),
                    _ => {}
                }
            }
            return Err(Error::Restarted);
        }
        let taken = transfers.batch().iter().take(self.room).inspect(|own| self.pending.push_back(*own)).count();
        // Half of what is there, the last first.
        for _ in 0..self.pending.len().div_ceil(2) {
            let Some(Transfer { tag, operation }) = self.pending.pop_back() else { break };
            let outcome = self.perform(&operation);
            each(Completion { tag, outcome });
        }
        Ok(taken)
    }

    fn resume(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

struct Table(Vec<Content>);

impl Contents for Table {
    fn get(&self, block: u64) -> Content {
        self.0[block as usize]
    }

    fn set(&mut self, block: u64, content: Content) {
        self.0[block as usize] = content;
    }
}

const PLAN: Plan = Plan {
    seed: 5,
    blocks: 300,
    blocks_max: 16,
    flush_every: 20,
    mix: Mix { write: 50, durable: 5, discard: 5, zeroes: 5 },
};

fn run(fault: Fault, room: usize) -> (Tally, Vec<Line>, Vec<u8>) {
    let window = Window::host(8 * 16 * BLOCK as u64, true);
    let disk = std::rc::Rc::new(std::cell::RefCell::new(vec![0xee; 300 * BLOCK]));
    let model = Model { window, disk: disk.clone(), pending: VecDeque::new(), fault, count: 0, room };
    let mut lines = Vec::new();
    let mut tell = |line| lines.push(line);
    let table = Table(vec![Content::Unknown; 300]);
    let tally = Run::new(model, table, &window, PLAN, BLOCK as u32, 8, &mut tell).go(Some(1000)).unwrap();
    let bytes = disk.borrow().clone();
    (tally, lines, bytes)
}

#[test]
fn a_good_disk_has_no_errors_and_satisfies_the_judge() {
    for room in [32, 1] {
        let (tally, lines, disk) = run(Fault::None, room);
        assert_eq!((tally.errors, tally.failed), (0, 0), "{lines:?}");
        assert!(tally.requests > 1000 && tally.verified > 1000 && tally.reads > 200 && tally.zeroes > 50, "{tally}");
        let flushed: Vec<_> = lines
            .iter()
            .map(|line| match line {
                Line::Flushed { generation, issued } if generation <= issued => *generation,
                other => panic!("{other}"),
            })
            .collect();
        assert!(flushed.len() > 10 && *flushed.last().unwrap() == 1000, "{flushed:?}");
        assert!(flushed.is_sorted());
        assert_eq!(Judge::new(PLAN, 1000, 1000).disk(&disk, BLOCK).next(), None);
    }
}

#[test]
fn every_fault_is_noticed() {
    for fault in [Fault::Lost(50), Fault::Misplaced(50), Fault::Torn(50)] {
        let (tally, lines, _) = run(fault, 32);
        assert!(tally.errors > 0, "{tally}");
        assert!(lines.iter().any(|line| matches!(line, Line::Wrong { .. })));
    }
}

#[test]
fn a_failed_operation_is_told_and_its_blocks_are_not_judged() {
    let (tally, lines, _) = run(Fault::Failed(10), 32);
    assert!(tally.failed > 90 && tally.errors == 0, "{tally} {lines:?}");
    assert!(lines.iter().filter(|line| matches!(line, Line::Failed { .. })).count() == TOLD_MAX as usize);
}

#[test]
fn after_a_restart_of_the_block_server_what_was_under_way_is_done_again() {
    let (tally, lines, disk) = run(Fault::Restarted(13), 32);
    assert_eq!((tally.errors, tally.failed), (0, 0), "{lines:?}");
    assert!(tally.restarts > 20, "{tally}");
    assert!(lines.iter().any(|line| matches!(line, Line::Restarted { again } if *again > 1)));
    assert_eq!(Judge::new(PLAN, 1000, 1000).disk(&disk, BLOCK).next(), None);
}
