//! The command line: one module a command, and what they share.
//!
//! Every command ends in one of three ways, so that scripts can go by the exit code:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, and the answer is yes |
//! | 1 | done, and the answer is no: the charter has mistakes, a need is not met, a task gained authority … |
//! | 2 | not done: the command line or a file is at fault |

mod azure;
mod build;
mod check;
mod classify;
mod diff;
mod explain_crash;
mod graph;
mod inspect;
mod match_devices;
mod new;
mod report;
mod route;
mod schema;
mod sign;
mod sizes;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use image_builder::Inputs;

/// Builds one bootable image from one charter, and shows who may do what in it.
#[derive(Parser)]
#[command(name = "image-builder", version, after_help = EXIT_CODES, after_long_help = EXAMPLES, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 yes, 1 no (mistakes, unmet needs, gained authority), 2 wrong usage or files.\n\
    `image-builder help COMMAND` shows examples of a command.";

const EXAMPLES: &str = "\
A charter's life:
  image-builder new hello                    a project of your own, outside Charter's repository
  image-builder check system.toml            is it good? every mistake with its line
  image-builder route reader                 where does each grant of a task come from?
  image-builder build system.toml            write build/charter.efi and build/charter.img
  image-builder inspect build/charter.img    what is in this image?
  image-builder diff old.img system.toml     what did each task gain or lose?
  image-builder azure build/azure            a folder with a VHD and scripts that deploy it

Exit codes, of every command:
  0  done, and the answer is yes
  1  done, and the answer is no: the charter has mistakes, a need is not met, a task gained authority
  2  not done: the command line or a file is at fault

Every command that reports takes `--format json`: one JSON value on standard output.
Colour is used on terminals only, and never if NO_COLOR is set.";

#[derive(Subcommand)]
enum Command {
    New(new::New),
    Build(build::Build),
    Check(check::Check),
    Route(route::Route),
    Inspect(inspect::Inspect),
    Diff(diff::Diff),
    Classify(classify::Classify),
    ExplainCrash(explain_crash::ExplainCrash),
    Graph(graph::Graph),
    Sizes(sizes::Sizes),
    Match(match_devices::Match),
    Schema(schema::Schema),
    Azure(azure::Azure),
    Completions(Completions),
}

/// Writes a script that completes commands and options in a shell
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder completions bash > /etc/bash_completion.d/image-builder\n  \
    image-builder completions fish > ~/.config/fish/completions/image-builder.fish")]
struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Completions {
    fn run(&self) -> Result<Answer, Fault> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut CommandLine::command(), "image-builder", &mut script);
        report::print(&String::from_utf8_lossy(&script))?;
        Ok(Answer::Yes)
    }
}

/// A charter, and where its programs are.
#[derive(Args)]
struct Charter {
    /// The charter
    #[arg(default_value = "system.toml")]
    manifest: PathBuf,
    #[command(flatten)]
    programs: Programs,
}

impl Charter {
    fn inputs(&self) -> Inputs {
        self.programs.inputs(&self.manifest)
    }
}

#[derive(Args)]
struct Programs {
    /// Folder with the tasks' programs, looked in before the default; may be given more than once
    #[arg(long = "programs", value_name = "DIR")]
    folders: Vec<PathBuf>,
}

impl Programs {
    fn inputs(&self, manifest: &Path) -> Inputs {
        let mut inputs = Inputs::default_for(manifest);
        inputs.programs.splice(0..0, self.folders.iter().cloned());
        inputs
    }
}

/// What a command that did its work answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// Why a command did not do its work.
struct Fault(Box<dyn Error>);

impl<E: Error + 'static> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into().into())
    }
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::New(command) => command.run(),
        Command::Build(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Route(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Classify(command) => command.run(),
        Command::ExplainCrash(command) => command.run(),
        Command::Graph(command) => command.run(),
        Command::Sizes(command) => command.run(),
        Command::Match(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Azure(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    match result {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(Fault(error)) => {
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
