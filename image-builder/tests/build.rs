//! From the workspace's charter to an image that other tools accept.

mod common;

use std::path::Path;
use std::process::Command;

use abi::handoff::PACKAGE_SECTION;
use abi::package::{Capability, InspectTopic, Package, PowerAction};
use abi::start::{Granted, StartInfo};
use image_builder::packed::unpack;
use image_builder::{Build, BuildError, Manifest, build};
use protocol::block::{ClientGrant, DiskGrant, Extent, Place, SHARE_DEFAULT};

fn build_example(folder: &Path) -> Build {
    let inputs = common::write_inputs(folder);
    build(Manifest { name: "system.toml", text: &common::example() }, &inputs).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_package_says_what_the_charter_says() {
    let folder = tempfile::tempdir().unwrap();
    let build = build_example(folder.path());
    assert!(build.warnings.problems().is_empty(), "{}", build.warnings);
    let package = Package::open(&build.package).unwrap();
    assert_eq!(package.contents().name, "charter");
    let tasks: Vec<_> = package.tasks().collect();
    let names: Vec<_> = tasks.iter().map(|task| task.name).collect();
    assert_eq!(names, ["nvme", "block", "classify", "reader", "console", "supervisor"]);

    let device = package.devices().next().unwrap();
    assert_eq!(device.selector.class, Some((1, 8, 2)));
    assert_eq!((&device.vectors[..], &device.regions[..]), (&[0, 1][..], &[0][..]));
    assert!(!device.limits[0].writable && device.limits[0].blocks.is_none());

    let starts: Vec<StartInfo<'_>> = tasks.iter().map(|task| postcard::from_bytes(task.start_info).unwrap()).collect();
    // Every handle stands for the capability that its grant promises.
    let capability = |task: usize, name: &str| {
        let handle = match starts[task].grant(name).unwrap() {
            Granted::Call { handle, .. }
            | Granted::Receive { handle }
            | Granted::Signal { handle, .. }
            | Granted::Registers { handle }
            | Granted::DeviceInformation { handle }
            | Granted::Console { handle, .. }
            | Granted::Inspect { handle }
            | Granted::Power { handle }
            | Granted::Log { handle } => *handle,
            other => panic!("{name} has no handle: {other:?}"),
        };
        tasks[task].capabilities[handle as usize - 1]
    };
    assert_eq!(capability(0, "registers"), Capability::Registers { device: 0 });
    assert_eq!(capability(0, "requests"), Capability::Receive { endpoint: 0 });
    assert_eq!(capability(0, "client"), Capability::Signal { task: 1, bits: 1 });
    assert_eq!(capability(1, "driver"), Capability::Call { endpoint: 0, badge: 1 });
    assert_eq!(capability(1, "requests"), Capability::Receive { endpoint: 1 });
    assert_eq!(capability(2, "driver"), Capability::Call { endpoint: 0, badge: 2 });
    assert_eq!(capability(2, "controller"), Capability::DeviceInformation { device: 0 });
    assert_eq!(capability(4, "console"), Capability::Console { bits: 1 });
    assert_eq!(capability(4, "history"), Capability::Inspect { topic: InspectTopic::Log });
    assert_eq!(capability(4, "off"), Capability::Power { action: PowerAction::Off });
    assert_eq!(starts[4].grant("console"), Some(&Granted::Console { handle: 1, bits: 1 }));
    // Driver and block server know each other's signal and calls.
    assert_eq!(starts[0].grant("client"), Some(&Granted::Signal { handle: handle_of(&starts[0], "client"), badge: 1 }));
    assert_eq!(starts[1].grant("driver").map(signal_bits), Some(1));
    assert_eq!(starts[2].grant("driver").map(signal_bits), Some(0), "nobody signals this client");
    assert_eq!(capability(3, "disk"), Capability::Call { endpoint: 1, badge: 1 });
    assert_eq!(capability(3, "log"), Capability::Log { name: 0 });
    assert_eq!(tasks[3].log_names[0], "block");

    // Interrupts: the task is told which bit, the kernel has the same one.
    let Some(Granted::Interrupt { vector: 1, bits }) = starts[0].grant("completion") else { panic!() };
    assert!(tasks[0].capabilities.contains(&Capability::Interrupt { device: 0, vector: 1, bits: *bits }));
    let Some(Granted::Interrupt { vector: 0, bits: others }) = starts[0].grant("admin") else { panic!() };
    assert_eq!(bits & others, 0);

    // Memory: the driver has the whole region, the reader its part.
    let whole = tasks[0].windows[0];
    assert_eq!((whole.offset, whole.bytes, whole.writable), (0, 4 << 20, true));
    assert_eq!(starts[0].grant("data"), Some(&Granted::Dma { region: 0, address: whole.address, bytes: 4 << 20 }));
    let part = tasks[3].windows[0];
    assert_eq!((part.offset, part.bytes, part.writable), (0, 2 << 20, true));
    assert_eq!(
        starts[3].grant("data"),
        Some(&Granted::Window { address: part.address, bytes: part.bytes, writable: true, offset: part.offset })
    );

    // The block server knows its client, and what it may do.
    let client = starts[1].clients[0];
    assert_eq!((client.badge, client.task), (1, "reader"));
    let grant: ClientGrant<'_> = postcard::from_bytes(client.parameters).unwrap();
    let disk = DiskGrant {
        nsid: 2,
        extent: Extent::Blocks { first_block: 0, blocks: None },
        writable: false,
        window: Some(Place { offset: 0, bytes: 2 << 20 }),
        share: SHARE_DEFAULT,
    };
    assert_eq!(grant, ClientGrant { disk: Some(disk), shutdown: false, signal: None });
    let clients: Vec<_> = starts[0].clients.iter().map(|client| (client.badge, client.task)).collect();
    assert_eq!(clients, [(1, "block"), (2, "classify")]);
    assert!(starts[0].clients.iter().all(|client| client.parameters.is_empty()));
    assert!(starts[3].setting("reads").is_some());
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (build_example(one.path()), build_example(other.path()));
    assert_eq!(one.efi, other.efi);
    assert_eq!(one.image, other.image);
    assert_eq!(one.image.len() % (1 << 20), 0);
}

#[test]
fn kernel_and_package_are_sections_of_the_efi_file() {
    let folder = tempfile::tempdir().unwrap();
    let build = build_example(folder.path());
    let at = build.efi.windows(8).position(|bytes| bytes == PACKAGE_SECTION.as_bytes()).unwrap();
    let word = |at: usize| u32::from_le_bytes(build.efi[at..at + 4].try_into().unwrap()) as usize;
    let (bytes, raw_bytes, raw) = (word(at + 8), word(at + 16), word(at + 20));
    assert_eq!((raw % 512, raw_bytes % 512, raw_bytes - bytes < 512), (0, 0, true));
    for section in [&build.efi[raw..raw + bytes], &build.efi[raw..raw + raw_bytes]] {
        assert_eq!(unpack(section, 1 << 20).unwrap(), build.package, "padding behind the package does no harm");
    }
}

/// Runs a tool; `None` where it is not installed.
fn tool(name: &str, arguments: &[&str]) -> Option<String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = match Command::new(name).args(arguments).env("PATH", path).env("MTOOLS_SKIP_CHECK", "0").output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("{name} is not installed: not checked");
            return None;
        }
        output => output.unwrap(),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {text}");
    Some(text)
}

#[test]
fn other_tools_accept_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let build = build_example(folder.path());
    let image = folder.path().join("charter.img");
    std::fs::write(&image, &build.image).unwrap();
    let image = image.to_str().unwrap();
    if let Some(text) = tool("sgdisk", &["-v", image]) {
        assert!(text.contains("No problems found"), "{text}");
    }
    if let Some(text) = tool("sgdisk", &["-i", "1", image]) {
        assert!(text.contains("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"), "{text}");
    }
    let partition = folder.path().join("partition");
    std::fs::write(&partition, &build.image[1 << 20..build.image.len() - (1 << 20)]).unwrap();
    let partition = partition.to_str().unwrap();
    if let Some(text) = tool("fsck.vfat", &["-n", "-v", partition]) {
        assert!(!text.contains("differences") && !text.contains("Dirty"), "{text}");
        assert!(text.contains("16 bit entries"), "{text}");
    }
    if let Some(text) = tool("mdir", &["-i", partition, "-/", "-b", "::/"]) {
        assert!(text.contains("::/EFI/BOOT/BOOTX64.EFI"), "{text}");
    }
    let copy = folder.path().join("copy.efi");
    if tool("mcopy", &["-i", partition, "::/EFI/BOOT/BOOTX64.EFI", copy.to_str().unwrap()]).is_some() {
        assert_eq!(std::fs::read(copy).unwrap(), build.efi);
    }
}

#[test]
fn other_tools_accept_the_vhd() {
    let folder = tempfile::tempdir().unwrap();
    let build = build_example(folder.path());
    let file = build.vhd().unwrap();
    assert_eq!(file.len(), 20_972_032, "the smallest upload that Azure takes");
    let path = folder.path().join("charter.vhd");
    std::fs::write(&path, &file).unwrap();
    // The format is named: a fixed VHD begins with the disk's own bytes, so there is nothing to guess it from.
    if let Some(text) = tool("qemu-img", &["info", "-f", "vpc", path.to_str().unwrap()]) {
        assert!(text.contains("file format: vpc") && text.contains("(20971520 bytes)"), "{text}");
    }
    // What QEMU sees of the disk is all of it, the second partition table at its end too.
    let raw = folder.path().join("charter.raw");
    let raw = raw.to_str().unwrap();
    if tool("qemu-img", &["convert", "-f", "vpc", "-O", "raw", path.to_str().unwrap(), raw]).is_some() {
        let seen = std::fs::read(raw).unwrap();
        assert_eq!(seen, image_builder::vhd::disk(&file).unwrap());
        assert_eq!(&seen[seen.len() - 512..][..8], b"EFI PART");
        if let Some(text) = tool("sgdisk", &["-v", raw]) {
            assert!(text.contains("No problems found"), "{text}");
        }
    }
}

#[test]
fn a_large_efi_file_fits_too() {
    for mebibytes in [5, 40] {
        let efi: Vec<u8> = (0..mebibytes << 20).map(|index: u32| (index >> 9) as u8).collect();
        let image = image_builder::image::image(&efi, &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let partition = folder.path().join("partition");
        std::fs::write(&partition, &image[1 << 20..image.len() - (1 << 20)]).unwrap();
        if let Some(text) = tool("fsck.vfat", &["-n", "-v", partition.to_str().unwrap()]) {
            assert!(text.contains("16 bit entries"), "{text}");
        }
    }
}

#[test]
fn what_cannot_be_a_kernel_or_an_application_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = common::write_inputs(folder.path());
    let text = common::example();
    let manifest = Manifest { name: "system.toml", text: &text };
    let with = |change: &dyn Fn(&mut image_builder::Inputs)| {
        let mut inputs = inputs.clone();
        change(&mut inputs);
        build(manifest, &inputs).unwrap_err()
    };
    let task = folder.path().join("reader");
    let error = with(&|inputs| inputs.kernel = task.clone());
    assert!(matches!(&error, BuildError::Kernel { path, .. } if *path == task), "{error}");
    let error = with(&|inputs| inputs.boot = task.clone());
    assert!(matches!(&error, BuildError::Boot { path, .. } if *path == task), "{error}");
    let error = with(&|inputs| inputs.kernel = "/nowhere".into());
    assert_eq!(error.to_string(), "cannot read /nowhere");
}

#[test]
fn an_image_tells_of_the_charter_that_it_was_built_from() {
    let folder = tempfile::tempdir().unwrap();
    let build = build_example(folder.path());
    let of_image = image_builder::inspect::inspect(&build.image).unwrap();
    assert_eq!(of_image.charter.as_deref(), Some(common::example().as_str()));
    assert_eq!(of_image.charter_agrees, Some(true));
    assert_eq!(image_builder::inspect::inspect(&build.efi).unwrap(), of_image);
    let mut vhd = build.image.clone();
    vhd.extend_from_slice(b"conectix");
    vhd.resize(build.image.len() + 512, 7);
    assert_eq!(image_builder::inspect::inspect(&vhd).unwrap(), of_image, "a VHD's footer does not matter");
}

/// The default charter with another broker and limits of the controller and another word on remapping: the image says the same of the
/// driver's rights as the charter; its rights to the device, and the route to it.
fn driven(broker: &str, limits: &str, policy: &str) -> (Vec<String>, String) {
    let text = common::example()
        .replace(", limits = [{ access = \"read-only\" }]", limits)
        .replace("broker = \"nvme\"\n", &format!("broker = \"{broker}\"\nremapping = \"{policy}\"\n"));
    let folder = tempfile::tempdir().unwrap();
    let inputs = common::write_inputs(folder.path());
    let manifest = Manifest { name: "system.toml", text: &text };
    let build = build(manifest, &inputs).unwrap_or_else(|error| panic!("{error}"));
    let image = image_builder::inspect::inspect(&build.image).unwrap();
    assert_eq!(image.charter_agrees, Some(true));
    let rights = image.authority.of("nvme").iter().map(ToString::to_string);
    let examined = image_builder::examine(manifest, &inputs.programs).unwrap();
    let routes = image_builder::route::routes(&examined, Some("nvme"));
    let registers = routes[0].needs.iter().find(|need| need.need == "registers").unwrap();
    (rights.filter(|right| right.contains("device `disk`")).collect(), registers.from[1].what.clone())
}

#[test]
fn what_may_be_driven_directly_is_shown() {
    const WHOLE: &str = ", limits = [{ access = \"read-write\" }]";
    const LIMITED: &str = ", limits = [{ access = \"read-write\", namespace = 2 }]";
    let direct = "drives device `disk` directly where an IOMMU is verified: its own queues, every command".to_owned();
    for (broker, limits, policy, is_direct, route) in [
        ("nvme", WHOLE, "allow", true, "device `disk`, brokered, direct where an IOMMU is verified"),
        (
            "nvme",
            WHOLE,
            "require",
            true,
            "device `disk`, brokered, direct where an IOMMU is verified, remapping require",
        ),
        ("nvme", WHOLE, "forbid", false, "device `disk`, brokered, remapping forbid"),
        ("nvme", LIMITED, "allow", false, "device `disk`, brokered"),
        ("none", "", "require", true, "device `disk`, direct where an IOMMU is verified, else none, remapping require"),
    ] {
        let (rights, from) = driven(broker, limits, policy);
        assert_eq!((rights.contains(&direct), from.as_str()), (is_direct, route), "{rights:?}");
        let told = rights.iter().any(|right| right.ends_with(&format!("BAR 0, remapping {policy}")));
        assert_eq!(told, policy != "allow", "{rights:?}");
    }
}

#[test]
fn a_charter_that_is_not_the_packages_own_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut efi = build_example(folder.path()).efi;
    let text = b"priority = 5\n";
    let at = efi.windows(text.len()).rposition(|bytes| bytes == text).unwrap();
    efi[at + text.len() - 2] = b'4';
    assert_eq!(image_builder::inspect::inspect(&efi).unwrap().charter_agrees, Some(false));
}

#[test]
fn what_is_no_image_is_not_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let build = build_example(folder.path());
    for image in [&b"MZ"[..], b"", &[0; 4096], &build.image[..1 << 20], &common::boot()] {
        assert!(image_builder::inspect::inspect(image).is_err());
    }
    // Whatever single byte of the package changes, nothing is said of it.
    let at = build.efi.windows(8).position(|bytes| bytes == b"CHARTER\0").unwrap();
    let mut efi = build.efi;
    efi[at + 40] ^= 1;
    assert!(image_builder::inspect::inspect(&efi).is_err());
}

fn handle_of(start: &StartInfo<'_>, name: &str) -> u32 {
    match start.grant(name) {
        Some(Granted::Signal { handle, .. }) => *handle,
        other => panic!("{name} is no signal: {other:?}"),
    }
}

fn signal_bits(granted: &Granted) -> u64 {
    match granted {
        Granted::Call { bits, .. } => *bits,
        other => panic!("no call: {other:?}"),
    }
}
