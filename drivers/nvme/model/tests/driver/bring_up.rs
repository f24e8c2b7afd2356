//! Taking controllers up: real driver and real broker against the model.

use crate::{LANE, Machine};
use abi::package::Limit;
use nvme::State;
use nvme_model::{Fault, Identity, Namespace, Registers};
use nvme_spec::Status;
use protocol::nvme::{Answer, Batch, NAMESPACES_MAX, Request};

const SECOND: u64 = 1_000_000_000;

fn has_line(machine: &Machine, part: &str) -> bool {
    machine.kernel.log.iter().any(|line| line.contains(part))
}

#[track_caller]
pub fn assert_line(machine: &Machine, part: &str) {
    assert!(has_line(machine, part), "no line with {part:?}:\n{}", machine.kernel.log.join("\n"));
}

pub fn namespaces(machine: &mut Machine) -> Vec<(u32, u64, u32)> {
    match machine.ask(&Request::Namespaces) {
        Answer::Namespaces(list) => list.iter().map(|found| (found.nsid, found.blocks, found.block_bytes)).collect(),
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn a_good_controller_comes_up_and_is_told_of_in_the_log() {
    let mut machine = Machine::started(Identity::default());
    assert_eq!(machine.driver.state(), State::Running);
    let bound = format!(
        "controller bound device=0000:00:04.0 pci_vendor=0x1b36 pci_device_id=0x0010 class=0x01 subclass=0x08 \
         prog_if=0x02 version=1.4.0 lane={LANE}"
    );
    assert_eq!(
        machine.kernel.log,
        [
            bound.as_str(),
            "identify controller model=\"QEMU NVMe Ctrl\" serial=\"model\" firmware=\"7.2\" namespaces=2",
            "namespace nsid=1 blocks=1048576 block_bytes=512",
            "namespace nsid=2 blocks=17179869184 block_bytes=4096",
        ]
    );
    assert_eq!(namespaces(&mut machine), [(1, 1 << 20, 512), (2, 1 << 34, 4096)]);
    let Answer::Controller(controller) = machine.ask(&Request::Controller) else {
        panic!("no controller");
    };
    assert_eq!((controller.model.as_str(), controller.namespaces), ("QEMU NVMe Ctrl", 2));
    assert_eq!((controller.version, controller.transfer_bytes_max), (0x0001_0400, 512 * 1024));
}

#[test]
fn admin_commands_end_by_interrupt_not_by_polling() {
    let machine = Machine::started(Identity { latency: SECOND, ..Identity::default() });
    // Identify twice, queues, events, list, two namespaces, two queue creations.
    assert_eq!(machine.kernel.device.interrupts[&0], 9);
    assert_eq!(
        machine.kernel.looks, 10,
        "once more when all is done: each command is looked for once, when its interrupt came"
    );
}

#[test]
fn waiting_for_ready_sleeps_between_looks() {
    let machine = Machine::started(Identity { start_time: 7 * SECOND, ..Identity::default() });
    assert_eq!(machine.driver.state(), State::Running);
    assert!(machine.wakes < 1000, "{} wakes for 7 s", machine.wakes);
}

#[test]
fn a_controller_that_firmware_left_enabled_is_taken_over() {
    let mut machine = Machine::new(Identity { stop_time: 2 * SECOND, ..Identity::default() });
    machine.kernel.device.left_enabled();
    machine.start();
    assert_eq!(machine.driver.state(), State::Running);
    assert!(machine.now() >= 2 * SECOND);
}

#[test]
fn no_controller_is_said_and_every_request_is_answered_so() {
    let mut machine = Machine::new(Identity::default());
    machine.kernel.present = false;
    machine.start();
    assert_eq!(machine.driver.state(), State::Gone);
    assert_eq!(machine.kernel.log, ["controller absent"]);
    for request in [Request::Controller, Request::Namespaces, Request::Exchange(Batch::EMPTY)] {
        assert_eq!(machine.ask(&request), Answer::NoController);
    }
    assert_eq!(machine.driver.deadline(), u64::MAX);
}

#[test]
fn a_controller_that_never_becomes_ready_is_given_up_after_its_own_limit() {
    let mut machine = Machine::new(Identity::default());
    machine.kernel.device.faults.never_ready = true;
    machine.start();
    assert_eq!(machine.driver.state(), State::Gone);
    assert_line(&machine, "controller failed reason=not-ready");
    // CAP.TO is 7.5 s; it is then stopped, which this one does.
    assert!((7 * SECOND..9 * SECOND).contains(&machine.now()), "{}", machine.now());
    assert!(machine.is_off());
}

#[test]
fn a_controller_that_firmware_left_enabled_and_never_stops_is_given_up() {
    let mut machine = Machine::new(Identity::default());
    machine.kernel.device.left_enabled();
    machine.kernel.device.faults.never_stops = true;
    machine.start();
    assert_eq!(machine.driver.state(), State::Gone);
    assert_line(&machine, "controller failed reason=device-gone");
}

#[test]
fn fatal_status_instead_of_ready_is_given_up_at_once() {
    let mut machine = Machine::new(Identity::default());
    machine.kernel.device.faults.fatal_at_enable = true;
    machine.start();
    assert_eq!(machine.driver.state(), State::Gone);
    assert_line(&machine, "reason=controller-fatal-status");
    assert!(machine.now() < SECOND);
}

#[test]
fn registers_of_all_ones_are_a_device_that_is_gone() {
    let mut machine = Machine::new(Identity::default());
    machine.kernel.quiesce();
    machine.kernel.device.faults.registers = Registers::AllOnes;
    machine.kernel.present = true;
    machine.start();
    assert_eq!(machine.driver.state(), State::Gone);
}

#[test]
fn forged_capabilities_are_refused_with_their_reason() {
    let good = Identity::default().capabilities;
    for (capabilities, what) in
        [(good & !(1 << 37), "nvm-command-set"), (good | 1 << 48, "4-kib-pages"), (good & !0xffff, "queue-entries")]
    {
        let machine = Machine::started(Identity { capabilities, ..Identity::default() });
        assert_eq!(machine.driver.state(), State::Gone);
        assert_line(&machine, &format!("controller failed reason=unsupported what={what}"));
    }
}

#[test]
fn a_vector_that_the_device_does_not_offer_falls_back_to_the_first() {
    let mut machine = Machine::started(Identity { vectors: 1, ..Identity::default() });
    assert_eq!(machine.driver.state(), State::Running);
    assert_line(&machine, "vector not offered vector=1 status_type=1 status_code=0x08");
    assert_eq!(machine.read(1, 1, 0, 8, 0, 4096).0, Ok(()));
    assert_eq!(machine.kernel.device.interrupts.keys().copied().collect::<Vec<_>>(), [0]);
    assert!(!has_line(&machine, "completions without interrupt"));
}

#[test]
fn a_vector_that_is_not_granted_falls_back_to_the_first() {
    let mut machine = Machine::with(Identity::default(), &[0], &[Limit::WHOLE_DEVICE]);
    machine.start();
    assert_eq!(machine.driver.state(), State::Running);
    assert_line(&machine, "vector not usable vector=1 reason=refused");
    assert_eq!(machine.read(1, 1, 0, 8, 0, 4096).0, Ok(()));
}

#[test]
fn interrupts_of_completions_come_on_the_granted_vector() {
    let mut machine = Machine::started(Identity::default());
    let admin = machine.kernel.device.interrupts[&0];
    assert_eq!(machine.read(1, 1, 0, 8, 0, 4096).0, Ok(()));
    assert_eq!(machine.kernel.device.interrupts[&0], admin);
    assert_eq!(machine.kernel.device.interrupts[&1], 1);
}

#[test]
pub fn namespaces_of_every_kind_are_told_of_and_only_good_ones_are_usable() {
    let good = |nsid, shift| Namespace::new(nsid, 1000, shift);
    let namespaces_of_all_kinds = vec![
        good(1, 9),
        good(3, 10),
        good(4, 11),
        good(7, 12),
        good(8, 13),
        Namespace { metadata_bytes: 8, ..good(9, 9) },
        Namespace::new(0xffff_fff0, 0, 9),
    ];
    let mut machine = Machine::started(Identity { namespaces: namespaces_of_all_kinds, ..Identity::default() });
    assert_eq!(
        namespaces(&mut machine),
        [
            (1, 1000, 512),
            (3, 1000, 1024),
            (4, 1000, 2048),
            (7, 1000, 4096),
            (8, 1000, 0),
            (9, 1000, 0),
            (0xffff_fff0, 0, 512)
        ]
    );
    assert_line(&machine, "namespace unusable nsid=8 blocks=1000 reason=block-size block_shift=13");
    assert_line(&machine, "namespace unusable nsid=9 blocks=1000 reason=metadata metadata_bytes=8");
    for (tag, nsid) in [(1, 8), (2, 9), (3, 2)] {
        assert_eq!(machine.read(tag, nsid, 0, 1, 0, 512).0, Err(protocol::nvme::Failure::Invalid));
    }
}

#[test]
fn lists_beyond_1024_namespaces_are_counted_and_the_first_are_told_of() {
    let many = (1..=2500).map(|number| Namespace::new(number * 3, 100, 9)).collect();
    let mut machine = Machine::started(Identity { namespaces: many, ..Identity::default() });
    assert_line(&machine, "namespaces=2500");
    assert_line(&machine, "namespaces left out count=2468 most=32");
    let told = namespaces(&mut machine);
    assert_eq!((told.len(), told[31].0), (NAMESPACES_MAX, 96));
}

#[test]
fn a_list_of_exactly_1024_namespaces_ends() {
    let many = (1..=1024).map(|number| Namespace::new(number, 100, 9)).collect();
    let machine = Machine::started(Identity { namespaces: many, ..Identity::default() });
    assert_line(&machine, "namespaces=1024");
    assert_eq!(machine.driver.state(), State::Running);
}

#[test]
fn a_list_that_is_not_ascending_is_not_believed() {
    for order in [[2, 1], [1, 1], [1, 0xffff_ffff]] {
        let namespaces = order.map(|nsid| Namespace::new(nsid, 100, 9)).to_vec();
        let machine = Machine::started(Identity { namespaces, ..Identity::default() });
        assert_eq!(machine.driver.state(), State::Gone);
        assert_line(&machine, "controller failed reason=malformed what=namespace-list-order");
    }
}

#[test]
fn a_controller_without_namespace_lists_is_asked_for_each_identifier() {
    for identity in [
        Identity { lists: false, ..Identity::default() },
        Identity { lists: false, version: 0x0001_0000, ..Identity::default() },
    ] {
        let mut machine = Machine::started(identity);
        assert_eq!(namespaces(&mut machine), [(1, 1 << 20, 512), (2, 1 << 34, 4096)]);
    }
}

#[test]
fn an_admin_command_that_is_never_answered_is_tried_again_after_a_reset() {
    let mut machine = Machine::new(Identity::default());
    machine.kernel.device.faults.admin.push_back(Some(Fault::Drop));
    machine.start();
    assert_eq!(machine.driver.state(), State::Running);
    assert_line(&machine, "controller failed reason=timeout opcode=0x06");
    assert_eq!(machine.read(1, 1, 0, 8, 0, 4096).0, Ok(()));
}

#[test]
fn a_controller_that_answers_no_admin_command_is_given_up() {
    let mut machine = Machine::new(Identity::default());
    machine.kernel.device.faults.admin.extend([Some(Fault::Drop); 20]);
    machine.start();
    assert_eq!(machine.driver.state(), State::Gone);
    assert_eq!(machine.kernel.log.iter().filter(|line| line.contains("reason=timeout opcode=0x06")).count(), 4);
}

#[test]
fn an_admin_error_ends_the_start_with_its_status() {
    // Identify Controller, Set Features, Create I/O Submission Queue.
    for (place, opcode) in [(0, "0x06"), (2, "0x09"), (9, "0x01")] {
        let mut machine = Machine::new(Identity::default());
        machine.kernel.device.faults.admin.extend(vec![None; place]);
        machine.kernel.device.faults.admin.push_back(Some(Fault::Status(Status::INTERNAL_ERROR)));
        machine.start();
        assert_eq!(machine.driver.state(), State::Gone);
        assert_line(
            &machine,
            &format!("controller failed reason=status opcode={opcode} status_type=0 status_code=0x06"),
        );
        assert!(machine.is_off(), "it is stopped");
    }
}

#[test]
fn a_namespace_that_cannot_be_identified_is_left_aside() {
    let mut machine = Machine::new(Identity::default());
    machine.kernel.device.faults.admin.extend([
        None,
        None,
        None,
        None,
        None,
        None,
        Some(Fault::Status(Status::INVALID_FIELD)),
    ]);
    machine.start();
    assert_eq!(namespaces(&mut machine), [(1, 0, 0), (2, 1 << 34, 4096)]);
}

#[test]
fn admin_completions_that_make_no_sense_do_no_harm() {
    for fault in [Fault::Duplicate, Fault::Invented(3), Fault::Invented(0xffff), Fault::Head] {
        let mut machine = Machine::new(Identity::default());
        machine.kernel.device.faults.admin.extend([Some(fault); 7]);
        machine.start();
        assert_eq!(machine.driver.state(), State::Running, "{fault:?}");
        assert_eq!(namespaces(&mut machine).len(), 2);
    }
}
