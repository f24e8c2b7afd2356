//! Counts from outside the machine, by the plugin `qemu/bench/count.c`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use qemu::harness::{bare_directory, root};
use qemu::serial::Event;

/// The kernel's vectors for devices, from `kernel::devices`.
const DEVICE_VECTORS: std::ops::Range<u64> = 0x40..0xe0;

/// The plugin, built.
pub struct Counter {
    library: PathBuf,
    output: PathBuf,
}

/// What was counted.
pub struct Counted {
    /// Measured loops, in order.
    pub rows: Vec<Counts>,
    /// Most kernel instructions from one of a task, or a halt, to the next.
    pub longest_entry: u64,
    /// The boot, if a block was read.
    pub boot: Option<Boot>,
    /// Interrupts that struck a task and after which another one ran.
    pub interrupts: Vec<Interrupt>,
    /// What each measured loop ran, if a profile was asked for.
    pub profiles: Vec<Vec<Stretch>>,
}

/// A stretch of code, and how often a loop ran it.
pub struct Stretch {
    /// Its address.
    pub address: u64,
    /// Its instructions.
    pub instructions: u64,
    /// How often it ran.
    pub times: u64,
    /// Its first bytes.
    pub code: Vec<u8>,
}

/// Instructions from the UEFI application's first to the first block that was read.
pub struct Boot {
    /// Of the application, the kernel and the tasks.
    pub own: u64,
    /// Of firmware that the application called.
    pub firmware: u64,
    /// Of waiting for hardware to measure the clock.
    pub calibration: u64,
}

/// What a loop took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Instructions of tasks.
    pub user: u64,
    /// Instructions of the kernel.
    pub kernel: u64,
    /// System calls.
    pub system_calls: u64,
    /// Interrupts and exceptions.
    pub interrupts: u64,
    /// Writes to device registers, those of the interrupt controller among them.
    pub mmio_writes: u64,
    /// Bytes that string moves copied.
    pub copied: u64,
}

impl Counts {
    fn new(row: &Event) -> Self {
        let number = |key| row.number(key).expect("a count is a number");
        Self {
            user: number("user"),
            kernel: number("kernel"),
            system_calls: number("system_calls"),
            interrupts: number("interrupts"),
            mmio_writes: number("mmio_writes"),
            copied: number("copied"),
        }
    }
}

/// Kernel instructions from an interrupt's vector to the first instruction of the task that it woke.
pub struct Interrupt {
    vector: u64,
    /// The most.
    pub most: u64,
}

impl Interrupt {
    /// Whether a device raised it, not the timer.
    pub fn is_device(&self) -> bool {
        DEVICE_VECTORS.contains(&self.vector)
    }
}

impl Counter {
    /// Compiles the plugin; its files have this path and some ending.
    pub fn build(path: PathBuf) -> Self {
        let (library, output) = (path.with_extension("so"), path.with_extension("log"));
        let status = Command::new("cc")
            .args(["-O2", "-Wall", "-fPIC", "-shared", "-o"])
            .arg(&library)
            .arg(root().join("qemu/bench/count.c"))
            .status()
            .expect("the C compiler is started");
        assert!(status.success(), "qemu/bench/count.c does not compile");
        Self { library, output }
    }

    /// QEMU's arguments for it.
    pub fn arguments(&self) -> [String; 2] {
        let (mark, image) = application();
        let (library, output) = (self.library.display(), self.output.display());
        ["-plugin".into(), format!("{library},out={output},mark={mark},image={image}")]
    }

    fn events(&self) -> Vec<Event> {
        let text = fs::read_to_string(&self.output).expect("the counts are read");
        text.lines().map(|line| Event::parse(line).expect("a line of the plugin")).collect()
    }

    /// The rows of a machine that is not Charter, and has ended.
    pub fn rows(&self) -> Vec<Counts> {
        self.events().iter().filter(|event| event.is("count", "row")).map(Counts::new).collect()
    }

    /// What was counted. The machine has ended.
    pub fn counted(&self) -> Counted {
        let events = self.events();
        let all = |name: &'static str| events.iter().filter(move |event| event.is("count", name));
        let number = |event: &Event, key| event.number(key).expect("a count is a number");
        Counted {
            rows: all("row").map(Counts::new).collect(),
            longest_entry: all("entry").map(|entry| number(entry, "longest")).max().expect("the longest entry"),
            boot: all("boot").next().map(|boot| Boot {
                own: number(boot, "application") + number(boot, "kernel") + number(boot, "user"),
                firmware: number(boot, "firmware"),
                calibration: number(boot, "calibration"),
            }),
            profiles: profiles(all("block"), all("row").count()),
            interrupts: all("interrupt")
                .map(|row| Interrupt { vector: number(row, "vector"), most: number(row, "most") })
                .collect(),
        }
    }
}

/// The stretches of each of these rows.
fn profiles<'e>(blocks: impl Iterator<Item = &'e Event>, rows: usize) -> Vec<Vec<Stretch>> {
    let mut profiles: Vec<Vec<Stretch>> = (0..rows).map(|_| Vec::new()).collect();
    for block in blocks {
        let number = |key| block.number(key).expect("a count is a number");
        let code = block.get("code").expect("a stretch has its code").as_bytes();
        let byte =
            |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).expect("digits"), 16).expect("digits");
        profiles[number("row") as usize - 1].push(Stretch {
            address: number("address"),
            instructions: number("instructions"),
            times: number("times"),
            code: code.chunks_exact(2).map(byte).collect(),
        });
    }
    profiles
}

/// Where the UEFI application's mark lies in its image in memory, and how large that is (PE format, "Optional Header" and
/// "Section Table").
fn application() -> (u32, u32) {
    const MARK: [u8; 8] = [0x0f, 0x1f, 0x84, 0x00, 0x01, 0x00, 0x4b, 0x4d];
    const SECTION_BYTES: usize = 40;
    let file =
        fs::read(bare_directory().join("x86_64-unknown-uefi/release/boot.efi")).expect("the application is read");
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(file[at..at + 2].try_into().expect("two bytes")));
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let header = u32_at(0x3c) as usize;
    let optional = header + 24;
    let sections = optional + u16_at(header + 20);
    let mark = file.windows(MARK.len()).position(|bytes| bytes == MARK).expect("the application has its mark") as u32;
    let address = (0..u16_at(header + 6))
        .map(|index| sections + index * SECTION_BYTES)
        .map(|section| (u32_at(section + 12), u32_at(section + 16), u32_at(section + 20)))
        .find(|(_, bytes, start)| (*start..start + bytes).contains(&mark))
        .map(|(address, _, start)| address + mark - start);
    (address.expect("the mark is in a section"), u32_at(optional + 56))
}
