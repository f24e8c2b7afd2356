//! `unsafe` is only in the kernel, in the UEFI application and in what tasks stand on: every other crate forbids it, in
//! each of its roots, as the compiler then enforces. Sources are parsed, so that a comment or a string is no attribute.

use std::path::{Path, PathBuf};
use std::process::Command;

use qemu::harness::root;
use serde_json::Value;
use syn::{Attribute, Meta};

/// Folders whose crates may.
const ALLOWED: [&str; 3] = ["kernel/src", "kernel/boot", "servers/task"];

/// The roots of every crate of the workspace, but for tests and build scripts.
fn roots() -> Vec<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo is started");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo's metadata");
    let packages = metadata["packages"].as_array().unwrap().iter();
    let targets = packages.flat_map(|package| package["targets"].as_array().unwrap());
    let code = targets.filter(|target| {
        let kinds = target["kind"].as_array().unwrap();
        kinds.iter().any(|kind| matches!(kind.as_str(), Some("lib" | "bin")))
    });
    code.map(|target| PathBuf::from(target["src_path"].as_str().unwrap())).collect()
}

/// Whether an attribute is `forbid(unsafe_code)`, whatever else it forbids.
fn forbids(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let Ok(names) = list.parse_args_with(syn::punctuated::Punctuated::<syn::Path, syn::Token![,]>::parse_terminated)
    else {
        return false;
    };
    list.path.is_ident("forbid") && names.iter().any(|name| name.is_ident("unsafe_code"))
}

fn forbids_unsafe(source: &str) -> bool {
    syn::parse_file(source).expect("a source file").attrs.iter().any(forbids)
}

fn is_allowed(path: &Path) -> bool {
    ALLOWED.iter().any(|folder| path.starts_with(root().join(folder)))
}

#[test]
fn every_crate_but_those_that_may_forbids_unsafe_code() {
    let roots = roots();
    assert!(roots.len() > 30, "{roots:?}");
    for path in roots.iter().filter(|path| !is_allowed(path)) {
        let source = std::fs::read_to_string(path).unwrap();
        assert!(forbids_unsafe(&source), "{} does not forbid unsafe code", path.display());
    }
    // What may is there, or the list is out of date.
    for folder in ALLOWED {
        assert!(roots.iter().any(|path| path.starts_with(root().join(folder))), "{folder}");
    }
}

#[test]
fn what_only_looks_like_the_attribute_is_none() {
    for source in [
        "//! #![forbid(unsafe_code)]\n",
        "// #![forbid(unsafe_code)]\n",
        "const X: &str = \"#![forbid(unsafe_code)]\";",
        "#![deny(unsafe_code)]",
        "#![allow(unsafe_code)]",
        "#[forbid(unsafe_code)]\nmod one {}",
        "#![cfg_attr(target_os = \"none\", forbid(unsafe_code))]",
        "#![forbid(missing_docs)]",
        "mod inner { #![forbid(unsafe_code)] }",
    ] {
        assert!(!forbids_unsafe(source), "{source}");
    }
    for source in ["#![forbid(unsafe_code)]", "#![no_std]\n#![forbid(missing_docs, unsafe_code)]\nfn main() {}"] {
        assert!(forbids_unsafe(source), "{source}");
    }
}
