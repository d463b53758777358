//! A real redis-server of the test's own, with nothing in it.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::ports::free_port;

/// It ends when it is dropped.
pub(crate) struct RedisServer {
    port: u16,
    child: Child,
    _dir: TempDir,
}

impl RedisServer {
    /// Starts one; it does not answer at once.
    pub(crate) fn start() -> Self {
        let (port, dir) = (free_port(), TempDir::new().unwrap());
        let child = Command::new(std::env::var_os("GETAREDIS_TEST_REDIS_SERVER").expect("run it by script/test"))
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { port, child, _dir: dir }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
