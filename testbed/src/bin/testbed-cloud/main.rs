//! A simulated cloud for a person, or for a test that kills whoever holds one.

mod fleet;

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use getaredis_testbed::droplet::{Cloud, Error, Spec, Tier, command_in, is_built, why_impossible};

/// A cloud on this machine: droplets that boot a real init, engine and proxy in namespaces of the kernel, two networks, a
/// directory, and if asked for the API that sells them. It needs root and the images that `testbed/image bookworm trixie
/// redis` builds once. Whatever ends it, also `kill -9`, nothing of it stays.
#[derive(Parser)]
#[command(name = "testbed-cloud", after_help = EXAMPLE)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

const EXAMPLE: &str = "\
A whole fleet on this machine, with a shell for each line (see CONTRIBUTING.md):
  testbed-cloud fleet
  testbed-cloud in target/debug/getaredis serve --config testbed/fleet.toml
  testbed-cloud in redis-cli -u redis://…";

#[derive(Subcommand)]
enum What {
    /// Say whether there can be simulated droplets here: exit code 1 and the reason when not
    Check,
    /// Say whether there is an image to boot from: exit code 1 when not
    Built {
        /// What testbed/image built it as: bookworm, stock-noble, …
        suite: String,
    },
    /// Start a cloud, boot one droplet if told which, say how to reach it, and end with standard input
    Up(Up),
    /// Start a cloud with the imitated API of DigitalOcean in it: what is bought there boots. Ctrl-C or TERM ends it
    Fleet(fleet::Fleet),
    /// Run a program in the network of the cloud that is up; it ends with the cloud
    In {
        /// Which cloud, by the first line that it said; needed where several are up
        #[arg(long, value_name = "MARK")]
        cloud: Option<String>,
        /// The program with its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

#[derive(Args)]
struct Up {
    /// Name of the droplet
    #[arg(requires = "user_data")]
    name: Option<String>,
    /// What it boots from, such as debian-13-x64
    image: Option<String>,
    /// How much of it is real
    tier: Option<Realness>,
    /// File with what it sets itself up with, a script or #cloud-config
    user_data: Option<PathBuf>,
}

/// How much of a droplet is real.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Realness {
    /// A stand-in for cloud-init
    Lite,
    /// cloud-init itself, which takes two to three seconds more
    Full,
}

impl From<Realness> for Tier {
    fn from(realness: Realness) -> Self {
        match realness {
            Realness::Lite => Self::Lite,
            Realness::Full => Self::Full,
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().what {
        What::Check => match why_impossible() {
            Some(reason) => say(&reason).map(|()| ExitCode::FAILURE),
            None => Ok(ExitCode::SUCCESS),
        },
        What::Built { suite } => Ok(if is_built(&suite) { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        What::Up(droplet) => up(droplet),
        What::Fleet(fleet) => fleet.run(),
        What::In { cloud, command } => enter(cloud.as_deref(), &command),
    };
    outcome.unwrap_or_else(|error| {
        // The caller has nothing else to go by when even this cannot be written.
        let _ = writeln!(io::stderr(), "testbed-cloud: {error}");
        ExitCode::FAILURE
    })
}

fn spec(name: &str, image: &str, tier: Realness, user_data: &Path) -> Result<Spec, Error> {
    let text = fs::read_to_string(user_data).map_err(|error| Error::Io(user_data.display().to_string(), error))?;
    Ok(Spec::new(name, image, tier.into()).user_data(&text))
}

fn up(droplet: Up) -> Result<ExitCode, Error> {
    let spec = match (droplet.name, droplet.image, droplet.tier, droplet.user_data) {
        (Some(name), Some(image), Some(tier), Some(user_data)) => Some(spec(&name, &image, tier, &user_data)?),
        _ => None,
    };
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

/// Becomes the program.
fn enter(cloud: Option<&str>, command: &[String]) -> Result<ExitCode, Error> {
    let (program, arguments) = command.split_first().map_or(("sh", command), |(first, rest)| (first.as_str(), rest));
    let error = command_in(cloud, program)?.args(arguments).exec();
    Err(Error::Io(program.to_owned(), error))
}

fn say(line: &str) -> Result<(), Error> {
    writeln!(io::stdout(), "{line}").map_err(|error| Error::Io("stdout".to_owned(), error))
}
