//! The block server's program.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use block::serve::Means;
use task::{Environment, Stop};

task::needs! { requests: receive, driver: call, optional stop: kill, optional data: window, optional log: log }
task::main!(run);
task::stack!(63_944);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let driver = block::driver::NvmeDriver::new(grants.driver, grants.stop);
    let means = Means { requests: grants.requests, driver: grants.driver, window: grants.data, log: grants.log };
    block::serve::serve(driver, &means, &environment)
}
