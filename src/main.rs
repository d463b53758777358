//! The binary: hands the arguments to the command line and the configuration to the server.

use std::process::ExitCode;

use getaredis::config::Config;

fn main() -> ExitCode {
    getaredis::cli::run(serve)
}

/// Stands in for `getaredis::wiring::serve`.
fn serve(config: Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build cannot listen on {} yet", config.http.bind)
}
