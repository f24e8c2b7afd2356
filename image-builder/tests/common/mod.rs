//! Tiny programs, kernels and UEFI applications, made of bytes.

#![allow(dead_code, reason = "every test file uses its own part of this")]

use std::path::{Path, PathBuf};

use abi::needs::{self, Need};
use abi::package::{Access, Package};
use abi::{handoff, layout};
use image_builder::charter::values::ProgramName;
use image_builder::executable::{Executable, Segment, strip};
use image_builder::inputs::Programs;
use image_builder::{Inputs, Manifest, check_with, compile};

/// A need that is not optional.
pub fn need(name: &str, kind: needs::Kind) -> Need<'_> {
    Need { kind, optional: false, name }
}

fn segment(address: u64, access: Access, data: &[u8]) -> Segment {
    Segment { address, bytes: data.len() as u64 + 0x200, access, data: data.to_vec() }
}

fn executable(start: u64) -> Executable {
    let segments = vec![
        segment(start, Access::ReadExecute, &[0xf4; 300]),
        segment(start + 0x1000, Access::Read, b"what is only read"),
        segment(start + 0x2000, Access::ReadWrite, &[7; 40]),
    ];
    Executable { entry: start + 16, segments, needs: Vec::new(), stack_seen: None }
}

/// A kernel.
pub fn kernel() -> Vec<u8> {
    strip(&executable(handoff::KERNEL_IMAGE))
}

/// A task's program that needs this.
pub fn program(needs: &[Need<'_>]) -> Vec<u8> {
    let records: Vec<u8> = needs.iter().flat_map(Need::encode).collect();
    with_section(needs::SECTION, &records)
}

/// A program without needs that was seen to use so much of its stack.
fn deep(stack: &[u8]) -> Vec<u8> {
    with_section(needs::STACK_SECTION, stack)
}

fn with_section(section: &str, contents: &[u8]) -> Vec<u8> {
    let mut file = strip(&executable(layout::PROGRAM_START));
    let names = [b"\0".as_slice(), section.as_bytes(), b"\0.shstrtab\0"].concat();
    let records_at = file.len().next_multiple_of(8);
    file.resize(records_at, 0);
    file.extend_from_slice(contents);
    let names_at = file.len();
    file.extend_from_slice(&names);
    let headers_at = file.len().next_multiple_of(8);
    file.resize(headers_at, 0);
    file.extend_from_slice(&[0; 64]);
    // SHT_PROGBITS and SHT_STRTAB.
    file.extend_from_slice(&section_header(1, 1, records_at, contents.len()));
    file.extend_from_slice(&section_header(2 + section.len(), 3, names_at, names.len()));
    file[40..48].copy_from_slice(&(headers_at as u64).to_le_bytes());
    for (at, value) in [(58, 64u16), (60, 3), (62, 2)] {
        file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    file
}

fn section_header(name: usize, kind: u32, offset: usize, bytes: usize) -> [u8; 64] {
    let mut header = [0; 64];
    header[..4].copy_from_slice(&(name as u32).to_le_bytes());
    header[4..8].copy_from_slice(&kind.to_le_bytes());
    header[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
    header[32..40].copy_from_slice(&(bytes as u64).to_le_bytes());
    header
}

/// A UEFI application with one section and room for five more section headers.
pub fn boot() -> Vec<u8> {
    let mut file = vec![0; 0x400];
    let put = |file: &mut Vec<u8>, at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(&mut file, 0, b"MZ");
    put(&mut file, 0x3c, &0x80u32.to_le_bytes());
    put(&mut file, 0x80, b"PE\0\0");
    let (coff, optional) = (0x84, 0x98);
    put(&mut file, coff, &0x8664u16.to_le_bytes());
    put(&mut file, coff + 2, &1u16.to_le_bytes());
    put(&mut file, coff + 16, &240u16.to_le_bytes());
    put(&mut file, optional, &0x20bu16.to_le_bytes());
    for (at, value) in [(8, 0u32), (32, 4096), (36, 512), (56, 0x2000), (60, 0x280), (64, 77), (108, 16)] {
        put(&mut file, optional + at, &value.to_le_bytes());
    }
    put(&mut file, optional + 68, &10u16.to_le_bytes());
    let section = optional + 240;
    put(&mut file, section, b".text");
    for (at, value) in [(8, 0x123u32), (12, 0x1000), (16, 0x200), (20, 0x400), (36, 0x6000_0020)] {
        put(&mut file, section + at, &value.to_le_bytes());
    }
    // Five more headers end here.
    put(&mut file, optional + 60, &((section + 6 * 40) as u32).next_multiple_of(512).to_le_bytes());
    file.resize(0x600, 0xcc);
    file
}

/// The programs of the example charter, each with the needs that it is granted there.
pub fn programs() -> Vec<(&'static str, Vec<u8>)> {
    use needs::Kind::*;
    vec![
        (
            "nvme",
            program(&[
                need("registers", Registers),
                need("completion", Interrupt),
                need("admin", Interrupt),
                need("data", Dma),
                need("requests", Receive),
                need("client", Signal),
                need("log", Log),
            ]),
        ),
        (
            "block",
            program(&[
                need("driver", Call),
                Need { kind: Kill, optional: true, name: "stop" },
                need("requests", Receive),
                need("log", Log),
            ]),
        ),
        (
            "classify",
            program(&[
                need("evidence", Evidence),
                need("controller", DeviceInformation),
                need("driver", Call),
                need("requests", Receive),
                need("log", Log),
                need("cloud", Log),
            ]),
        ),
        (
            "console",
            program(&[
                need("console", Console),
                need("tasks", Inspect),
                need("devices", Inspect),
                need("history", Inspect),
                need("disk", Call),
                need("data", Window),
                need("cloud", Call),
                need("off", Power),
                need("reboot", Power),
                Need { kind: Kill, optional: true, name: "kill" },
            ]),
        ),
        ("supervisor", program(&[Need { kind: Supervise, optional: true, name: "watch" }, need("log", Log)])),
        ("reader", program(&[need("disk", Call), need("data", Window), need("log", Log)])),
        ("quiet", program(&[])),
        ("deep", deep(&60_000_u32.to_le_bytes())),
        ("bad-stack", deep(&[1, 2, 3])),
        ("any", any()),
        ("busy", program(&INTERRUPTS.map(|name| need(name, Interrupt)))),
        ("chatty", program(&["log", "log2", "log3", "log4", "log5"].map(|name| need(name, Log)))),
        ("position-independent", with_byte(16, 3)),
        ("writable-code", with_byte(64 + 4, 7)),
        ("other-machine", with_byte(18, 3)),
        ("misplaced", with_byte(64 + 17, 1)),
        ("no-code", with_byte(26, 0)),
        ("thread-local", with_byte(64 + 2 * 56, 7)),
        ("bad-needs", {
            let mut file = program(&[need("log", Log)]);
            let at = file.windows(4).rposition(|bytes| bytes == [1, 9, 0, 3]).unwrap();
            file[at] = 77;
            file
        }),
        ("no-elf", b"#!/bin/sh\n".to_vec()),
    ]
}

const INTERRUPTS: [&str; 9] = [
    "interrupt0",
    "interrupt1",
    "interrupt2",
    "interrupt3",
    "interrupt4",
    "interrupt5",
    "interrupt6",
    "interrupt7",
    "interrupt8",
];

/// A program without needs, one byte of which is another one.
fn with_byte(at: usize, value: u8) -> Vec<u8> {
    let mut file = program(&[]);
    file[at] = value;
    file
}

/// A program that can do with any of these grants, and without.
fn any() -> Vec<u8> {
    use needs::Kind::*;
    let mut optional = Vec::new();
    for (kind, names) in [
        (Registers, ["registers", "registers2"]),
        (Interrupt, ["interrupt", "interrupt2"]),
        (DeviceInformation, ["information", "information2"]),
        (Dma, ["dma", "dma2"]),
        (Window, ["window", "window2"]),
        (Receive, ["requests", "requests2"]),
        (Call, ["call", "call2"]),
        (Signal, ["signal", "signal2"]),
        (Log, ["log", "log2"]),
        (Console, ["console", "console2"]),
        (Inspect, ["tasks", "devices"]),
        (Power, ["off", "reboot"]),
        (Kill, ["kill", "kill2"]),
    ] {
        optional.extend(names.map(|name| Need { kind, optional: true, name }));
    }
    program(&optional)
}

/// Those programs, without files.
pub fn in_memory() -> Programs {
    let name = |name: &str| ProgramName::new(name).unwrap();
    Programs::in_memory("programs", programs().into_iter().map(|(program, bytes)| (name(program), bytes)))
}

/// Writes kernel, UEFI application and programs to a folder.
pub fn write_inputs(folder: &Path) -> Inputs {
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    for (name, bytes) in programs() {
        write(name, &bytes);
    }
    Inputs {
        kernel: write("kernel", &kernel()),
        boot: write("boot.efi", &boot()),
        programs: vec![folder.to_owned()],
        test_image: false,
    }
}

/// The workspace's own charter.
pub fn example() -> String {
    example_at(Path::new("../system.toml"))
}

/// The same, from a package that lies elsewhere in the workspace.
pub fn example_at(path: &Path) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Checks a charter as far as it is good; whether it was. No charter makes the builder panic, each mistake is shown at a
/// place in the text, and what the builder accepts, the kernel accepts.
pub fn judge(text: &str) -> bool {
    let (checked, report) = check_with(Manifest { name: "system.toml", text }, &in_memory());
    let shown = report.render(false);
    assert_eq!(checked.is_none(), report.errors() > 0);
    assert_eq!(shown.is_empty(), report.problems().is_empty());
    assert!(!shown.contains("Failed to read"), "a place is outside the text: {shown}");
    let Some(checked) = checked else { return false };
    let package = compile::package(&checked, [0; 32]).unwrap_or_else(|error| panic!("{error}: {error:?}\n{text}"));
    assert_eq!(Package::open(&package).unwrap().tasks().count(), checked.charter().tasks.len());
    true
}
