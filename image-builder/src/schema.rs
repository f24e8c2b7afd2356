//! The form of a charter as a JSON Schema (draft 7, which editors read), so that they complete keys and explain them.
//!
//! It knows what a value looks like and which keys there are; what must hold between the parts is for
//! [`mod@crate::check`]. Tests hold its keys against those that [`crate::manifest`] reads and that `docs/charter.md`
//! explains.

pub mod reference;

use abi::package::{Command, InspectTopic, PowerAction, RemappingPolicy};
use abi::supervision::{GiveUp, RESTARTS_MAX};
use serde_json::{Map, Value, json};

use crate::charter::RestartPolicy;
use crate::charter::values::Broker;

const NAME: &str = "^[a-z0-9-]{1,28}$";
const SIZE: &str = "^(0|[0-9]+ *(B|KiB|MiB|GiB))$";
const PCI_ADDRESS: &str = "^([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[01][0-9a-fA-F]\\.[0-7]$";
const PROGRAM: &str = "^[a-z0-9_-]{1,64}$";
const CLASS: &str = "^(nvme|[0-9a-fA-F]{2}/[0-9a-fA-F]{2}/[0-9a-fA-F]{2})$";
const GUID: &str = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";
const DURATION: &str = "^[0-9]+ *(ms|s|min)$";
const IDENTIFIER_MAX: u64 = 0xfffe;
const NAMESPACE_MAX: u64 = 0xffff_fffe;

fn text(pattern: &str, about: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "description": about })
}

fn number(least: u64, most: u64, about: &str) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most, "description": about })
}

/// With the value that holds where the charter says none.
fn unless(default: Value, mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("default".into(), default);
    }
    schema
}

fn system() -> Value {
    let about = "the system's own version, carried in the image: a lower one than what runs is a downgrade; 0 is none";
    let version = unless(json!(0), number(0, i32::MAX as u64, about));
    let name = text(NAME, "the system's name, in the first line of its log; without `[system]` it is `charter`");
    table("The whole system", &["name"], [("name", name), ("version", version)])
}

fn access(about: &str) -> Value {
    json!({ "enum": ["read-only", "read-write"], "default": "read-only", "description": about })
}

/// A number without a known end; TOML's own are below 2^63.
fn count(least: u64, about: &str) -> Value {
    json!({ "type": "integer", "minimum": least, "description": about })
}

/// A table with these keys and no others.
fn table<const N: usize>(about: &str, required: &[&str], properties: [(&str, Value); N]) -> Value {
    let properties: Map<String, Value> = properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    json!({
        "type": "object",
        "description": about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// A table whose keys are names.
fn named(about: &str, most: usize, of: Value) -> Value {
    json!({
        "type": "object",
        "description": about,
        "propertyNames": { "pattern": NAME },
        "maxProperties": most,
        "additionalProperties": of,
    })
}

/// The schema of a whole charter.
pub fn schema() -> Value {
    let mut schema = table(
        "A charter: every task of a system, and everything it may touch",
        &["version", "tasks"],
        [
            ("version", json!({ "const": crate::manifest::VERSION, "description": "Version of the charter's form" })),
            ("system", system()),
            ("budgets", budgets()),
            ("devices", named("PCI functions that may be granted", abi::package::DEVICES_MAX, device())),
            ("regions", named("DMA memory", abi::package::REGIONS_MAX, region())),
            ("tasks", named("Tasks", abi::package::TASKS_MAX, task())),
        ],
    );
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
        root.insert("title".into(), "Charter".into());
    }
    schema
}

fn budgets() -> Value {
    let tasks = named("program and stack of a task, by its name", abi::package::TASKS_MAX, text(SIZE, "at most"));
    table(
        "How many bytes things may take",
        &[],
        [
            ("memory", text(SIZE, "programs, stacks and DMA regions together")),
            ("image", text(SIZE, "the EFI file")),
            ("tasks", tasks),
        ],
    )
}

fn device() -> Value {
    let mut device = table(
        "A PCI function: every key of class, vendor, device and pci that is given must match",
        &["broker"],
        [
            (
                "class",
                text(
                    CLASS,
                    "class, subclass and programming interface; `\"nvme\"` is `\"01/08/02\"`; any, if left out",
                ),
            ),
            ("vendor", number(0, IDENTIFIER_MAX, "PCI vendor identifier; any, if left out")),
            ("device", number(0, IDENTIFIER_MAX, "PCI device identifier; any, if left out")),
            ("pci", text(PCI_ADDRESS, "where the function is; anywhere, if left out")),
            (
                "broker",
                json!({ "enum": Broker::NAMES, "description": "the trusted half of the driver, which checks every command that the device sees; `\"none\"` needs `remapping = \"require\"`" }),
            ),
            (
                "remapping",
                json!({
                    "enum": RemappingPolicy::ALL.iter().map(|policy| policy.name()).collect::<Vec<_>>(),
                    "description": "whether an IOMMU is to be between it and memory: used where it holds if left out",
                }),
            ),
        ],
    );
    if let Some(device) = device.as_object_mut() {
        let one = ["class", "vendor", "pci"].map(|key| json!({ "required": [key] }));
        device.insert("anyOf".into(), Value::from(one.to_vec()));
    }
    device
}

fn region() -> Value {
    table(
        "Memory that a device can be told to read or write",
        &["device", "size"],
        [("device", text(NAME, "whose memory it is: name of a device")), ("size", text(SIZE, "4 KiB to 1 GiB"))],
    )
}

const STACK: &str = "4 KiB to 1 MiB; unmapped memory lies below it, so an overflow stops the task; at least a quarter more \
     than its program was seen to use, if the program says (`stack-seen` in `image-builder sizes`)";

fn task() -> Value {
    let settings = json!({
        "type": "object",
        "description": "text that the program finds at its start, by key; keys have 1 to 28 characters of `a-z`, `0-9`, `-`, `_`; no control characters",
        "default": {},
        "propertyNames": { "pattern": "^[a-z0-9_-]{1,28}$" },
        "maxProperties": abi::start::SETTINGS_MAX,
        "additionalProperties": { "type": "string" },
    });
    let about = "what it may use, by the names that its program asks for, see below";
    let grants = unless(json!({}), named(about, abi::start::GRANTS_MAX, grant()));
    table(
        "A task: one program in an address space of its own",
        &["program", "priority"],
        [
            ("program", text(PROGRAM, "the program that it runs; several tasks may run one")),
            ("priority", number(0, abi::package::PRIORITY_MAX.into(), "higher runs first; equal ones take turns")),
            ("stack", json!({ "type": "string", "pattern": SIZE, "default": "64 KiB", "description": STACK })),
            (
                "required",
                json!({ "type": "boolean", "default": true, "description": "whether `charter: boot complete` waits until this task says that it has started" }),
            ),
            ("settings", settings),
            ("grants", grants),
        ],
    )
}

fn supervise() -> Value {
    let policy = RestartPolicy::DEFAULT;
    let most = "most restarts within the time, 0 for never";
    let give_up = json!({ "enum": GiveUp::ALL.iter().map(|give_up| give_up.name()).collect::<Vec<_>>(),
        "description": "what happens when the limit is reached" });
    let back_off = "how long the second restart within the time waits; each further one twice as long";
    table(
        "Watches over a task and restarts it",
        &["supervise"],
        [
            ("supervise", text(NAME, "which task")),
            ("limit", unless(json!(policy.limit), number(0, RESTARTS_MAX.into(), most))),
            ("within", unless(json!(policy.within.to_string()), text(DURATION, "the time"))),
            ("back_off", unless(json!(policy.back_off.to_string()), text(DURATION, back_off))),
            ("give_up", unless(json!(policy.give_up.name()), give_up)),
            (
                "heartbeat",
                text(DURATION, "stopped if it does not say for so long that it is alive; never, if left out"),
            ),
        ],
    )
}

/// A grant: one of its kinds.
fn grant() -> Value {
    json!({ "oneOf": kinds().into_iter().map(|(_, kind)| kind).collect::<Vec<_>>() })
}

/// Every kind of grant: the key that names it, and its table.
pub fn kinds() -> Vec<(&'static str, Value)> {
    let names: Vec<_> = Command::ALL.iter().map(|command| command.name()).collect();
    let opcodes = json!({ "type": "array", "items": { "enum": names }, "minItems": 1, "uniqueItems": true,
        "description": "which commands on blocks, of those that the access allows; every one, if left out" });
    let limit = table(
        "What the device may be used for",
        &[],
        [
            ("namespace", number(1, NAMESPACE_MAX, "which namespace; every one, if left out")),
            ("first_block", unless(json!(0), count(0, "first logical block"))),
            ("blocks", count(1, "how many blocks; up to the end, if left out")),
            ("access", access("in which direction")),
            ("opcodes", opcodes),
        ],
    );
    let most = abi::package::LIMITS_MAX;
    let limits = json!({ "type": "array", "items": limit, "minItems": 1, "maxItems": most,
        "description": "what the device may be used for, whatever the driver asks; all of it, read-only, if left out" });
    vec![
        (
            "call",
            table(
                "Is a client; at a block server also of a disk",
                &["call"],
                [
                    ("call", text(NAME, "which endpoint")),
                    (
                        "namespace",
                        number(
                            1,
                            NAMESPACE_MAX,
                            "which namespace of the controller; a disk is selected by this, `lun` or `disk`",
                        ),
                    ),
                    ("lun", number(0, 63, "Azure's data disk with this LUN: namespace LUN + 2")),
                    ("disk", json!({ "const": "os", "description": "Azure's system disk: namespace 1" })),
                    (
                        "partition",
                        json!({ "type": "string", "minLength": 1, "maxLength": 36,
                        "description": "its partition of this name; all of the namespace, if left out" }),
                    ),
                    ("partition_type", text(GUID, "its partition of this type")),
                    ("partition_guid", text(GUID, "its partition with this unique GUID")),
                    ("first_block", unless(json!(0), count(0, "the client's block 0"))),
                    ("blocks", count(1, "how many blocks; up to the end, if left out")),
                    ("access", access("in which direction")),
                    (
                        "window",
                        text(
                            NAME,
                            "which window grant of this task data passes through; a slot of the server's window, if left out",
                        ),
                    ),
                    (
                        "queue_share",
                        unless(
                            json!(protocol::block::SHARE_DEFAULT),
                            number(
                                1,
                                protocol::block::SHARE_MAX.into(),
                                "most requests at the server at a time; all clients of one have 128",
                            ),
                        ),
                    ),
                    (
                        "shutdown",
                        json!({ "type": "boolean", "default": false,
                        "description": "whether it may shut all storage down, before power goes; needs no disk" }),
                    ),
                ],
            ),
        ),
        ("receive", table("Is a server", &["receive"], [("receive", text(NAME, "the endpoint that this makes"))])),
        ("signal", table("Wakes a task", &["signal"], [("signal", text(NAME, "which task"))])),
        (
            "registers",
            table(
                "Drives a device",
                &["registers"],
                [
                    ("registers", text(NAME, "which device")),
                    ("bar", unless(json!(0), number(0, 5, "the base address register that holds them"))),
                    ("limits", limits),
                ],
            ),
        ),
        (
            "interrupt",
            table(
                "Is told of an interrupt",
                &["interrupt", "vector"],
                [
                    ("interrupt", text(NAME, "of which device")),
                    ("vector", number(0, 2047, "which entry of its MSI-X table")),
                ],
            ),
        ),
        (
            "information",
            table("Asks what a device is", &["information"], [("information", text(NAME, "which device"))]),
        ),
        ("dma", table("Owns a DMA region", &["dma"], [("dma", text(NAME, "which region"))])),
        (
            "window",
            table(
                "Uses a part of another task's region",
                &["window", "size"],
                [
                    ("window", text(NAME, "which region")),
                    ("offset", unless(json!("0"), text(SIZE, "where it begins in the region"))),
                    ("size", text(SIZE, "how much of it")),
                    ("access", access("what the task may do; the device is limited by its commands alone")),
                ],
            ),
        ),
        ("log", table("Writes to the log", &["log"], [("log", text(NAME, "under which component name"))])),
        (
            "evidence",
            table(
                "Reads what the machine tells of itself",
                &["evidence"],
                [("evidence", json!({ "const": "firmware", "description": "who tells it" }))],
            ),
        ),
        (
            "console",
            table(
                "Reads what is typed on the serial port and writes text there",
                &["console"],
                [("console", json!({ "const": "serial", "description": "which console" }))],
            ),
        ),
        (
            "inspect",
            table(
                "Asks the kernel about the system",
                &["inspect"],
                [(
                    "inspect",
                    json!({ "enum": InspectTopic::ALL.iter().map(|topic| topic.name()).collect::<Vec<_>>(),
                    "description": "about what" }),
                )],
            ),
        ),
        (
            "power",
            table(
                "Switches the machine off or resets it",
                &["power"],
                [(
                    "power",
                    json!({ "enum": PowerAction::ALL.iter().map(|action| action.name()).collect::<Vec<_>>(),
                    "description": "which of the two" }),
                )],
            ),
        ),
        ("supervise", supervise()),
        ("kill", table("Stops a task", &["kill"], [("kill", text(NAME, "which task"))])),
    ]
}
