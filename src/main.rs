//! The binary: hands the arguments to the command line, and the server to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    getaredis::cli::run(getaredis::wiring::serve)
}
