//! A driver of a DMA engine without a broker (QEMU's `edu`) that has it reach for memory that is not its own, and send
//! interrupts that are not its own. Nobody reads what it tells the engine; what came of it is seen from outside. Each attempt
//! has a line `attempt name=… access=… address=…`, a read one also `leaked=…`: bytes that are neither zero nor its own. Then
//! `attempts done`, and from then on the engine interrupts, if it was told how, five times a second: `interrupt raised`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

mod engine;

use core::time::Duration;

use hostile::driver::{self, pause_for};
use hostile::pattern;
use task::{Dma, Environment, Log, Started, Stop};
use trials::insist;

use engine::{BUFFER_BYTES, Engine};

task::needs! {
    registers: registers,
    log: log,
    data: dma,
}
task::main!(run);

/// What the region's first page is filled with.
const SALT: u64 = 0xed_0ed0;
const PAGE: u64 = 4096;
/// Where in the region what was read is put.
const READ: u64 = PAGE;
/// Where messages are made.
const MESSAGES: u64 = 2 * PAGE;
/// Interrupt messages are writes to here (Intel SDM 3A, 11.11.1): bits 19 to 12 are the processor, bit 4 says that the rest
/// names an entry of the IOMMU's table (VT-d specification 5.1.2.2).
const INTERRUPTS: u64 = 0xfee0_0000;
const REMAPPABLE: u64 = 1 << 4;
const ENTRY_SHIFT: u32 = 5;
/// Entries of the table that others have, and one that nobody has.
const ENTRIES: [u64; 5] = [0, 1, 2, 3, 200];
/// Between two interrupts at the end.
const INTERVAL: Duration = Duration::from_millis(200);

struct Hostile {
    log: Log,
    engine: Engine,
    data: Dma,
    /// Where the engine finds the region.
    region: u64,
    /// Where it finds the other memory of its own, and its bytes.
    rings: u64,
    ring_bytes: u64,
}

fn run(environment: Environment) -> Result<(), Stop> {
    let Grants { registers, log, data } = Grants::find(&environment)?;
    pattern::fill(&data.window, SALT, 0, BUFFER_BYTES)?;
    task::ready(Started::Well);
    let direct = driver::direct(&registers)?;
    match registers.read_u32(0) {
        Err(error) => insist(log, format_args!("brokered call answer=\"{error}\"")),
        Ok(_) => insist(log, format_args!("brokered call answer=ok")),
    }
    let region = direct.regions.get(usize::from(data.region)).copied().unwrap_or_default();
    let (rings, ring_bytes) = (direct.rings_at, direct.rings.bytes());
    let engine = Engine::new(direct).ok_or_else(|| Stop::new(format_args!("it is no edu device")))?;
    insist(log, format_args!("engine ready register_bytes={} ring_bytes={ring_bytes}", engine.register_bytes()));
    let mut hostile = Hostile { log, engine, data, region, rings, ring_bytes };
    hostile.own_memory("before")?;
    hostile.memory()?;
    hostile.own_memory("after-memory")?;
    hostile.vectors()?;
    hostile.entries()?;
    hostile.every_message()?;
    hostile.own_memory("after-messages")?;
    insist(log, format_args!("attempts done"));
    loop {
        pause_for(INTERVAL);
        hostile.engine.interrupt();
        insist(log, format_args!("interrupt raised"));
    }
}

impl Hostile {
    /// Has the engine's buffer hold the pattern.
    fn load(&mut self) -> Result<(), Stop> {
        self.engine.read(self.region, BUFFER_BYTES)
    }

    /// Bytes of what the engine last read, of so many, that are neither zero nor what its buffer held before.
    fn leaked(&mut self, bytes: u64) -> Result<usize, Stop> {
        self.engine.write(0, self.region + READ, bytes)?;
        let mut leaked = 0;
        for at in 0..bytes {
            let (mut found, mut own) = ([0], [0]);
            self.data.window.copy_to(READ + at, &mut found)?;
            self.data.window.copy_to(at, &mut own)?;
            leaked += usize::from(found != [0] && found != own);
        }
        Ok(leaked)
    }

    /// What is its own, it reaches: else the rest would prove nothing.
    fn own_memory(&mut self, when: &str) -> Result<(), Stop> {
        self.data.window.copy_from(READ, &[0; 64])?;
        self.load()?;
        self.engine.write(0, self.region + READ, BUFFER_BYTES)?;
        let mut wrong = 0;
        for at in (0..BUFFER_BYTES).step_by(8) {
            wrong += u64::from(self.data.window.read_u64(READ + at)? != pattern::word(SALT, at));
        }
        insist(self.log, format_args!("own memory when={when} wrong={wrong}"));
        Ok(())
    }

    /// Memory before, behind and across the ends of what is its own, and where something else may be.
    fn memory(&mut self) -> Result<(), Stop> {
        let (start, end) = (self.region, self.region + self.data.window.bytes());
        for (name, address, bytes) in [
            ("before-region", start - PAGE, BUFFER_BYTES),
            ("behind-region", end, BUFFER_BYTES),
            ("across-region-end", end - 8, 16),
            ("before-rings", self.rings - 8, 8),
            ("behind-rings", self.rings + self.ring_bytes, 8),
            ("page-0", 0, BUFFER_BYTES),
            ("low-memory", 0x10_0000, BUFFER_BYTES),
            ("memory-32-mib", 32 << 20, BUFFER_BYTES),
            ("memory-128-mib", 128 << 20, BUFFER_BYTES),
            ("memory-240-mib", 240 << 20, BUFFER_BYTES),
            ("kernel-half", 0xffff_ffff_8000_0000, BUFFER_BYTES),
            ("beyond-the-domain", 1 << 47, BUFFER_BYTES),
        ] {
            self.engine.write(0, address, bytes)?;
            insist(self.log, format_args!("attempt name={name} access=write address={address:#x}"));
            self.engine.read(address, bytes)?;
            let leaked = self.leaked(bytes)?;
            insist(self.log, format_args!("attempt name={name} access=read address={address:#x} leaked={leaked}"));
            self.load()?;
        }
        Ok(())
    }

    /// Has the engine's buffer hold these words, as many as fit.
    fn load_words(&mut self, words: impl Iterator<Item = u32>) -> Result<(), Stop> {
        for (at, word) in (MESSAGES..).step_by(4).zip(words.take(BUFFER_BYTES as usize / 4)) {
            self.data.window.copy_from(at, &word.to_le_bytes())?;
        }
        self.engine.read(self.region + MESSAGES, BUFFER_BYTES)
    }

    /// The vectors of exceptions, one by one, as messages that no table is asked for.
    fn vectors(&mut self) -> Result<(), Stop> {
        self.load_words(0..256)?;
        for vector in 1..32_u64 {
            self.engine.write(vector * 4, INTERRUPTS, 4)?;
        }
        insist(self.log, format_args!("attempt name=exceptions access=interrupt address={INTERRUPTS:#x}"));
        Ok(())
    }

    /// Entries of the table that are not its own.
    fn entries(&mut self) -> Result<(), Stop> {
        for entry in ENTRIES {
            let address = INTERRUPTS | REMAPPABLE | entry << ENTRY_SHIFT;
            self.engine.write(0, address, 4)?;
            insist(self.log, format_args!("attempt name=entry access=interrupt address={address:#x}"));
        }
        Ok(())
    }

    /// Every vector at once, and 128 entries of the table: a page of messages. Of each eight words two are messages of
    /// vectors to the first processor, by bits 4 and 2 of their addresses.
    fn every_message(&mut self) -> Result<(), Stop> {
        let words = (0..BUFFER_BYTES as u32 / 4).map(|word| match word % 8 {
            0 => word / 4,
            2 => word / 4 + 1,
            _ => 0,
        });
        self.load_words(words)?;
        self.engine.write(0, INTERRUPTS, BUFFER_BYTES)?;
        insist(self.log, format_args!("attempt name=every-message access=interrupt address={INTERRUPTS:#x}"));
        Ok(())
    }
}
