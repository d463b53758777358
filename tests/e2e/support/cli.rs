//! The command line, as a person with a home of their own uses it.

use std::process::Command;

use tempfile::TempDir;

/// A person.
pub struct Person {
    home: TempDir,
    server: String,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Person {
    /// Somebody who knows where a server is.
    pub fn of(server: String) -> Self {
        Self { home: TempDir::new().unwrap(), server }
    }

    /// Runs `getaredis` with these arguments.
    pub async fn types(&self, arguments: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_getaredis"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("GETAREDIS_SERVER", &self.server)
            .current_dir(self.home.path())
            .args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Done {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Done {
    /// What it wrote, when it did what it was told.
    pub fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}
