//! Counts from outside the machine, by the plugin `qemu/bench/count.c`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use qemu::harness::root;
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
    /// Interrupts that struck a task and after which another one ran.
    pub interrupts: Vec<Interrupt>,
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
        ["-plugin".into(), format!("{},out={}", self.library.display(), self.output.display())]
    }

    /// What was counted. The machine has ended.
    pub fn counted(&self) -> Counted {
        let text = fs::read_to_string(&self.output).expect("the counts are read");
        let events: Vec<_> = text.lines().map(|line| Event::parse(line).expect("a line of the plugin")).collect();
        let all = |name: &'static str| events.iter().filter(move |event| event.is("count", name));
        let number = |event: &Event, key| event.number(key).expect("a count is a number");
        Counted {
            rows: all("row")
                .map(|row| Counts {
                    user: number(row, "user"),
                    kernel: number(row, "kernel"),
                    system_calls: number(row, "system_calls"),
                    interrupts: number(row, "interrupts"),
                    mmio_writes: number(row, "mmio_writes"),
                })
                .collect(),
            longest_entry: all("entry").map(|entry| number(entry, "longest")).max().expect("the longest entry"),
            interrupts: all("interrupt")
                .map(|row| Interrupt { vector: number(row, "vector"), most: number(row, "most") })
                .collect(),
        }
    }
}
