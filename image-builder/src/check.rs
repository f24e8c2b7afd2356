//! What must hold between the parts of a charter, and between the charter and the programs that it names.
//!
//! One module a question. Each goes through the whole charter and reports every answer that is wrong, so that one run
//! tells of all mistakes; none relies on another one having found none.

pub(crate) mod budgets;
mod calls;
mod devices;
mod disks;
mod exclusive;
mod memory;
mod needs;
mod number;
mod references;
mod stacks;
mod supervision;
mod unused;

use std::collections::BTreeMap;

use crate::charter::Charter;
use crate::charter::values::ProgramName;
use crate::executable::{self, Executable, ExecutableError, Room};
use crate::inputs::Programs;
use crate::problem::{Kind, Problem, Problems, closest};

/// Programs by their names.
pub type Executables = BTreeMap<ProgramName, Executable>;

/// A charter in which everything holds, with its programs. Only [`check`] makes one.
#[derive(Clone, Debug)]
pub struct Checked {
    charter: Charter,
    programs: Executables,
}

impl Checked {
    /// The charter.
    pub fn charter(&self) -> &Charter {
        &self.charter
    }

    /// The program of a task.
    pub fn program(&self, name: &ProgramName) -> Option<&Executable> {
        self.programs.get(name)
    }
}

/// Checks a charter that was read. `None` if there is an error among the problems, also one found before.
pub fn check(charter: Charter, files: &Programs, problems: &Problems) -> Option<Checked> {
    references::check(&charter, problems);
    exclusive::check(&charter, problems);
    devices::check(&charter, problems);
    memory::check(&charter, problems);
    calls::check(&charter, problems);
    supervision::check(&charter, problems);
    disks::check(&charter, problems);
    number::check(&charter, problems);
    let programs = programs(&charter, files, problems);
    needs::check(&charter, &programs, problems);
    stacks::check(&charter, &programs, problems);
    budgets::check(&charter, &programs, problems);
    if !problems.has_errors() {
        unused::check(&charter, &programs, problems);
    }
    if problems.has_errors() { None } else { Some(Checked { charter, programs }) }
}

/// The programs of a charter that can be used.
pub(crate) fn programs(charter: &Charter, files: &Programs, problems: &Problems) -> Executables {
    let mut programs = BTreeMap::new();
    for task in &charter.tasks {
        let Some(name) = &task.program else { continue };
        let Some((path, bytes)) = files.get(name) else {
            let message = format!("there is no program `{}` for task `{}`", name.as_str(), task.name.value);
            let problem =
                Problem::new(Kind::UnknownProgram, message, name.span, format!("no such file in {}", files.folders()));
            problems.add(problem.help("programs are built by `make`; --programs names a folder to look in"));
            continue;
        };
        match executable::read(bytes, Room::Task) {
            Ok(executable) => {
                programs.insert(name.value.clone(), executable);
            }
            Err(error) => {
                let message = format!("the program `{}` of task `{}` cannot be used", name.as_str(), task.name.value);
                problems.add(
                    Problem::new(kind_of(&error), message, name.span, "this program")
                        .help(format!("{}: {error}", path.display())),
                );
            }
        }
    }
    programs
}

fn kind_of(error: &ExecutableError) -> Kind {
    match error {
        ExecutableError::Malformed(_) => Kind::NotElf,
        ExecutableError::Machine => Kind::OtherMachine,
        ExecutableError::NotFixed => Kind::NotFixed,
        ExecutableError::WritableCode(_) => Kind::WritableCode,
        ExecutableError::Misaligned(_) | ExecutableError::OutsideRoom { .. } | ExecutableError::Overlap(..) => {
            Kind::SegmentPlace
        }
        ExecutableError::Empty | ExecutableError::Entry(_) => Kind::NoCode,
        ExecutableError::Needs { .. } | ExecutableError::Stack => Kind::BadNeeds,
        ExecutableError::ThreadLocal | ExecutableError::TooManySegments(_) => Kind::BadProgram,
    }
}

/// "did you mean", for a name that does not exist.
fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, what: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match (closest(name, known.iter().copied()), &known[..]) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, []) => format!("the charter has no {what}"),
        (None, known) => format!("{what}: {}", known.join(", ")),
    }
}
