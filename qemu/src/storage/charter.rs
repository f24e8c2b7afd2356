//! Charters in which `blockcheck` works on disks, made from the same plans by which its disks are judged.

use std::fmt::Write;

use blockcheck::plan::{Action, Plan, Step};

/// A controller with its own driver and block server.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Ends the names of its tasks: `nvme` and `block`, and this.
    pub suffix: &'static str,
    /// Where it is plugged in; otherwise it is the first one.
    pub pci: Option<&'static str>,
    /// How long its driver waits for a command.
    pub timeout_seconds: u32,
    /// How long its block server leaves a request to the driver before it stops it; it may not, if there is none.
    pub request_seconds: Option<u32>,
    /// Who uses it. The controller may be told to write their blocks and nothing else.
    pub checks: Vec<Check>,
}

/// A blockcheck that works on a part of a namespace.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its task's name, and the component of its log lines.
    pub name: &'static str,
    /// Which namespace.
    pub namespace: u32,
    /// Its first block there; the plan says how many follow.
    pub first_block: u64,
    /// What it does.
    pub plan: Plan,
    /// How many operations at a time.
    pub depth: u32,
    /// How many operations altogether; 0 is without end.
    pub requests: u32,
}

/// Most bytes of a block in these charters.
const BLOCK_BYTES: u64 = 4096;

impl Check {
    /// Room for its data, in bytes.
    fn window(&self) -> u64 {
        u64::from(self.depth) * u64::from(self.plan.blocks_max) * BLOCK_BYTES
    }

    /// How many operations end in a whole run: those of the plan, a flush, and reading everything back.
    pub fn ended(&self) -> u64 {
        u64::from(self.requests) + 1 + self.plan.blocks.div_ceil(self.plan.blocks_max.into())
    }

    /// The operations of its plan of this kind that touch a block of its disk.
    pub fn touching(&self, block: u64, wanted: impl Fn(Action) -> bool) -> impl Iterator<Item = Step> {
        let steps = (1..=self.requests).map(|generation| self.plan.step(generation));
        steps.filter(move |step| wanted(step.action) && step.covers(block))
    }
}

/// The charter of a system with these controllers.
pub fn charter(stacks: &[Stack]) -> String {
    let mut text = String::from("version = 1\n\n[system]\nname = \"storage\"\n");
    stacks.iter().for_each(|stack| add(&mut text, stack).expect("text takes text"));
    text
}

fn add(text: &mut String, stack: &Stack) -> std::fmt::Result {
    let Stack { suffix, pci, timeout_seconds, request_seconds, checks } = stack;
    let (setting, stop) = match request_seconds {
        None => (String::new(), String::new()),
        Some(seconds) => (
            format!("settings = {{ request_seconds = \"{seconds}\" }}\n"),
            format!("stop = {{ kill = \"nvme{suffix}\" }}\n"),
        ),
    };
    let pci = pci.map(|pci| format!("pci = \"{pci}\"\n")).unwrap_or_default();
    let kibibytes = checks.iter().map(Check::window).sum::<u64>() / 1024;
    let limit = |Check { namespace, first_block, plan, .. }: &Check| {
        let blocks = plan.blocks;
        format!(
            "{{ namespace = {namespace}, first_block = {first_block}, blocks = {blocks}, access = \"read-write\" }}"
        )
    };
    let limits = checks.iter().map(limit).collect::<Vec<_>>().join(", ");
    write!(
        text,
        r#"
[devices.disk{suffix}]
class = "nvme"
broker = "nvme"
{pci}
[regions.data{suffix}]
device = "disk{suffix}"
size = "{kibibytes} KiB"

[tasks.nvme{suffix}]
program = "nvme"
priority = 30
stack = "96 KiB"
settings = {{ timeout_seconds = "{timeout_seconds}" }}
[tasks.nvme{suffix}.grants]
registers = {{ registers = "disk{suffix}", bar = 0, limits = [{limits}] }}
completion = {{ interrupt = "disk{suffix}", vector = 1 }}
completion2 = {{ interrupt = "disk{suffix}", vector = 2 }}
admin = {{ interrupt = "disk{suffix}", vector = 0 }}
data = {{ dma = "data{suffix}" }}
requests = {{ receive = "nvme{suffix}" }}
client = {{ signal = "block{suffix}" }}
log = {{ log = "nvme{suffix}" }}

[tasks.block{suffix}]
program = "block"
priority = 20
stack = "96 KiB"
{setting}[tasks.block{suffix}.grants]
{stop}driver = {{ call = "nvme{suffix}" }}
requests = {{ receive = "block{suffix}" }}
log = {{ log = "block{suffix}" }}
"#
    )?;
    let mut offset = 0;
    for check in checks {
        let Check { name, namespace, first_block, plan, depth, requests } = check;
        let Plan { seed, blocks, blocks_max, flush_every, mix } = plan;
        write!(
            text,
            r#"
[tasks.{name}]
program = "blockcheck"
priority = 5
[tasks.{name}.settings]
seed = "{seed}"
requests = "{requests}"
blocks = "{blocks}"
blocks_max = "{blocks_max}"
depth = "{depth}"
flush_every = "{flush_every}"
write = "{}"
durable = "{}"
discard = "{}"
zeroes = "{}"
[tasks.{name}.grants]
disk = {{ call = "block{suffix}", namespace = {namespace}, first_block = {first_block}, blocks = {blocks}, access = "read-write", window = "data" }}
data = {{ window = "data{suffix}", offset = "{} KiB", size = "{} KiB", access = "read-write" }}
log = {{ log = "{name}" }}
"#,
            mix.write,
            mix.durable,
            mix.discard,
            mix.zeroes,
            offset / 1024,
            check.window() / 1024
        )?;
        offset += check.window();
    }
    Ok(())
}
