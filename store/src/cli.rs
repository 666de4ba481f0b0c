//! `almadia-store cli`: a cluster, asked by a person.
//!
//! Owns the commands, and which node is asked: the next one when one does not answer or cannot help.
//! How a status looks is in `cli/table.rs`. Knows nothing of a node but its address.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::sleep;

use self::table::{Seen, Status, printable};
use crate::client::{CallError, Client};
use crate::tls::{ClientTls, TlsError};

mod table;

/// A node itself tries for five seconds; a bit later it will not answer any more.
const PATIENCE: Duration = Duration::from_secs(7);
/// How long is waited for a status, which a node has at hand.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);
/// How often a status is looked at again.
const REDRAW: Duration = Duration::from_secs(1);
/// JSON-RPC's codes of what another node may be able to do: "unavailable", and "outcome unknown".
const ANOTHER_MAY: [i64; 2] = [-32000, -32001];

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// TLS cannot be spoken.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// No node has done it.
    #[error("{}", .0.join("; "))]
    NoNode(Vec<String>),
    /// It was refused.
    #[error("{0}")]
    Refused(String),
    /// The key holds nothing.
    #[error("there is no key {0:?}")]
    NoKey(String),
    /// What the node says is not understood.
    #[error("the node answers something else than asked for; is it of another version? {0}")]
    Unintelligible(String),
    /// It cannot be printed.
    #[error("it cannot be printed: {0}")]
    Print(#[from] std::io::Error),
}

/// Ask a cluster something.
#[derive(Args, Debug)]
pub struct Cli {
    /// Where clients reach the nodes, by commas; the next one is asked if one does not answer.
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:7001",
        global = true
    )]
    node: Vec<String>,
    /// Speak TLS, and believe nodes whose certificate this authority has signed (PEM).
    #[arg(long, global = true)]
    tls_ca: Option<PathBuf>,
    /// Show this certificate (PEM), if the nodes ask for one.
    #[arg(long, global = true, requires = "tls_key", requires = "tls_ca")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, global = true, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Fresh {
    /// How fresh it must be: show all that was done before; the same, as long as clocks run evenly;
    /// or what the asked node happens to know.
    #[arg(long, value_parser = ["linearizable", "lease", "stale"], default_value = "linearizable")]
    consistency: String,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Have a key hold a value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Print what a key holds, as it is.
    Get {
        /// The key.
        key: String,
        #[command(flatten)]
        fresh: Fresh,
    },
    /// Have a key hold nothing.
    Delete {
        /// The key.
        key: String,
    },
    /// Print keys and what they hold, by a tab between them.
    Scan {
        /// The first key; by default there is none before it.
        #[arg(default_value = "")]
        start: String,
        /// The first key that is not printed any more.
        end: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        fresh: Fresh,
    },
    /// Print the cluster as a node sees it.
    Status,
    /// The same, every second, until ctrl-c.
    Watch,
}

impl Cli {
    /// Does it. `stop` ends what does not end by itself.
    ///
    /// # Errors
    ///
    /// If no node does it, or what comes of it cannot be printed.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), CliError> {
        let own = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
        let tls = self
            .tls_ca
            .map(|ca| ClientTls::open(&ca, own))
            .transpose()?;
        let mut nodes = Nodes::new(self.node, tls, PATIENCE);
        match self.command {
            Command::Put { key, value } => {
                let params = json!({ "key": encode(&key), "value": encode(&value) });
                nodes.write("put", params).await
            }
            Command::Delete { key } => nodes.write("delete", json!({ "key": encode(&key) })).await,
            Command::Get { key, fresh } => {
                let params = json!({
                    "key": encode(&key),
                    "consistency": fresh.consistency,
                    "encoding": "base64",
                });
                let answer = nodes.call("get", &params).await?;
                if answer["value"].is_null() {
                    return Err(CliError::NoKey(key));
                }
                let mut value = decode(&answer["value"])?;
                value.push(b'\n');
                Ok(std::io::stdout().write_all(&value)?)
            }
            Command::Scan {
                start,
                end,
                limit,
                fresh,
            } => {
                let params = json!({
                    "start": encode(&start),
                    "end": end.as_deref().map(encode),
                    "limit": limit,
                    "consistency": fresh.consistency,
                    "encoding": "base64",
                });
                let answer = nodes.call("scan", &params).await?;
                print_pairs(&answer)
            }
            Command::Status => {
                let (address, status) = nodes.status().await?;
                print(&Seen::default().lines(&address, &status))
            }
            Command::Watch => {
                nodes.patience(STATUS_PATIENCE);
                tokio::select! {
                    result = watch(nodes) => result,
                    () = stop => Ok(()),
                }
            }
        }
    }
}

fn encode(text: &str) -> String {
    BASE64.encode(text)
}

fn decode(value: &Value) -> Result<Vec<u8>, CliError> {
    let text = value.as_str().unwrap_or_default();
    BASE64
        .decode(text)
        .map_err(|error| CliError::Unintelligible(error.to_string()))
}

fn print(lines: &[String]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn print_pairs(answer: &Value) -> Result<(), CliError> {
    let show = |value: &Value| -> Result<String, CliError> {
        Ok(printable(&String::from_utf8_lossy(&decode(value)?)))
    };
    let mut lines = Vec::new();
    for pair in answer["pairs"].as_array().into_iter().flatten() {
        lines.push(format!(
            "{}\t{}",
            show(&pair["key"])?,
            show(&pair["value"])?
        ));
    }
    print(&lines)?;
    if !answer["next"].is_null() {
        eprintln!("there is more, from {} on", show(&answer["next"])?);
    }
    Ok(())
}

/// The nodes, of which one is asked.
struct Nodes {
    clients: Vec<Client>,
    tls: Option<ClientTls>,
    /// Which one has answered last.
    at: usize,
}

impl Nodes {
    fn new(addresses: Vec<String>, tls: Option<ClientTls>, patience: Duration) -> Self {
        let clients = addresses.into_iter();
        let clients = clients.map(|address| Client::new(address, patience).secured(tls.clone()));
        Self {
            clients: clients.collect(),
            tls,
            at: 0,
        }
    }

    fn patience(&mut self, patience: Duration) {
        let addresses = self
            .clients
            .iter()
            .map(|client| client.address().to_owned());
        *self = Self::new(addresses.collect(), self.tls.take(), patience);
    }

    /// Writes, once: the write is numbered, so that a node that does not answer may have done it.
    async fn write(&mut self, method: &str, mut params: Value) -> Result<(), CliError> {
        params["encoding"] = "base64".into();
        params["client"] = format!("cli-{:032x}", rand::random::<u128>()).into();
        params["sequence"] = 1.into();
        self.call(method, &params).await.map(drop)
    }

    async fn call(&mut self, method: &str, params: &Value) -> Result<Value, CliError> {
        let mut why = Vec::new();
        for _ in 0..self.clients.len() {
            let client = &mut self.clients[self.at];
            match client.call(method, params.clone()).await {
                Ok(result) => return Ok(result),
                Err(CallError::Refused { code, message }) if ANOTHER_MAY.contains(&code) => {
                    why.push(format!("{}: {message}", client.address()));
                }
                Err(CallError::Refused { message, .. }) => return Err(CliError::Refused(message)),
                Err(error @ CallError::Unanswered(..)) => why.push(error.to_string()),
            }
            self.at = (self.at + 1) % self.clients.len();
        }
        Err(CliError::NoNode(why))
    }

    /// The status, and whose it is.
    async fn status(&mut self) -> Result<(String, Status), CliError> {
        let status = self.call("cluster.status", &json!({})).await?;
        let status = serde_json::from_value(status)
            .map_err(|error| CliError::Unintelligible(error.to_string()))?;
        Ok((self.clients[self.at].address().to_owned(), status))
    }
}

async fn watch(mut nodes: Nodes) -> Result<(), CliError> {
    let mut screen = Screen::begin()?;
    let mut seen = Seen::default();
    loop {
        let lines = match nodes.status().await {
            Ok((address, status)) => seen.lines(&address, &status),
            // That, too, is something to watch: it may pass.
            Err(error @ CliError::NoNode(_)) => vec![format!("no node answers: {error}")],
            Err(error) => return Err(error),
        };
        screen.show(lines)?;
        sleep(REDRAW).await;
    }
}

/// What is drawn over. Where it is no terminal, one picture follows the other.
struct Screen {
    is_terminal: bool,
}

impl Screen {
    fn begin() -> std::io::Result<Self> {
        let mut out = std::io::stdout();
        let is_terminal = out.is_terminal();
        if is_terminal {
            // A screen of its own, without a cursor.
            out.write_all(b"\x1b[?1049h\x1b[?25l")?;
            out.flush()?;
        }
        Ok(Self { is_terminal })
    }

    fn show(&mut self, mut lines: Vec<String>) -> Result<(), CliError> {
        if !self.is_terminal {
            lines.push(String::new());
            return print(&lines);
        }
        if let Some((width, height)) = terminal_size::terminal_size() {
            fit(&mut lines, usize::from(width.0), usize::from(height.0));
        }
        let mut picture = "\x1b[H".to_owned();
        picture.push_str(&lines.join("\x1b[K\r\n"));
        picture.push_str("\x1b[K\x1b[J");
        let mut out = std::io::stdout();
        out.write_all(picture.as_bytes())?;
        Ok(out.flush()?)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            let mut out = std::io::stdout();
            // A terminal that is gone needs no cursor.
            drop(out.write_all(b"\x1b[?25h\x1b[?1049l"));
            drop(out.flush());
        }
    }
}

/// Leaves out what would not be seen.
fn fit(lines: &mut Vec<String>, width: usize, height: usize) {
    if lines.len() > height && height > 0 {
        let hidden = lines.len() - (height - 1);
        lines.truncate(height - 1);
        lines.push(format!("({hidden} lines more)"));
    }
    for line in lines {
        if let Some((at, _)) = line.char_indices().nth(width) {
            line.truncate(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut lines = vec!["äöü".to_owned(), "b".to_owned(), "c".to_owned()];
        fit(&mut lines, 2, 3);
        assert_eq!(lines, ["äö", "b", "c"]);
        fit(&mut lines, 80, 2);
        assert_eq!(lines, ["äö", "(2 lines more)"]);
    }
}
