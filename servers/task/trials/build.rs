//! Gives the linker the link script of a task.
include!("../link.rs");
