//! The block server's program.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use task::{Environment, Stop};

task::needs! { requests: receive, driver: call, optional log: log }
task::main!(run);

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let driver = block::driver::NvmeDriver::new(grants.driver);
    block::serve::serve(driver, grants.requests, environment.clients(), grants.log)
}
