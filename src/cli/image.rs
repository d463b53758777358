//! `image bake`, `image ls` and `image rm`: the images that bought hosts boot from.

use std::future::Future;

use clap::{Args, Subcommand};
use serde_json::json;
use tokio::{pin, sync::watch};

use super::{
    args::Configuration,
    exit::{Exit, Failure},
    output::{Output, printable},
};
use crate::{
    config::Config,
    images::{Baked, HostImage, HostImages, ImageError, Watcher},
    shutdown,
};

/// What reaches them.
pub(super) type OpenImages = fn(&Config) -> Result<Box<dyn HostImages>, ImageError>;

#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Make an image with everything in it that all hosts have
    ///
    /// Buys a machine, the builder, lets it set itself up, makes an image of it and deletes it again. The builder costs
    /// what a host costs for some minutes; the image costs as long as it is kept. Nothing secret is in it. Needs the
    /// deployment's database, in which the builder takes its place beside the hosts.
    Bake {
        /// Its name, for people [default: the deployment's tag and the time]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        given: Given,
    },
    /// List the images of this deployment, the oldest first
    Ls {
        #[command(flatten)]
        given: Given,
    },
    /// Delete an image of this deployment
    Rm {
        /// Its id
        id: String,
        #[command(flatten)]
        given: Given,
    },
}

#[derive(Debug, Args)]
pub(super) struct Given {
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    configuration: Configuration,
}

impl ImageCommand {
    fn given(&self) -> &Given {
        match self {
            Self::Bake { given, .. } | Self::Ls { given } | Self::Rm { given, .. } => given,
        }
    }
}

pub(super) fn run(command: &ImageCommand, open: OpenImages, output: &Output) -> Result<(), Failure> {
    let given = command.given();
    let config = Config::load(&given.configuration.inputs())?;
    let images = open(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            ImageCommand::Bake { name, .. } => bake(&*images, name.as_deref(), given.json, output).await,
            ImageCommand::Ls { .. } => ls(&*images, &config, given.json, output).await,
            ImageCommand::Rm { id, .. } if *id == config.digitalocean.image => Err(Failure::Usage(format!(
                "{id} is what hosts boot from (digitalocean.image); choose another one first"
            ))),
            ImageCommand::Rm { id, .. } => {
                let image = images.remove(id).await?;
                if given.json {
                    output.line(&json!(image).to_string())?;
                } else {
                    output.line(&format!("deleted {} {}", image.id, printable(&image.name)))?;
                }
                Ok(())
            }
        }
    })
}

async fn bake(images: &dyn HostImages, name: Option<&str>, json: bool, output: &Output) -> Result<(), Failure> {
    let (stop, stopped) = watch::channel(false);
    let tell = |text: &str| output.note(text);
    let baking = images.bake(name, Watcher { tell: &tell, stop: stopped });
    let Baked { image, left } = until_told_twice(baking, &stop, output).await?;
    let line = format!("digitalocean.image = \"{}\"", image.id);
    if json {
        output.line(&json!({ "image": image, "configuration": line }).to_string())?;
    } else {
        output.line(&format!("{} {}\n{line}", image.id, printable(&image.name)))?;
    }
    match left {
        None => Ok(()),
        Some(left) => {
            output.note(&left);
            Err(Failure::Said(Exit::Unexpected))
        }
    }
}

/// The first signal lets it tidy up, the second one does not.
async fn until_told_twice<T>(
    work: impl Future<Output = Result<T, ImageError>>,
    stop: &watch::Sender<bool>,
    output: &Output,
) -> Result<T, Failure> {
    pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done?),
            signal = shutdown::signal() => {
                let signal = signal?;
                if stop.send_replace(true) {
                    output.note(&format!("{signal} again: ended at once; the next bake deletes what is left, or the server"));
                    return Err(Failure::Said(Exit::Unexpected));
                }
                output.note(&format!("{signal}: tidying up; once more ends this at once"));
            }
        }
    }
}

async fn ls(images: &dyn HostImages, config: &Config, json: bool, output: &Output) -> Result<(), Failure> {
    let images = images.list().await?;
    if json {
        output.line(&json!(images).to_string())?;
        return Ok(());
    }
    for image in &images {
        output.line(&row(image, &config.digitalocean.image))?;
    }
    Ok(())
}

fn row(image: &HostImage, used: &str) -> String {
    let HostImage { id, name, created_at, regions, size_gigabytes, finished, .. } = image;
    let mark = match (id == used, finished) {
        (true, _) => "  in use",
        (false, true) => "",
        (false, false) => "  unfinished",
    };
    format!("{id}  {created_at}  {size_gigabytes:.1} GB  {}  {}{mark}", regions.join(","), printable(name))
}
