//! What the operator's commands share: the token that opens the server's console, and tables.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::{
    args::{given_or_env, secret, token_in},
    exit::Failure,
    instances::client,
};
use crate::client::{Client, Server};

/// The variable of the operator's token.
const TOKEN_VARIABLE: &str = "GETAREDIS_OPERATOR_TOKEN";

/// Who asks. The token is never an argument, which everybody on the machine could read.
#[derive(Debug, Args)]
pub(super) struct Operator {
    /// A file with the operator's token [default: what $GETAREDIS_OPERATOR_TOKEN holds]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Operator {
    /// A client of this server, or of the default one, and what opens it.
    pub(super) fn client(&self, server: Option<&Server>) -> Result<(Client, SecretString), Failure> {
        let token = match &self.token_file {
            Some(file) => Some(token_in(file)?),
            None => given_or_env(None, TOKEN_VARIABLE, secret)?,
        };
        let missing = || {
            Failure::NoToken(format!("the operator's token is needed: in {TOKEN_VARIABLE}, or a file of --token-file"))
        };
        Ok((client(server)?, token.ok_or_else(missing)?))
    }
}

/// Rows in columns below their names.
pub(super) fn table<const N: usize>(names: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows: Vec<_> = [names.map(str::to_owned)].into_iter().chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
