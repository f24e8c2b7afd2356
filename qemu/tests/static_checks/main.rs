//! What is seen of programs and sources without running anything: nothing is writable and executable, `unsafe` is only
//! where it may be, and which panics a task could reach in the kernel.

mod panics;
mod segments;
mod unsafe_code;
