//! Sections appended to a UEFI application.

mod common;

use image_builder::efi::{EfiError, unify};

/// Name, virtual size, address, raw size, raw place, characteristics of every section.
fn sections(file: &[u8]) -> Vec<(String, [u32; 4], u32)> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let count = usize::from(file[0x86]) | usize::from(file[0x87]) << 8;
    (0..count)
        .map(|index| 0x98 + 240 + index * 40)
        .map(|at| {
            let name = String::from_utf8_lossy(&file[at..at + 8]).trim_end_matches('\0').to_owned();
            (name, [8, 12, 16, 20].map(|field| word(at + field)), word(at + 36))
        })
        .collect()
}

fn word(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
}

#[test]
fn sections_follow_on_pages_and_sectors() {
    let (one, other) = (vec![1; 5000], vec![2; 10]);
    let file = unify(&common::boot(), &[(".kernel", &one), (".package", &other)]).unwrap();
    let expected = [
        (".text".to_owned(), [0x123, 0x1000, 0x200, 0x400], 0x6000_0020),
        (".kernel".to_owned(), [5000, 0x2000, 5120, 0x600], 0x4000_0040),
        (".package".to_owned(), [10, 0x4000, 512, 0x600 + 5120], 0x4000_0040),
    ];
    assert_eq!(sections(&file), expected);
    assert_eq!(&file[0x600..0x600 + 5000], &one);
    assert_eq!(&file[0x600 + 5120..0x600 + 5130], &other);
    assert_eq!(file.len(), 0x600 + 5120 + 512);
    let optional = 0x98;
    assert_eq!(word(&file, optional + 8), 5120 + 512, "SizeOfInitializedData");
    assert_eq!(word(&file, optional + 56), 0x5000, "SizeOfImage");
    assert_eq!(word(&file, optional + 64), 0, "CheckSum");
    // Nothing else changed.
    let (before, mut after) = (common::boot(), file[..0x600].to_vec());
    for (at, bytes) in [(0x86, 2), (optional + 8, 4), (optional + 56, 4), (optional + 64, 4), (0x98 + 280, 80)] {
        after[at..at + bytes].copy_from_slice(&before[at..at + bytes]);
    }
    assert_eq!(after, before);
}

#[test]
fn what_cannot_carry_sections_is_refused() {
    let with = |at: usize, value: u8| {
        let mut file = common::boot();
        file[at] = value;
        unify(&file, &[(".kernel", b"k")])
    };
    let optional = 0x98;
    assert_eq!(with(0, 0), Err(EfiError::NotPe("no MZ header")));
    assert_eq!(with(0x80, 0), Err(EfiError::NotPe("no PE header")));
    assert_eq!(with(0x84, 0xaa), Err(EfiError::NotApplication), "another machine");
    assert_eq!(with(optional + 68, 3), Err(EfiError::NotApplication), "another subsystem");
    assert_eq!(with(optional + 112 + 4 * 8, 1), Err(EfiError::Signed));
    assert_eq!(with(optional + 112 + 4 * 8 + 5, 1), Err(EfiError::Signed));
    assert_eq!(with(optional + 36, 1), Err(EfiError::NotPe("alignment")));
    assert_eq!(unify(&common::boot()[..0x300], &[]), Err(EfiError::NotPe("section headers")));
    assert_eq!(unify(b"MZ", &[]), Err(EfiError::NotPe("cut short")));
}

#[test]
fn sections_that_do_not_fit_are_refused() {
    let file = common::boot();
    assert_eq!(unify(&file, &[(".kernel", b"")]), Err(EfiError::Section(".kernel".into())));
    assert_eq!(unify(&file, &[(".longername", b"k")]), Err(EfiError::Section(".longername".into())));
    let once = unify(&file, &[(".kernel", b"k")]).unwrap();
    assert_eq!(unify(&once, &[(".kernel", b"k")]), Err(EfiError::Repeated(".kernel".into())));
    let names: Vec<String> = (0..30).map(|index| format!(".s{index}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"x".as_slice())).collect();
    assert_eq!(unify(&file, &many), Err(EfiError::NoRoom));
}

proptest::proptest! {
    /// No file panics, however its headers were changed.
    #[test]
    fn no_file_panics(
        changes in proptest::collection::vec((0usize..0x1c0, proptest::prelude::any::<u8>()), 0..4),
        cut in proptest::option::of(0usize..0x600),
    ) {
        let mut file = common::boot();
        for (at, value) in changes {
            file[at] = value;
        }
        if let Some(cut) = cut {
            file.truncate(cut);
        }
        let _ = unify(&file, &[(".kernel", &[1; 600]), (".package", b"p")]);
    }
}
