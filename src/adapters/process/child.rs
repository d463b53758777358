//! One child: its command, its directory and what it said last.

use std::{
    collections::VecDeque,
    fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
};

use getaredis_actors::{domain::secret::sha256_hex, ports::StartSpec};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use super::nursery::Nursery;
use crate::adapters::engine;

/// `nobody` of every distribution.
const NOBODY: u32 = 65_534;
/// Address space beside the container's memory: stacks of the engine's threads, its code and the C library, which a
/// container's limit counts only where they are touched.
const ADDRESS_SPACE_EXTRA: u64 = 64 * 1024 * 1024;
/// File descriptors beside the clients': Redis keeps 32 for itself, and the rest are its listeners and pipes.
const SPARE_FILES: u32 = 64;
/// Lines of a child's output that are kept.
const KEPT_LINES: usize = 10;
/// Bytes of one line that are kept.
const KEPT_BYTES: u64 = 300;

/// A child that was started.
pub(super) struct Born {
    /// The process.
    pub(super) child: Child,
    /// What it says.
    pub(super) last_words: LastWords,
    /// The tasks that listen; they end with its output.
    pub(super) outputs: Vec<JoinHandle<()>>,
}

/// What a child said last.
#[derive(Clone, Default)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    pub(super) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }

    /// Reads to the end, so that the child never waits for a reader, and keeps little of it.
    fn listen(&self, output: impl AsyncRead + Send + Unpin + 'static) -> JoinHandle<()> {
        let kept = self.clone();
        tokio::spawn(async move {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while let Ok(1..) = (&mut output).take(KEPT_BYTES).read_until(b'\n', &mut line).await {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                line.clear();
                let mut lines = kept.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if lines.len() == KEPT_LINES {
                    lines.pop_front();
                }
                lines.push_back(text);
            }
        })
    }
}

/// A directory of its own, in which the child can look and not write.
pub(super) fn make_directory(home: &Path, spec: &StartSpec) -> io::Result<PathBuf> {
    let directory = home.join(spec.id.as_str());
    fs::DirBuilder::new().mode(0o500).create(&directory)?;
    if we_are_root()? {
        std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY))?;
    }
    Ok(directory)
}

/// Starts the engine in `directory`. Its configuration goes in by a pipe, so that no list of processes shows it.
pub(super) async fn start(
    nursery: &Nursery,
    binary: &Path,
    spec: &StartSpec,
    directory: &Path,
    address: SocketAddr,
) -> io::Result<Born> {
    let mut child = nursery.spawn(command(binary, spec, directory)?).await?;
    let last_words = LastWords::default();
    let outputs = [
        child.stdout.take().map(|output| last_words.listen(output)),
        child.stderr.take().map(|output| last_words.listen(output)),
    ];
    let mut directives = engine::directives(&spec.flavour, &sha256_hex(&spec.password));
    directives.push(("bind", vec![address.ip().to_string()]));
    directives.push(("port", vec![address.port().to_string()]));
    if let Some(mut stdin) = child.stdin.take() {
        let config = engine::config_file(&directives);
        let written = async {
            stdin.write_all(config.as_bytes()).await?;
            stdin.shutdown().await
        };
        match written.await {
            // It ended before it read: its last words say why, and whoever waits for it finds them.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
    }
    Ok(Born { child, last_words, outputs: outputs.into_iter().flatten().collect() })
}

fn command(binary: &Path, spec: &StartSpec, directory: &Path) -> io::Result<Command> {
    let flavour = &spec.flavour;
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--as={}", flavour.container_bytes() + ADDRESS_SPACE_EXTRA))
        .arg(format!("--nofile={}", flavour.connections + SPARE_FILES))
        .arg("--core=0")
        .args(["setpriv", "--pdeathsig", "KILL", "--no-new-privs"]);
    if we_are_root()? {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]);
    }
    command
        .arg(binary)
        .arg("-")
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// Whether we may give a child another user: the owner of our own entry in `/proc` is who we are.
fn we_are_root() -> io::Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}
