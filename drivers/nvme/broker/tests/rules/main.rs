//! The broker's rules, each held by a test named after it; `../README.md` maps the design's nine points to them.

mod admin;
mod bench;
mod commands;
mod completions;
mod device;
mod events;
mod io;
mod mutants;
mod probe;
mod property;
mod quiesce;
mod registers;
mod walk;
mod writes;
