//! What is seen of programs and sources without running anything: nothing is writable and executable, and `unsafe` is only
//! where it may be.

mod segments;
mod unsafe_code;
