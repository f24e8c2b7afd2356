//! The command line: starts images and makes the demonstration disk.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod command_line;
mod run;
mod terminal;

fn main() -> ExitCode {
    match command_line::Arguments::parse().command {
        command_line::Command::Run(options) => run::run(&options),
        command_line::Command::Disk { path } => match qemu::disk::demonstration(&path) {
            Ok(made) => {
                if made {
                    eprintln!("qemu: made {}", path.display());
                }
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("qemu: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
