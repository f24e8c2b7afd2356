//! Links the task's program as every task's.
include!("../../servers/task/link.rs");
