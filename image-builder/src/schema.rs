//! The form of a charter as a JSON Schema (draft 7, which editors read), so that they complete keys and explain them.
//!
//! It knows what a value looks like and which keys there are; what must hold between the parts is for
//! [`mod@crate::check`]. Tests hold its keys against those that [`crate::manifest`] reads and that `docs/charter.md`
//! explains.

use abi::package::{InspectTopic, PowerAction};
use serde_json::{Map, Value, json};

use crate::charter::values::Broker;

const NAME: &str = "^[a-z0-9-]{1,28}$";
const SIZE: &str = "^(0|[0-9]+ *(B|KiB|MiB|GiB))$";
const PCI_ADDRESS: &str = "^([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[01][0-9a-fA-F]\\.[0-7]$";
const CLASS: &str = "^(nvme|[0-9a-fA-F]{2}/[0-9a-fA-F]{2}/[0-9a-fA-F]{2})$";
const GUID: &str = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";
const IDENTIFIER_MAX: u64 = 0xfffe;
const NAMESPACE_MAX: u64 = 0xffff_fffe;

fn text(pattern: &str, about: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "description": about })
}

fn number(least: u64, most: u64, about: &str) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most, "description": about })
}

fn system() -> Value {
    let version = number(0, i32::MAX as u64, "The system's own version; a later one is larger, 0 is none");
    let name = text(NAME, "The system's name, in its log");
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
    let tasks = named("Program and stack of a task, by its name", abi::package::TASKS_MAX, text(SIZE, "At most"));
    table(
        "How many bytes things may take",
        &[],
        [
            ("memory", text(SIZE, "Programs, stacks and DMA regions together")),
            ("image", text(SIZE, "The EFI file")),
            ("tasks", tasks),
        ],
    )
}

fn device() -> Value {
    let mut device = table(
        "A PCI function: every key of class, vendor, device and pci that is given must match",
        &["broker"],
        [
            ("class", text(CLASS, "Class, subclass and programming interface, or \"nvme\"")),
            ("vendor", number(0, IDENTIFIER_MAX, "PCI vendor identifier")),
            ("device", number(0, IDENTIFIER_MAX, "PCI device identifier")),
            ("pci", text(PCI_ADDRESS, "Where the function is, as in 0000:00:04.0")),
            (
                "broker",
                json!({ "enum": Broker::NAMES, "description": "The trusted half of the driver, which checks every command" }),
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
        [("device", text(NAME, "Whose memory it is")), ("size", text(SIZE, "4 KiB to 1 GiB, in pages of 4 KiB"))],
    )
}

fn task() -> Value {
    let settings = json!({
        "type": "object",
        "description": "Text that the program finds at its start, by key",
        "propertyNames": { "pattern": "^[a-z0-9_-]{1,28}$" },
        "maxProperties": abi::start::SETTINGS_MAX,
        "additionalProperties": { "type": "string" },
    });
    let grants =
        named("What the task may use, by the names that its program asks for", abi::start::GRANTS_MAX, grant());
    table(
        "A task: one program in an address space of its own",
        &["program", "priority"],
        [
            ("program", text("^[a-z0-9_-]{1,64}$", "File name of the program that it runs")),
            ("priority", number(0, abi::package::PRIORITY_MAX.into(), "Higher runs first; equal ones take turns")),
            (
                "stack",
                json!({ "type": "string", "pattern": SIZE, "default": "64 KiB", "description": "4 KiB to 1 MiB" }),
            ),
            (
                "required",
                json!({ "type": "boolean", "default": true, "description": "Whether `boot complete` waits for it" }),
            ),
            ("settings", settings),
            ("grants", grants),
        ],
    )
}

/// A grant: one of its kinds.
fn grant() -> Value {
    json!({ "oneOf": kinds().into_iter().map(|(_, kind)| kind).collect::<Vec<_>>() })
}

/// Every kind of grant: the key that names it, and its table.
pub fn kinds() -> Vec<(&'static str, Value)> {
    let limit = table(
        "What the device may be used for",
        &[],
        [
            ("namespace", number(1, NAMESPACE_MAX, "Which namespace; every one, if left out")),
            ("first_block", count(0, "First logical block")),
            ("blocks", count(1, "How many; up to the end, if left out")),
            ("access", access("In which direction")),
        ],
    );
    let most = abi::package::LIMITS_MAX;
    let limits = json!({ "type": "array", "items": limit, "minItems": 1, "maxItems": most,
        "description": "What the device may be used for, whatever the driver asks" });
    vec![
        (
            "call",
            table(
                "Is a client; at a block server also of a disk",
                &["call"],
                [
                    ("call", text(NAME, "Which endpoint")),
                    ("namespace", number(1, NAMESPACE_MAX, "Which namespace of the controller")),
                    ("lun", number(0, 63, "Which of Azure's data disks: namespace LUN + 2")),
                    ("disk", json!({ "const": "os", "description": "Azure's system disk: namespace 1" })),
                    (
                        "partition",
                        json!({ "type": "string", "minLength": 1, "maxLength": 36,
                        "description": "The partition of this name" }),
                    ),
                    ("partition_type", text(GUID, "The partition of this type")),
                    ("partition_guid", text(GUID, "The partition with this unique GUID")),
                    ("first_block", count(0, "The client's block 0")),
                    ("blocks", count(1, "How many; up to the end, if left out")),
                    ("access", access("In which direction")),
                    ("window", text(NAME, "The window grant of this task that data passes through")),
                    ("queue_share", number(1, protocol::block::SHARE_MAX.into(), "Most requests at a time")),
                    (
                        "shutdown",
                        json!({ "type": "boolean", "default": false,
                        "description": "Whether it may shut all storage down" }),
                    ),
                ],
            ),
        ),
        ("receive", table("Is a server", &["receive"], [("receive", text(NAME, "The endpoint that this makes"))])),
        ("signal", table("Wakes a task", &["signal"], [("signal", text(NAME, "Which task"))])),
        (
            "registers",
            table(
                "Drives a device",
                &["registers"],
                [
                    ("registers", text(NAME, "Which device")),
                    ("bar", number(0, 5, "Which base address register")),
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
                    ("interrupt", text(NAME, "Of which device")),
                    ("vector", number(0, 2047, "Which entry of its MSI-X table")),
                ],
            ),
        ),
        (
            "information",
            table("Asks what a device is", &["information"], [("information", text(NAME, "Which device"))]),
        ),
        ("dma", table("Owns a DMA region", &["dma"], [("dma", text(NAME, "Which region"))])),
        (
            "window",
            table(
                "Uses a part of another task's region",
                &["window", "size"],
                [
                    ("window", text(NAME, "Which region")),
                    ("offset", text(SIZE, "Where it begins in the region")),
                    ("size", text(SIZE, "Its size")),
                    ("access", access("What the task may do")),
                ],
            ),
        ),
        ("log", table("Writes to the log", &["log"], [("log", text(NAME, "Under which component name"))])),
        (
            "evidence",
            table(
                "Reads what the machine tells of itself",
                &["evidence"],
                [("evidence", json!({ "const": "firmware", "description": "Who tells it" }))],
            ),
        ),
        (
            "console",
            table(
                "Reads what is typed on the serial port and writes text there",
                &["console"],
                [("console", json!({ "const": "serial", "description": "Which console" }))],
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
                    "description": "About what" }),
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
                    "description": "Which of the two" }),
                )],
            ),
        ),
    ]
}
