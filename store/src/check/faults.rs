//! What happens to the cluster.
//!
//! Owns the processes, the links between them, and the faults. Knows no client.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::CheckError;
use super::proxy::{Link, Weather};
use crate::client::Client;
use crate::processes::{Node, Processes, free_address};

/// So few entries are kept in a log that snapshots are common.
const KEEP_ENTRIES: u64 = 200;

/// The cluster and what happens to it.
pub(super) struct Faults {
    processes: Processes,
    links: Vec<Arc<Link>>,
    dice: SmallRng,
    /// The node that is no member, by its place.
    spare: usize,
    /// The node that may have left in part.
    leaving: Option<usize>,
    /// How many faults there were.
    pub(super) count: u64,
    /// What the last one was.
    pub(super) last: String,
    data: PathBuf,
}

impl Faults {
    /// Starts a cluster of this size, with a node more that may join it.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(super) async fn start(
        data: &Path,
        size: u64,
        leases: bool,
        dice: SmallRng,
    ) -> Result<Self, CheckError> {
        let mut clients = Vec::new();
        let mut peers = Vec::new();
        for _ in 0..=size {
            clients.push(free_address()?);
            peers.push(free_address()?);
        }
        let mut links = Vec::new();
        let mut nodes = Vec::new();
        for (me, (client, peer)) in (1..).zip(clients.iter().zip(&peers)) {
            let mut others = Vec::new();
            for (other, target) in (1..=size).zip(&peers) {
                // The node with the lower id connects.
                let address = if me < other {
                    let link = Link::to(target.clone()).await?;
                    let address = link.address.clone();
                    links.push(link);
                    address
                } else {
                    target.clone()
                };
                others.push((other, address));
            }
            let join = me > size;
            if join {
                others.push((me, peer.clone()));
            }
            nodes.push(Node {
                id: me,
                client: client.clone(),
                peer: peer.clone(),
                peers: others,
                join,
            });
        }
        let spare = nodes.len() - 1;
        let mut more = vec!["--keep-entries".to_owned(), KEEP_ENTRIES.to_string()];
        if leases {
            more.push("--lease-reads".to_owned());
        }
        let mut processes = Processes::new(data, nodes, more)?;
        for at in 0..=spare {
            processes.start(at)?;
        }
        processes.wait_for(0..spare).await?;
        Ok(Self {
            processes,
            links,
            dice,
            spare,
            leaving: None,
            count: 0,
            last: String::new(),
            data: data.to_owned(),
        })
    }

    /// Where clients reach the nodes.
    #[must_use]
    pub(super) fn clients(&self) -> Vec<String> {
        let nodes = self.processes.nodes.iter();
        nodes.map(|node| node.client.clone()).collect()
    }

    /// One fault, and its end.
    ///
    /// # Errors
    ///
    /// If a node has ended by itself.
    pub(super) async fn one(&mut self, deadline: Instant) -> Result<(), CheckError> {
        let at = self.dice.random_range(0..self.processes.nodes.len());
        let node = self.processes.nodes[at].id;
        let time = Duration::from_millis(self.dice.random_range(100..2_500));
        let time = time.min(deadline.saturating_duration_since(Instant::now()));
        self.count += 1;
        match self.dice.random_range(0..12) {
            0..=1 => {
                self.last = format!("node {node} is killed");
                self.processes.kill(at);
                sleep(time).await;
                self.processes.start(at)?;
            }
            2 => {
                self.last = "all nodes are killed".to_owned();
                for at in 0..self.processes.nodes.len() {
                    self.processes.kill(at);
                }
                for at in 0..self.processes.nodes.len() {
                    self.processes.start(at)?;
                }
            }
            3..=4 => {
                self.last = format!("node {node} stands still");
                self.processes.signal(at, Signal::SIGSTOP)?;
                sleep(time).await;
                self.processes.signal(at, Signal::SIGCONT)?;
            }
            5 => {
                self.last = format!("node {node} is killed, and the end of its log is torn");
                self.processes.kill(at);
                self.tear(at)?;
                sleep(time / 2).await;
                self.processes.start(at)?;
            }
            6 => {
                self.last = format!("node {node} is asked to stop");
                self.processes.stop(at).await;
                self.processes.start(at)?;
            }
            7..=8 => self.bad_weather(time).await,
            9 => {
                self.last = "leadership is handed over".to_owned();
                let params = json!({ "to": node });
                self.ask("cluster.transfer_leader", params).await;
            }
            10 => {
                let key = format!("{:02}", self.dice.random_range(1..100));
                self.last = format!("a region is divided at {key}");
                self.ask("cluster.split", json!({ "key": key })).await;
            }
            _ => self.change_members(at).await,
        }
        self.look_after()
    }

    /// Cuts, stops or slows some links for a while.
    async fn bad_weather(&mut self, time: Duration) {
        let weather = match self.dice.random_range(0..3) {
            0 => Weather::Cut,
            1 => Weather::Stopped,
            _ => Weather::Slow(Duration::from_millis(self.dice.random_range(5..100))),
        };
        let mut hit = 0;
        for link in &self.links {
            if self.dice.random_range(0..3) == 0 {
                link.set(weather);
                hit += 1;
            }
        }
        self.last = format!("{hit} links are {weather:?}");
        sleep(time).await;
        for link in &self.links {
            link.set(Weather::Fair);
        }
    }

    /// The node that is no member becomes one, and another one ceases to be.
    async fn change_members(&mut self, leaving: usize) {
        let spare = &self.processes.nodes[self.spare];
        self.last = format!("node {} joins", spare.id);
        let params = json!({ "node": spare.id, "peer": spare.peer });
        if !self.ask("cluster.add_node", params).await || leaving == self.spare {
            return;
        }
        // One that has left in part leaves first.
        let leaving = *self.leaving.get_or_insert(leaving);
        let node = self.processes.nodes[leaving].id;
        self.last = format!("{}, and node {node} leaves", self.last);
        if self
            .ask("cluster.remove_node", json!({ "node": node }))
            .await
        {
            self.spare = leaving;
            self.leaving = None;
        }
    }

    /// Asks any node that can do it. Returns whether it was done.
    async fn ask(&mut self, method: &str, params: Json) -> bool {
        for at in 0..self.processes.nodes.len() {
            if at == self.spare {
                continue;
            }
            let address = self.processes.nodes[at].client.clone();
            let mut client = Client::new(address, Duration::from_secs(15));
            if client.call(method, params.clone()).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// Leaves behind the log what a write leaves that was under way when the machine lost its power:
    /// bytes that nobody was ever told of.
    fn tear(&mut self, at: usize) -> Result<(), CheckError> {
        let dir = self.processes.dir(at).join("log");
        let mut files: Vec<_> = fs::read_dir(dir)?
            .filter_map(|file| file.ok().map(|file| file.path()))
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "raftlog")
            })
            .collect();
        files.sort();
        if let Some(last) = files.last() {
            let len = self.dice.random_range(1..4_000);
            let zeros = self.dice.random_range(0..2) == 0;
            let garbage: Vec<u8> = (0..len)
                .map(|_| if zeros { 0 } else { self.dice.random() })
                .collect();
            OpenOptions::new()
                .append(true)
                .open(last)?
                .write_all(&garbage)?;
        }
        Ok(())
    }

    /// Whether all nodes run that should.
    fn look_after(&mut self) -> Result<(), CheckError> {
        for at in 0..self.processes.nodes.len() {
            if let Some(status) = self.processes.ended(at)? {
                let node = self.processes.nodes[at].id;
                let log = fs::read_to_string(self.data.join(format!("{node}.log")));
                let said = log.unwrap_or_default();
                return Err(CheckError::Ended {
                    node,
                    status: status.to_string(),
                    said: said.lines().last().unwrap_or_default().to_owned(),
                });
            }
        }
        Ok(())
    }

    /// No faults any more.
    ///
    /// # Errors
    ///
    /// If a node has ended by itself.
    pub(super) async fn heal(&mut self) -> Result<(), CheckError> {
        for link in &self.links {
            link.set(Weather::Fair);
        }
        self.look_after()
    }

    /// Ends the cluster in order.
    ///
    /// # Errors
    ///
    /// If a node had ended by itself.
    pub(super) async fn stop(&mut self) -> Result<(), CheckError> {
        self.look_after()?;
        self.processes.stop_all().await;
        Ok(())
    }
}
