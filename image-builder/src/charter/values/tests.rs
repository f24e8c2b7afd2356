//! What each value takes, and what it does not.

use super::*;

#[test]
fn names_are_short_and_plain() {
    for good in ["a", "disk-data", "0", "a-name-of-twenty-eight-chars"] {
        assert_eq!(Name::new(good).unwrap().as_str(), good);
    }
    for bad in ["", "A", "a_b", "a b", "ä", "a\n", "a-name-of-twenty-nine-charact"] {
        let expected = if bad.len() > 28 { Kind::LongName } else { Kind::BadName };
        assert_eq!(Name::new(bad).unwrap_err().kind, expected, "{bad:?}");
    }
    assert!(SettingName::new("pause_milliseconds").is_ok());
    assert!(ProgramName::new("nvme_2").is_ok());
    for bad in ["", "..", "/bin/sh", "a/b", "a\0", &"x".repeat(65)] {
        assert!(ProgramName::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn sizes_have_units_and_whole_pages() {
    for (text, expected) in
        [("0", 0), ("0 B", 0), ("512 B", 512), ("4KiB", 4096), ("3 MiB", 3 << 20), ("2 GiB", 2 << 30)]
    {
        assert_eq!(bytes(text), Ok(expected), "{text}");
    }
    for (bad, kind) in [
        ("", Kind::BadSize),
        ("KiB", Kind::BadSize),
        ("4", Kind::MissingUnit),
        ("4 KB", Kind::UnknownUnit),
        ("4 k", Kind::UnknownUnit),
        ("-4 KiB", Kind::BadSize),
        ("0.5 MiB", Kind::UnknownUnit),
        ("4 KiB ", Kind::UnknownUnit),
        (" 4 KiB", Kind::BadSize),
        ("18446744073709551616 B", Kind::TooLarge),
        ("17179869184 GiB", Kind::TooLarge),
    ] {
        assert_eq!(bytes(bad).unwrap_err().kind, kind, "{bad:?}");
    }
    assert_eq!(Size::new("1 GiB", u64::MAX).unwrap().bytes(), 1 << 30);
    assert_eq!(Size::new("0", u64::MAX).unwrap_err().kind, Kind::NoMemory);
    assert_eq!(Size::new("2 GiB", u64::MAX).unwrap_err().kind, Kind::TooLarge);
    assert_eq!(Size::new("8 KiB", 4096).unwrap_err().kind, Kind::TooLarge);
    assert_eq!(Size::new("4097 B", u64::MAX).unwrap_err().kind, Kind::Misaligned);
    assert_eq!(Offset::new("0").unwrap().bytes(), 0);
    assert_eq!(Offset::new("1 GiB").unwrap_err().kind, Kind::TooLarge);
    assert_eq!(Offset::new("1 B").unwrap_err().kind, Kind::Misaligned);
    // The next whole page after the largest size does not exist.
    assert!(Offset::new("18446744073709551615 B").is_err());
}

#[test]
fn bytes_are_shown_with_the_largest_unit_that_divides_them() {
    let shown = [0, 1, 4096, 5 << 20, 1 << 30, 3 << 29].map(|bytes| Bytes(bytes).to_string());
    assert_eq!(shown, ["0", "1 B", "4 KiB", "5 MiB", "1 GiB", "1536 MiB"]);
}

#[test]
fn pci_addresses_are_whole() {
    let address = |text: &str| PciAddress::new(text).map(|address| address.get().to_string());
    assert_eq!(address("0000:00:04.0").unwrap(), "0000:00:04.0");
    assert_eq!(address("ab12:FF:1f.7").unwrap(), "ab12:ff:1f.7");
    assert_eq!(address("03:00.1").unwrap(), "0000:03:00.1");
    for bad in [
        "",
        ":",
        "4",
        "00:04",
        "00:04.",
        "0:4.0",
        "00:04.8",
        "00:20.0",
        "0:00:04.0",
        "+000:00:04.0",
        "00:04.0 ",
        "0000:0000:00:04.0",
        "é0:04.0",
    ] {
        assert_eq!(address(bad).unwrap_err().kind, Kind::BadPciAddress, "{bad:?}");
    }
}

#[test]
fn numbers_have_their_ranges() {
    assert!(Priority::new(63).is_ok() && Priority::new(64).is_err());
    assert!(Bar::new(5).is_ok() && Bar::new(6).is_err());
    assert!(Vector::new(2047).is_ok() && Vector::new(2048).is_err());
    assert!(Namespace::new(0).is_err() && Namespace::new(1).is_ok());
    assert!(Namespace::new(0xffff_fffe).is_ok() && Namespace::new(0xffff_ffff).is_err());
    assert!(identifier(0xfffe).is_ok() && identifier(0xffff).is_err() && identifier(0x1_1b36).is_err());
}

#[test]
fn classes_have_names_or_three_parts() {
    assert_eq!(Class::new("nvme"), Class::new("01/08/02"));
    assert_eq!(Class::new("0C/03/30"), Ok(Class(0x0c, 3, 0x30)));
    for bad in ["", "01", "01/08", "01/08/02/00", "1/8/2", "01/08/zz", "+1/08/02"] {
        assert!(Class::new(bad).is_err(), "{bad:?}");
    }
}
