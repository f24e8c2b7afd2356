//! One small charter a mistake, and the whole message that it gives.
//!
//! The messages are in `tests/snapshots`. After a change on purpose: `INSTA_UPDATE=always cargo test -p image-builder`,
//! then read every message that changed.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use image_builder::Manifest;
use image_builder::problem::{Kind, Report};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn check(name: &str) -> Report {
    let file = format!("{name}.toml");
    let text = std::fs::read_to_string(folder().join(&file)).unwrap();
    let (checked, report) = image_builder::check_with(Manifest { name: &file, text: &text }, &common::in_memory());
    assert_eq!(checked.is_none(), report.errors() > 0, "an error and nothing else keeps a charter from being used");
    report
}

fn told(name: &str) {
    let shown = check(name).render(false);
    let settings = {
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings
    };
    settings.bind(|| insta::assert_snapshot!(name, shown));
}

macro_rules! told {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            told($name);
        })*

        const ALL: &[&str] = &[$($name),*];
    };
}

told! {
    syntax: "syntax",
    syntax_value: "syntax-value",
    syntax_twice: "syntax-twice",
    missing_version: "missing-version",
    version: "version",
    missing_tasks: "missing-tasks",
    unknown_key_top: "unknown-key-top",
    unknown_key_slip: "unknown-key-slip",
    unknown_key: "unknown-key",
    unknown_key_grant: "unknown-key-grant",
    missing_key: "missing-key",
    missing_key_grant: "missing-key-grant",
    wrong_type: "wrong-type",
    wrong_type_table: "wrong-type-table",
    wrong_type_quotes: "wrong-type-quotes",
    syntax_quotes: "syntax-quotes",
    unknown_endpoint_behind: "unknown-endpoint-behind",
    bad_value: "bad-value",
    bad_value_class: "bad-value-class",
    bad_value_setting: "bad-value-setting",
    bad_value_evidence: "bad-value-evidence",
    bad_value_kernel: "bad-value-kernel",
    bad_value_remapping: "bad-value-remapping",
    out_of_range: "out-of-range",
    out_of_range_negative: "out-of-range-negative",
    out_of_range_blocks: "out-of-range-blocks",
    bad_name: "bad-name",
    bad_name_long: "bad-name-long",
    bad_name_setting: "bad-name-setting",
    bad_name_program: "bad-name-program",
    bad_size_unit: "bad-size-unit",
    bad_size_large: "bad-size-large",
    bad_size_none: "bad-size-none",
    misaligned: "misaligned",
    bad_pci_address: "bad-pci-address",
    bad_grant_nothing: "bad-grant-nothing",
    bad_grant_slip: "bad-grant-slip",
    bad_grant_two: "bad-grant-two",
    bad_grant_no_limits: "bad-grant-no-limits",
    bad_selector: "bad-selector",
    unknown_device: "unknown-device",
    unknown_region: "unknown-region",
    unknown_task: "unknown-task",
    unknown_endpoint: "unknown-endpoint",
    unknown_window: "unknown-window",
    unknown_broker: "unknown-broker",
    unknown_program: "unknown-program",
    bad_program: "bad-program",
    duplicate_registers: "duplicate-registers",
    duplicate_interrupt: "duplicate-interrupt",
    duplicate_receive: "duplicate-receive",
    duplicate_dma: "duplicate-dma",
    duplicate_console: "duplicate-console",
    ambiguous_device: "ambiguous-device",
    ambiguous_address: "ambiguous-address",
    unchecked_device: "unchecked-device",
    unchecked_device_no_broker: "unchecked-device-no-broker",
    bad_grant_limits_no_broker: "bad-grant-limits-no-broker",
    foreign_region: "foreign-region",
    foreign_region_nobody: "foreign-region-nobody",
    overlapping_windows: "overlapping-windows",
    overlapping_disks: "overlapping-disks",
    window_beyond_region: "window-beyond-region",
    disk_window: "disk-window",
    disk_window_several: "disk-window-several",
    disk_beyond_limits: "disk-beyond-limits",
    disk_beyond_limits_range: "disk-beyond-limits-range",
    disk_beyond_limits_opcodes: "disk-beyond-limits-opcodes",
    bad_value_opcode: "bad-value-opcode",
    bad_grant_no_opcodes: "bad-grant-no-opcodes",
    opcode_beyond_access: "opcode-beyond-access",
    opcode_beyond_access_unsaid: "opcode-beyond-access-unsaid",
    wrong_type_opcodes: "wrong-type-opcodes",
    redundant_limit_opcodes: "redundant-limit-opcodes",
    call_against_priority: "call-against-priority",
    call_to_itself: "call-to-itself",
    reserved_name: "reserved-name",
    too_many: "too-many",
    too_many_vectors: "too-many-vectors",
    need_not_granted: "need-not-granted",
    need_misnamed: "need-misnamed",
    grant_of_another_kind: "grant-of-another-kind",
    grant_not_needed: "grant-not-needed",
    unused: "unused",
    program_not_elf: "program-not-elf",
    program_other_machine: "program-other-machine",
    program_not_fixed: "program-not-fixed",
    program_writable_code: "program-writable-code",
    program_misplaced: "program-misplaced",
    program_no_code: "program-no-code",
    program_bad_needs: "program-bad-needs",
    call_cycle: "call-cycle",
    signal_to_itself: "signal-to-itself",
    repeated_grant: "repeated-grant",
    unused_endpoint: "unused-endpoint",
    name_clash: "name-clash",
    redundant_limit: "redundant-limit",
    shadowed_device: "shadowed-device",
    unused_region: "unused-region",
    bad_size: "bad-size",
    no_memory: "no-memory",
    over_budget: "over-budget",
    two_selectors: "two-selectors",
    two_selectors_partition: "two-selectors-partition",
    disks_written_twice: "disks-written-twice",
    disks_written_twice_partition: "disks-written-twice-partition",
    no_server_window: "no-server-window",
    over_shared: "over-shared",
    out_of_range_share: "out-of-range-share",
    bad_value_guid: "bad-value-guid",
    disk_beyond_limits_partition: "disk-beyond-limits-partition",
    stack_too_small: "stack-too-small",
    program_bad_stack: "program-bad-stack",
    supervise_against_priority: "supervise-against-priority",
    supervise_itself: "supervise-itself",
    supervise_unknown: "supervise-unknown",
    supervised_supervisor: "supervised-supervisor",
    killed_supervisor: "killed-supervisor",
    duplicate_supervisor: "duplicate-supervisor",
    bad_duration: "bad-duration",
    bad_value_supervise: "bad-value-supervise",
    several: "several",
}

#[test]
fn every_charter_here_has_its_test() {
    let files: BTreeSet<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(files, ALL.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn every_kind_of_mistake_has_its_charter() {
    let told: BTreeSet<Kind> =
        ALL.iter().flat_map(|name| check(name).problems().to_vec()).map(|problem| problem.kind).collect();
    let missing: Vec<_> = Kind::ALL.iter().filter(|kind| !told.contains(kind)).collect();
    assert!(missing.is_empty(), "no charter for {missing:?}");
    let codes: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(codes.len(), Kind::ALL.len(), "codes differ");
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/charter.md")).unwrap();
    let unexplained: Vec<_> = codes.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(unexplained.is_empty(), "docs/charter.md does not explain {unexplained:?}");
}
