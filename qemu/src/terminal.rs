//! The user's terminal while it stands for the machine's serial console: each key goes through as it is typed, and the
//! machine echoes it.

use std::process::{Command, Stdio};

/// Gives the terminal back its ways when it is dropped.
pub struct KeyByKey {
    ways: Option<String>,
}

impl KeyByKey {
    /// Changes the terminal, if standard input is one. Ctrl-C still interrupts this program.
    pub fn begin() -> Self {
        let ways = stty(&["-g"]).filter(|_| stty(&["-icanon", "-echo", "min", "1"]).is_some());
        Self { ways }
    }
}

impl Drop for KeyByKey {
    fn drop(&mut self) {
        if let Some(ways) = &self.ways {
            stty(&[ways.trim()]);
        }
    }
}

/// Runs `stty` on standard input; `None` if that is no terminal.
fn stty(arguments: &[&str]) -> Option<String> {
    let output = Command::new("stty").args(arguments).stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
