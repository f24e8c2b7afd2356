//! `qemu run`: boots an image, shows its log, and says how it ended.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use qemu::outcome::Outcome;
use qemu::process::{Polled, RunError, Running};

use crate::command_line::RunOptions;
use crate::terminal::KeyByKey;

/// How long the log may go on after the line that ends the run.
const SETTLE: Duration = Duration::from_millis(300);
/// How often a wait looks whether the user wants to quit.
const STEP: Duration = Duration::from_millis(100);

/// How a run ended, but for errors.
enum End {
    /// The system came up.
    Complete,
    /// The user wanted no more.
    Interrupted,
}

/// Runs, tells the reason if it fails, and returns the exit code.
pub fn run(options: &RunOptions) -> ExitCode {
    match attempt(options) {
        Ok(End::Complete) => ExitCode::SUCCESS,
        Ok(End::Interrupted) => {
            eprintln!("qemu: interrupted before the system was up");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("qemu: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(options: &RunOptions) -> Result<End, Box<dyn std::error::Error>> {
    for file in [Some(&options.image), options.disk.as_ref()].into_iter().flatten() {
        if !options.show_command && !file.is_file() {
            return Err(format!("{} does not exist (make image, make run)", file.display()).into());
        }
    }
    let machine = options.machine()?;
    if options.show_command {
        let arguments = machine.arguments("QMP-SOCKET".as_ref());
        println!("{} {}", options.qemu.display(), arguments.join(" "));
        return Ok(End::Complete);
    }

    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let mut running = Running::start_with(&options.qemu, &machine, options.timeout)?;
    let outcome = loop {
        if interrupted.load(Ordering::Relaxed) {
            return Ok(End::Interrupted);
        }
        if running.left().is_zero() {
            return Err(running.timed_out("`charter: boot complete` line").into());
        }
        match running.poll(STEP.min(running.left())) {
            Polled::Line(line) => {
                println!("{line}");
                if let Some(outcome) = Outcome::of(&line) {
                    break outcome;
                }
            }
            Polled::Nothing => {}
            Polled::End => return Err(running.exited("`charter: boot complete` line").into()),
        }
    };
    if outcome == Outcome::Complete && options.keep {
        eprintln!("qemu: the system is up and goes on; what is typed goes to its console, Ctrl-C ends it");
        converse(&mut running, &interrupted);
        return Ok(End::Complete);
    }
    running.settle(SETTLE, |line| println!("{line}"));
    if let Outcome::Failed(line) = outcome {
        return Err(RunError::Failed(line).into());
    }
    running.quit()?;
    Ok(End::Complete)
}

/// Shows what comes on the serial port as it comes, and types there what the user types, until QEMU ends or the user
/// wants no more.
fn converse(running: &mut Running, interrupted: &AtomicBool) {
    let _terminal = KeyByKey::begin();
    running.copy_to(Box::new(io::stdout()), |line| println!("{line}"));
    if let Some(mut port) = running.take_input() {
        // Ends with this program, or with what is typed; a port that is gone ends the machine's run anyway.
        thread::spawn(move || io::copy(&mut io::stdin(), &mut port));
    }
    while !interrupted.load(Ordering::Relaxed) {
        // Ctrl-C reaches QEMU as well.
        if running.poll(STEP) == Polled::End {
            break;
        }
    }
}
