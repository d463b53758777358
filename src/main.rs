//! The binary: hands the arguments to the command line, and the server to it.

use std::process::ExitCode;

use getaredis::{cli::Programs, wiring};

fn main() -> ExitCode {
    getaredis::cli::run(Programs { serve: wiring::serve, host_script: wiring::host_script, images: wiring::images })
}
