//! A local cluster of real processes.
//!
//! Owns the child processes, their addresses and directories. Dropping it kills them.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::sleep;

use crate::client::Client;
use crate::tls::ClientTls;

/// One node of a local cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub id: u64,
    /// Where clients reach it.
    pub client: String,
    /// Where it listens for peers.
    pub peer: String,
    /// What it is told of where its peers are, itself among them.
    pub peers: Vec<(u64, String)>,
    /// Whether it joins.
    pub join: bool,
}

/// The processes.
pub struct Processes {
    program: PathBuf,
    data: PathBuf,
    more: Vec<String>,
    tls: Option<ClientTls>,
    /// The nodes, by their order.
    pub nodes: Vec<Node>,
    children: Vec<Option<Child>>,
}

/// An address of this machine that nobody listens at. Its port is none of those that the system gives to
/// outgoing connections: a node that is started again would find it taken.
///
/// # Errors
///
/// If there is none.
pub fn free_address() -> io::Result<String> {
    let mut last = io::Error::other("no port was tried");
    for _ in 0..100 {
        let port: u16 = rand::random_range(10_000..32_000);
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Ok(listener.local_addr()?.to_string()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Processes {
    /// Nodes that are not started yet. `more` goes to each of them.
    ///
    /// # Errors
    ///
    /// If this program cannot be found.
    pub fn new(data: &Path, nodes: Vec<Node>, more: Vec<String>) -> io::Result<Self> {
        let children = nodes.iter().map(|_| None).collect();
        Ok(Self {
            program: std::env::current_exe()?,
            data: data.to_owned(),
            more,
            tls: None,
            nodes,
            children,
        })
    }

    /// So many nodes that reach each other directly, with addresses of the system's choice, or from
    /// this port on.
    ///
    /// # Errors
    ///
    /// If no address is free.
    pub fn local(
        data: &Path,
        count: u64,
        first_port: Option<u16>,
        more: Vec<String>,
    ) -> io::Result<Self> {
        let mut clients = Vec::new();
        let mut peers = Vec::new();
        for id in 1..=count {
            let (client, peer) = match first_port {
                Some(port) => {
                    let client = u64::from(port) + id - 1;
                    (
                        format!("127.0.0.1:{client}"),
                        format!("127.0.0.1:{}", client + 100),
                    )
                }
                None => (free_address()?, free_address()?),
            };
            clients.push(client);
            peers.push((id, peer));
        }
        let nodes = clients
            .into_iter()
            .zip(&peers)
            .map(|(client, (id, peer))| Node {
                id: *id,
                client,
                peer: peer.clone(),
                peers: peers.clone(),
                join: false,
            });
        Self::new(data, nodes.collect(), more)
    }

    /// Runs this program instead of the one that runs here: a test is another one.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// The nodes are called like this.
    #[must_use]
    pub fn secured(mut self, tls: Option<ClientTls>) -> Self {
        self.tls = tls;
        self
    }

    /// A client of a node, which gives it so much time for each answer.
    #[must_use]
    pub fn client(&self, at: usize, patience: Duration) -> Client {
        Client::new(self.nodes[at].client.clone(), patience).secured(self.tls.clone())
    }

    /// A node's directory.
    #[must_use]
    pub fn dir(&self, at: usize) -> PathBuf {
        self.data.join(self.nodes[at].id.to_string())
    }

    /// The process of a node, if it runs.
    #[must_use]
    pub fn pid(&self, at: usize) -> Option<u32> {
        self.children[at].as_ref().map(Child::id)
    }

    /// Starts a node.
    ///
    /// # Errors
    ///
    /// If the system does not start it.
    pub fn start(&mut self, at: usize) -> io::Result<()> {
        let node = &self.nodes[at];
        let dir = self.dir(at);
        std::fs::create_dir_all(&dir)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.data.join(format!("{}.log", node.id)))?;
        let peers: Vec<_> = node
            .peers
            .iter()
            .map(|(id, peer)| format!("{id}={peer}"))
            .collect();
        let mut command = Command::new(&self.program);
        command
            .arg("serve")
            .args(["--id", &node.id.to_string()])
            .arg("--data")
            .arg(&dir)
            .args(["--listen", &node.client, "--listen-peers", &node.peer])
            .args(["--peers", &peers.join(",")])
            .args(&self.more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if node.join {
            command.arg("--join");
        }
        self.children[at] = Some(command.spawn()?);
        Ok(())
    }

    /// Starts all nodes, and waits until they answer.
    ///
    /// # Errors
    ///
    /// If they do not within half a minute.
    pub async fn start_all(&mut self) -> io::Result<()> {
        for at in 0..self.nodes.len() {
            self.start(at)?;
        }
        self.wait_for(0..self.nodes.len()).await
    }

    /// Waits until these nodes answer.
    ///
    /// # Errors
    ///
    /// If they do not within half a minute.
    pub async fn wait_for(&mut self, nodes: std::ops::Range<usize>) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        for at in nodes {
            let mut client = self.client(at, Duration::from_secs(6));
            loop {
                let answer = client
                    .call("get", json!({ "key": "is anybody there" }))
                    .await;
                let Err(error) = answer else { break };
                if let Some(status) = self.ended(at)? {
                    let log = self.data.join(format!("{}.log", self.nodes[at].id));
                    let said = std::fs::read_to_string(log).unwrap_or_default();
                    let last = said.lines().last().unwrap_or_default();
                    return Err(io::Error::other(format!(
                        "a node has ended, {status}: {last}"
                    )));
                }
                if Instant::now() > deadline {
                    return Err(io::Error::other(error));
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// How a node's process has ended, if it has.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn ended(&mut self, at: usize) -> io::Result<Option<std::process::ExitStatus>> {
        self.children[at].as_mut().map_or(Ok(None), Child::try_wait)
    }

    /// Kills a node.
    pub fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.children[at].take() {
            // One that has ended by itself is as dead.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Sends a signal to a node.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn signal(&self, at: usize, signal: Signal) -> io::Result<()> {
        let pid = self.pid(at).and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| io::Error::other("the node does not run"))?;
        Ok(nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            signal,
        )?)
    }

    /// Asks all nodes to stop, and waits until they have.
    pub async fn stop_all(&mut self) {
        for at in 0..self.nodes.len() {
            drop(self.signal(at, Signal::SIGTERM));
        }
        for at in 0..self.nodes.len() {
            self.stop(at).await;
        }
    }

    /// Asks a node to stop, and waits until it has.
    pub async fn stop(&mut self, at: usize) {
        drop(self.signal(at, Signal::SIGTERM));
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.children[at].is_some()
            && matches!(self.ended(at), Ok(None))
            && Instant::now() < deadline
        {
            sleep(Duration::from_millis(20)).await;
        }
        self.kill(at);
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for at in 0..self.nodes.len() {
            self.kill(at);
        }
    }
}
