//! The boot package: what is opened is consistent, and can be read to its end.

use abi::package::{Package, header};

/// Opens the bytes as what lies behind a header that is right, and as they are.
pub fn open(bytes: &[u8]) {
    let _ = Package::open(bytes);
    let whole = [header(bytes).as_slice(), bytes].concat();
    let Ok(package) = Package::open(&whole) else { return };
    let contents = package.contents();
    assert_eq!(package.devices().count(), usize::from(contents.devices));
    assert_eq!(package.regions().count(), usize::from(contents.regions));
    assert_eq!(package.tasks().count(), usize::from(contents.tasks));
    assert!(!format!("{contents:?}").is_empty());
    // What was good once is good as the kernel opens it a second time.
    assert!(Package::open_checked(&whole).is_ok());
}
