//! The broker with one check switched off, again and again: each time a named test must fail.
//!
//! A mutant is a piece of the source and what replaces it, so that the trusted code carries nothing for it. Whether
//! each piece is still there is checked in every run; the mutants themselves are built and run by
//! `cargo test -p nvme-broker --test rules -- --ignored every_mutant`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The property over all sequences.
const PROPERTY: &str =
    "property::no_sequence_gives_an_address_outside_the_regions_or_a_doorbell_of_no_queue_or_a_slot_twice";

struct Mutant {
    /// The design's point whose check it switches off.
    point: u8,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The test that must fail.
    test: &'static str,
}

const fn mutant(point: u8, file: &'static str, from: &'static str, to: &'static str, test: &'static str) -> Mutant {
    Mutant { point, file, from, to, test }
}

const MUTANTS: &[Mutant] = &[
    mutant(1, "io.rs", "<< extent.block_shift", "<< 9", "io::lengths_come_from_the_namespaces_own_block_size"),
    mutant(1, "io.rs", "<< extent.block_shift", "<< 9", PROPERTY),
    mutant(
        1,
        "facts.rs",
        "format.metadata_bytes.get() == 0 && ",
        "",
        "io::namespaces_with_metadata_or_strange_blocks_are_denied",
    ),
    mutant(1, "facts.rs", "format.metadata_bytes.get() == 0 && ", "", PROPERTY),
    mutant(
        1,
        "admin.rs",
        "Meaning::Namespace(nsid) if success =>",
        "Meaning::Namespace(nsid) if success || true =>",
        "admin::a_failed_identify_leaves_no_data_and_teaches_nothing",
    ),
    mutant(
        1,
        "lib.rs",
        "            self.facts.forget();",
        "",
        "registers::a_namespace_that_changed_at_a_reset_is_not_believed",
    ),
    mutant(1, "lib.rs", "            self.facts.forget();", "", PROPERTY),
    mutant(
        1,
        "admin.rs",
        "clear_hidden(device, page, PAGE);",
        "",
        "admin::data_that_the_controller_did_not_write_is_not_believed_from_an_earlier_command",
    ),
    mutant(
        1,
        "io.rs",
        "!grant::every_namespace(ledger) || ",
        "",
        "io::the_broadcast_namespace_is_denied_where_it_is_not_harmless",
    ),
    mutant(
        2,
        "queue.rs",
        "} else if !holds(Check::Identifier, !self.uses[place].is_in_flight) {",
        "} else if false {",
        "io::identifiers_are_unique_in_flight",
    ),
    mutant(
        2,
        "queue.rs",
        "} else if !holds(Check::Identifier, !self.uses[place].is_in_flight) {",
        "} else if false {",
        PROPERTY,
    ),
    mutant(
        2,
        "queue.rs",
        "last.seen != seen || ",
        "",
        "completions::a_completion_that_comes_twice_does_not_retire_the_slots_next_command",
    ),
    mutant(
        2,
        "queue.rs",
        "|| !last.is_in_flight",
        "",
        "completions::a_completion_that_nobody_asked_for_is_dropped_and_counted",
    ),
    mutant(2, "queue.rs", "|| !last.is_in_flight", "", PROPERTY),
    mutant(
        2,
        "queue.rs",
        "entry.submission_queue.get() == self.number;",
        "true;",
        "completions::a_completion_that_nobody_asked_for_is_dropped_and_counted",
    ),
    mutant(
        2,
        "queue.rs",
        "        if possible {",
        "        if true {",
        "completions::an_impossible_submission_head_frees_nothing",
    ),
    mutant(
        2,
        "queue.rs",
        "most.saturating_sub(used)",
        "most",
        "completions::a_ring_that_is_not_fetched_is_never_overrun",
    ),
    mutant(2, "prp.rs", "if !*was_used {", "if false {", "io::every_length_and_offset_is_described_to_the_byte"),
    mutant(2, "prp.rs", "if !*was_used {", "if false {", PROPERTY),
    mutant(
        2,
        "controller.rs",
        "Stage::Disabling if !ready => {",
        "Stage::Disabling => {",
        "registers::a_reset_keeps_commands_pinned_until_rdy_0_was_read",
    ),
    mutant(
        3,
        "controller.rs",
        "{ Configuration::new(asked.enable(), shutdown) }",
        "{ asked }",
        "registers::shutting_down_ends_submissions",
    ),
    mutant(
        3,
        "controller.rs",
        "if status.contains(ControllerStatus::READY) {",
        "if false {",
        "registers::enabling_is_busy_if_a_disabled_controller_is_ready",
    ),
    mutant(
        3,
        "controller.rs",
        "device.set_interrupts(true);",
        "",
        "registers::enabling_is_one_transaction_in_this_order",
    ),
    mutant(
        3,
        "queue.rs",
        "clear_hidden(device, shape.completion, bytes);",
        "",
        "registers::completions_of_an_earlier_life_are_not_seen_after_a_reset",
    ),
    mutant(
        4,
        "controller.rs",
        "VS | CC | CSTS => 4,",
        "VS | CC | CSTS | 0x24 | 0x28 | 0x30 => 4,",
        "registers::only_listed_registers_can_be_read",
    ),
    mutant(
        4,
        "controller.rs",
        "if offset != CC {",
        "if offset != CC && offset != 0x20 {",
        "registers::only_cc_can_be_written",
    ),
    mutant(
        5,
        "admin_queues.rs",
        "!holds(Check::Vector, self.ledger.vectors.contains(&vector))",
        "false",
        "admin::queues_are_created_only_as_the_ledger_has_them",
    ),
    mutant(
        5,
        "admin_queues.rs",
        "!holds(Check::QueueSize, entries == u32::from(self.controller.io_entries()))",
        "false",
        "admin::queues_are_created_only_as_the_ledger_has_them",
    ),
    mutant(
        5,
        "admin_queues.rs",
        "pair.submission = Existence::Creating;",
        "pair.submission = Existence::Live;",
        "admin::queue_state_changes_only_when_success_was_read",
    ),
    mutant(
        5,
        "admin_queues.rs",
        "pair.submission = Existence::Creating;",
        "pair.submission = Existence::Live;",
        PROPERTY,
    ),
    mutant(
        5,
        "admin_queues.rs",
        "!pair.for_commands()?.slots().is_empty()",
        "false",
        "admin::queues_are_deleted_in_order_and_only_when_nothing_is_in_flight",
    ),
    mutant(
        6,
        "grant.rs",
        "if reserved || end",
        "if end",
        "registers::no_queue_is_created_whose_doorbell_lies_outside_or_in_the_msi_x_table",
    ),
    mutant(6, "grant.rs", "if reserved || end", "if end", PROPERTY),
    mutant(
        6,
        "grant.rs",
        "|| end > u64::from(ledger.register_bytes)",
        "",
        "registers::no_queue_is_created_whose_doorbell_lies_outside_or_in_the_msi_x_table",
    ),
    mutant(
        8,
        "io.rs",
        "_ => return Err(Reason::OpcodeWithoutRule),",
        "_ => (*command).into(),",
        "admin::opcodes_without_a_rule_are_denied",
    ),
    mutant(8, "io.rs", "pointer == 0 && rest == 0", "rest == 0", "admin::every_field_without_a_meaning_must_be_zero"),
    mutant(8, "io.rs", "command.prp1.get() | command.prp2.get() != 0", "false", FIELDS),
    mutant(8, "grant.rs", "&& limit.first_block <= range.first", "", "io::blocks_stay_in_the_grant"),
    mutant(8, "grant.rs", "&& limit.first_block <= range.first", "", PROPERTY),
    mutant(
        8,
        "grant.rs",
        "limit.writable || !command.changes_blocks()",
        "true",
        "writes::blocks_are_changed_only_where_a_limit_lets_them_be_written",
    ),
    mutant(8, "grant.rs", "limit.writable || !command.changes_blocks()", "true", PROPERTY),
    mutant(
        8,
        "grant.rs",
        "holds(Check::ListedCommands, limit.commands.contains(command))",
        "true",
        "commands::a_command_that_no_limit_of_these_blocks_lists_is_denied",
    ),
    mutant(8, "grant.rs", "holds(Check::ListedCommands, limit.commands.contains(command))", "true", PROPERTY),
    mutant(8, "grant.rs", "holds(Check::ListedCommands, listed)", "true", "commands::a_flush_is_listed_or_denied"),
    mutant(
        8,
        "io.rs",
        "WRITE_ZEROES => author_without_data(ledger, facts, command, DEALLOCATE, Command::WriteZeroes)",
        "WRITE_ZEROES => author_without_data(ledger, facts, command, DEALLOCATE, Command::Verify)",
        "writes::a_grant_to_read_changes_nothing",
    ),
    mutant(
        8,
        "io.rs",
        "!(OPERANDS | allowed)",
        "!(u32::MAX | allowed)",
        "writes::every_field_without_a_meaning_must_be_zero",
    ),
    mutant(
        7,
        "ranges.rs",
        "grant::blocks(ledger, nsid, range, Command::DatasetManagement)?;",
        "",
        "writes::each_range_is_checked_against_namespace_and_grant",
    ),
    mutant(7, "ranges.rs", "grant::blocks(ledger, nsid, range, Command::DatasetManagement)?;", "", PROPERTY),
    mutant(
        7,
        "ranges.rs",
        "Some(end) if end <= namespace.blocks => {}",
        "Some(_) => {}",
        "writes::each_range_is_checked_against_namespace_and_grant",
    ),
    mutant(
        7,
        "ranges.rs",
        "if range.attributes.get() != 0 {",
        "if false {",
        "writes::dataset_management_does_nothing_but_deallocate",
    ),
    mutant(
        7,
        "ranges.rs",
        "if count > RANGES_MAX {",
        "if count > 256 {",
        "writes::ranges_that_do_not_follow_or_are_too_many_are_refused",
    ),
    mutant(
        2,
        "io.rs",
        "self.lists_used &= !(1 << slot(command.identifier.get()));",
        "",
        "writes::a_list_of_ranges_is_no_list_of_addresses_for_the_slots_next_command",
    ),
    mutant(
        1,
        "admin.rs",
        "if event.changes_namespaces() {",
        "if false {",
        "events::namespaces_are_not_believed_after_they_changed",
    ),
    mutant(
        1,
        "admin.rs",
        "if let Meaning::Namespace(_) = meaning {",
        "if false {",
        "events::an_identify_from_before_the_change_teaches_nothing",
    ),
    mutant(1, "admin.rs", "if event.changes_namespaces() {", "if false {", PROPERTY),
    mutant(
        2,
        "queue.rs",
        "is_in_flight && named == identifier",
        "true",
        "events::an_abort_names_the_command_that_the_controller_knows",
    ),
    mutant(
        4,
        "lib.rs",
        "self.admin.redact(identifier, data);",
        "",
        "events::what_a_log_page_holds_is_collected_without_what_could_be_an_address",
    ),
    mutant(
        4,
        "admin.rs",
        "if bytes != whole && !is_entries {",
        "if false {",
        "events::log_pages_are_read_by_list_and_in_their_length",
    ),
    mutant(
        4,
        "admin.rs",
        "_ => return Err(Reason::LogPageWithoutRule),",
        "_ => (bytes, Meaning::Data),",
        "events::log_pages_are_read_by_list_and_in_their_length",
    ),
    mutant(
        8,
        "admin.rs",
        "if value & !allowed != 0 {",
        "if false {",
        "events::features_take_the_values_that_have_a_rule",
    ),
    mutant(
        8,
        "grant.rs",
        "&& limit.blocks.is_none_or(|blocks| end <= limit.first_block.saturating_add(blocks))",
        "",
        "io::blocks_stay_in_the_grant",
    ),
    mutant(8, "io.rs", "Some(end) if end <= namespace.blocks", "Some(_)", "io::blocks_stay_in_the_namespace"),
    mutant(8, "grant.rs", "holds(Check::RangeEnd, end <= size)", "end <= size + 512", "io::data_stays_in_its_region"),
    mutant(8, "grant.rs", "holds(Check::RangeEnd, end <= size)", "end <= size + 0x10_0000", PROPERTY),
    mutant(8, "grant.rs", "if offset & 0b11 != 0 {", "if false {", "io::data_stays_in_its_region"),
    mutant(
        9,
        "controller.rs",
        "Stop::AwaitDisabled(_) if holds(Check::Ready, !ready) =>",
        "Stop::AwaitDisabled(_) =>",
        "quiesce::a_controller_that_firmware_left_enabled_is_done_only_when_rdy_0_was_read",
    ),
    mutant(
        9,
        "controller.rs",
        "Stop::AwaitDisabled(_) if holds(Check::Ready, !ready) =>",
        "Stop::AwaitDisabled(_) =>",
        PROPERTY,
    ),
    mutant(
        9,
        "controller.rs",
        "if now >= deadline => return self.quarantine(),",
        "if now >= deadline => return self.stopped(device),",
        "quiesce::a_controller_that_does_not_stop_in_its_time_is_quarantined",
    ),
    mutant(
        9,
        "controller.rs",
        "if status.is_gone() {\n            return self.quarantine();",
        "if status.is_gone() {\n            return self.stopped(device);",
        "quiesce::a_device_that_is_gone_has_not_stopped",
    ),
    mutant(
        9,
        "controller.rs",
        "if stop == Stop::Begin {",
        "if false {",
        "quiesce::a_working_controller_stops_with_everything_in_flight_retired_only_then",
    ),
    mutant(8, "extents.rs", "head & HEAD == self.head", "true", ALLOWED),
    mutant(8, "extents.rs", "&& must_be_zero == 0", "", ALLOWED),
    mutant(8, "extents.rs", "&& count <= self.blocks_max", "", ALLOWED),
    mutant(8, "extents.rs", "&& first >= self.first", "", ALLOWED),
    mutant(8, "extents.rs", "&& first.checked_add(count.into()).is_some_and(|end| end <= self.end)", "", ALLOWED),
    mutant(1, "facts.rs", "KEPT];\n        self.extents.forget();", "KEPT];", CHANGED),
    mutant(1, "facts.rs", "facts };\n            self.extents.forget();", "facts };", LEARNED),
    mutant(1, "facts.rs", "});\n        self.extents.forget();", "});", "io::a_transfer_keeps_to_mdts"),
];

const CHANGED: &str = "events::namespaces_are_not_believed_after_they_changed";
const LEARNED: &str = "io::what_is_learned_anew_ends_what_was_allowed";
const ALLOWED: &str = "io::what_one_command_was_allowed_no_other_is";
const FIELDS: &str = "admin::every_field_of_flush_and_deletion_without_a_meaning_must_be_zero";

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_mutant_still_fits_the_source() {
    for mutant in MUTANTS {
        let source = fs::read_to_string(here().join("src").join(mutant.file)).unwrap();
        let found = source.matches(mutant.from).count();
        assert_eq!(found, 1, "{} has {:?} {found} times", mutant.file, mutant.from);
        let (module, test) = mutant.test.split_once("::").unwrap();
        let tests = fs::read_to_string(here().join("tests/rules").join(module).with_extension("rs")).unwrap();
        assert!(tests.contains(&format!("fn {test}()")), "there is no test {}", mutant.test);
    }
    // Of point 7 half is held by types: a broker is given commands by shared reference to a copy.
    for point in 1..=9 {
        assert!(MUTANTS.iter().any(|mutant| mutant.point == point), "no mutant for point {point}");
    }
}

#[test]
#[ignore = "builds the crate once a mutant: minutes"]
fn every_mutant_is_killed_by_its_test() {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    let _ = fs::remove_dir_all(copy.join("src"));
    let _ = fs::remove_dir_all(copy.join("tests"));
    copy_tree(&here().join("src"), &copy.join("src"));
    copy_tree(&here().join("tests"), &copy.join("tests"));
    fs::copy(here().join("../../../Cargo.lock"), copy.join("Cargo.lock")).unwrap();
    fs::write(copy.join("Cargo.toml"), manifest()).unwrap();
    for mutant in MUTANTS {
        assert!(!test_fails(&copy, mutant.test), "{} fails without a mutant", mutant.test);
    }
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
        let file = copy.join("src").join(mutant.file);
        let source = fs::read_to_string(&file).unwrap();
        fs::write(&file, source.replacen(mutant.from, mutant.to, 1)).unwrap();
        let killed = test_fails(&copy, mutant.test);
        fs::write(&file, source).unwrap();
        println!("point {} {}: {:?} -> {:?}: killed={killed}", mutant.point, mutant.file, mutant.from, mutant.to);
        if !killed {
            survivors.push((mutant.file, mutant.from, mutant.test));
        }
    }
    assert!(survivors.is_empty(), "survivors: {survivors:#?}");
}

/// Whether the test ran and failed; panics if it did not run.
fn test_fails(copy: &Path, test: &str) -> bool {
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["test", "--offline", "--test", "rules", "--", "--exact", test])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", copy.join("target"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("running 1 test"), "{test} did not run:\n{}", String::from_utf8_lossy(&output.stderr));
    !output.status.success()
}

/// A manifest for the copy, outside the workspace.
fn manifest() -> String {
    let root = here().join("../../..").canonicalize().unwrap();
    let path = |room: &str| root.join(room).display().to_string();
    format!(
        "[package]\nname = \"nvme-broker\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n\
         [profile.dev]\nopt-level = 1\ndebug = false\n[dependencies]\n\
         abi = {{ path = {:?} }}\nbroker = {{ path = {:?} }}\nchecks = {{ path = {:?} }}\nnvme-spec = {{ path = {:?} }}\n\
         heapless = {{ version = \"*\", default-features = false }}\n\
         zerocopy = {{ version = \"*\", default-features = false }}\n[dev-dependencies]\nproptest = \"*\"\n",
        path("kernel/abi"),
        path("drivers/broker"),
        path("kernel/checks"),
        path("drivers/nvme/spec"),
    )
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from: PathBuf = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy_tree(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}
