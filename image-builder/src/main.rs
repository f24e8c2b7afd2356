//! The image builder's command line.
//!
//! Exit codes: 0, done; 1, the charter has mistakes; 2, the command line or a file is at fault.

use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand, ValueEnum};
use image_builder::output::{self, Outcome};
use image_builder::problem::Report;
use image_builder::{BuildError, Inputs, Manifest, inputs};

/// Builds one bootable image from one charter.
#[derive(Parser)]
#[command(name = "image-builder", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks a charter and writes its image
    Build {
        /// The charter
        manifest: PathBuf,
        /// Folder for charter.efi and charter.img
        #[arg(long, default_value = "build")]
        out: PathBuf,
        /// What to write; may be given more than once
        #[arg(long, value_enum, default_values = ["efi", "img"])]
        format: Vec<Format>,
        /// The kernel's ELF file [default: target/bare/x86_64-unknown-none/release/kernel]
        #[arg(long)]
        kernel: Option<PathBuf>,
        /// The UEFI application [default: target/bare/x86_64-unknown-uefi/release/boot.efi]
        #[arg(long)]
        boot: Option<PathBuf>,
        #[command(flatten)]
        programs: Programs,
    },
    /// Says what machine a captured serial log is of
    Classify {
        /// The log of one boot; its lines `cloud: evidence` are the recording
        file: PathBuf,
    },
    /// Checks a charter
    Check {
        /// The charter
        manifest: PathBuf,
        #[command(flatten)]
        programs: Programs,
    },
}

#[derive(Args)]
struct Programs {
    /// Folder with the tasks' programs, looked in before the default; may be given more than once
    #[arg(long = "programs", value_name = "DIR")]
    folders: Vec<PathBuf>,
}

impl Programs {
    fn inputs(self, manifest: &Path) -> Inputs {
        let mut inputs = Inputs::default_for(manifest);
        inputs.programs.splice(0..0, self.folders);
        inputs
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// charter.efi, the unified EFI file
    Efi,
    /// charter.img, a disk image with a GUID partition table
    Img,
}

/// What was at fault.
enum Fault {
    /// The charter; it has been told.
    Charter,
    /// Something else.
    Other(Box<dyn Error>),
}

impl<E: Error + 'static> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Other(Box::new(error))
    }
}

fn main() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Check { manifest, programs } => check(&manifest, programs),
        Command::Classify { file } => classify(&file),
        Command::Build { manifest, out, format, kernel, boot, programs } => {
            let mut inputs = programs.inputs(&manifest);
            inputs.kernel = kernel.unwrap_or(inputs.kernel);
            inputs.boot = boot.unwrap_or(inputs.boot);
            build(&manifest, &out, &format, &inputs)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault::Charter) => ExitCode::from(1),
        Err(Fault::Other(error)) => {
            eprint!("image-builder: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::from(2)
        }
    }
}

fn classify(file: &Path) -> Result<(), Fault> {
    let text = String::from_utf8_lossy(&inputs::read(file)?).into_owned();
    image_builder::classify::classify(&text)?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn check(manifest: &Path, programs: Programs) -> Result<(), Fault> {
    let inputs = programs.inputs(manifest);
    let text = image_builder::read_manifest(manifest)?;
    let name = manifest.display().to_string();
    let (checked, report) = image_builder::check(Manifest { name: &name, text: &text }, &inputs.programs)?;
    tell(&report);
    let Some(checked) = checked else { return Err(Fault::Charter) };
    let charter = checked.charter();
    let grants = charter.grants().count();
    println!("{name}: good: {} tasks, {grants} grants, {} devices", charter.tasks.len(), charter.devices.len());
    Ok(())
}

fn build(manifest: &Path, out: &Path, formats: &[Format], inputs: &Inputs) -> Result<(), Fault> {
    let start = Instant::now();
    let build = match image_builder::build_file(manifest, inputs) {
        Ok(build) => build,
        Err(BuildError::Charter(report)) => {
            tell(&report);
            return Err(Fault::Charter);
        }
        Err(other) => return Err(other.into()),
    };
    tell(&build.warnings);
    for (format, file, contents) in
        [(Format::Efi, "charter.efi", &build.efi), (Format::Img, "charter.img", &build.image)]
    {
        if formats.contains(&format) {
            let path = out.join(file);
            let outcome = match output::write(&path, contents)? {
                Outcome::Written => "written",
                Outcome::Unchanged => "unchanged",
            };
            println!("{}: {outcome}, {} KiB", path.display(), contents.len().div_ceil(1024));
        }
    }
    println!("built in {} ms, package of {} KiB", start.elapsed().as_millis(), build.package.len().div_ceil(1024));
    Ok(())
}

fn tell(report: &Report) {
    if report.problems().is_empty() {
        return;
    }
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprint!("{}", report.render(colour));
    let errors = report.errors();
    let warnings = report.problems().len() - errors;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    eprintln!("{}, {}", count(errors, "error"), count(warnings, "warning"));
}
