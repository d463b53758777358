//! A simulated cloud for a person, or for a test that kills whoever holds one.
//!
//! `testbed-cloud check` says whether there can be simulated droplets here (exit code 1 and the reason when not), and
//! `testbed-cloud built SUITE` whether there is an image to boot them from (exit code 1 when not).
//! `testbed-cloud up [NAME IMAGE lite|full USER-DATA-FILE]` starts a cloud, boots that droplet, says how to reach it,
//! and ends with its stdin.

use std::{
    env, fs,
    io::{self, Read, Write},
    process::ExitCode,
    time::Duration,
};

use getaredis_testbed::droplet::{Cloud, Error, Spec, Tier, is_built, why_impossible};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["check"] => match why_impossible() {
            Some(reason) => say(&reason).map(|()| ExitCode::FAILURE),
            None => Ok(ExitCode::SUCCESS),
        },
        ["built", suite] => Ok(if is_built(suite) { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        ["up"] => up(None),
        ["up", name, image, tier @ ("lite" | "full"), user_data] => {
            droplet(name, image, tier, user_data).and_then(|d| up(Some(d)))
        }
        _ => say("usage: testbed-cloud check | built SUITE | up [NAME IMAGE lite|full USER-DATA-FILE]")
            .map(|()| ExitCode::from(2)),
    };
    outcome.unwrap_or_else(|error| {
        // The caller has nothing else to go by when even this cannot be written.
        let _ = writeln!(io::stderr(), "testbed-cloud: {error}");
        ExitCode::FAILURE
    })
}

fn droplet(name: &str, image: &str, tier: &str, user_data: &str) -> Result<Spec, Error> {
    let text = fs::read_to_string(user_data).map_err(|error| Error::Io(user_data.to_owned(), error))?;
    let tier = if tier == "full" { Tier::Full } else { Tier::Lite };
    Ok(Spec::new(name, image, tier).user_data(&text))
}

fn up(spec: Option<Spec>) -> Result<ExitCode, Error> {
    let cloud = Cloud::start()?;
    say(cloud.mark())?;
    if let Some(spec) = spec {
        let droplet = cloud.boot(&spec)?;
        droplet.wait_until_settled(Duration::from_secs(120))?;
        say(&format!("{} public={} private={}", droplet.name(), droplet.public_address(), droplet.private_address()))?;
    }
    say("up")?;
    let mut rest = Vec::new();
    io::stdin().read_to_end(&mut rest).map_err(|error| Error::Io("stdin".to_owned(), error))?;
    cloud.end()?;
    Ok(ExitCode::SUCCESS)
}

fn say(line: &str) -> Result<(), Error> {
    writeln!(io::stdout(), "{line}").map_err(|error| Error::Io("stdout".to_owned(), error))
}
