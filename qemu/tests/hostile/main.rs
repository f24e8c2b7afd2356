//! A hostile driver on one controller and a hostile client of another one's disk try everything that they must not be
//! able to do. Each attempt gets the answer that the table says; the log tells of each kind, under its culprit's name;
//! memory, read from outside, is as it was; and everybody else is served, with correct data, meanwhile and after.
//!
//! The table is also the one in docs/security.md: `UPDATE_DOCS=1` writes it there.

mod boot;
mod direct;
mod documentation;
mod engine;
mod fuzz;
mod storm;
mod table;
mod trace;
