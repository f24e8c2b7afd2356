//! Gives the linker the link script of a task.
include!("../task/link.rs");
