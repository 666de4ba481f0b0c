//! `almadia-store bench`: what a cluster does under load, beside etcd where that is installed.
//!
//! Owns the load and the figures. Both sides are given the same one by the same client, in alternating
//! rounds: three nodes, fsync on, keys spread over the same range, all connections to the leader.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::client::Client;
use crate::processes::{Processes, free_address};

/// The load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many connections.
    pub clients: usize,
    /// The bytes of a value.
    pub value_size: usize,
    /// How long each round lasts.
    pub round: Duration,
    /// How many rounds each side has.
    pub rounds: usize,
}

/// What a round has shown.
#[derive(Clone, Debug)]
struct Figures {
    per_second: f64,
    /// In seconds: of half, of all but a tenth, of all but a hundredth.
    percentiles: [f64; 3],
    errors: u64,
}

/// One of the sides.
struct Side {
    name: &'static str,
    address: String,
    path: &'static str,
    body: fn(u64, &str) -> Value,
    rounds: Vec<Figures>,
}

/// So many keys are written.
const KEYS: u64 = 100_000;

/// Runs the load and prints what comes of it.
///
/// # Errors
///
/// If a cluster cannot be started.
pub async fn run(data: &Path, load: Load) -> io::Result<()> {
    let mut cluster = Processes::local(&data.join("almadia"), 3, None, Vec::new())?;
    cluster.start_all().await?;
    let leader = leader_of(&cluster).await?;
    let mut sides = vec![Side {
        name: "almadia-store",
        address: leader,
        path: "/rpc",
        body: |key, value| {
            let params = json!({ "key": format!("key-{key:08}"), "value": value });
            json!({ "jsonrpc": "2.0", "id": 1, "method": "put", "params": params })
        },
        rounds: Vec::new(),
    }];
    let etcd = Etcd::start(&data.join("etcd")).await?;
    match &etcd {
        Some(etcd) => sides.push(Side {
            name: "etcd",
            address: etcd.leader.clone(),
            path: "/v3/kv/put",
            body: |key, value| {
                let key = BASE64.encode(format!("key-{key:08}"));
                json!({ "key": key, "value": BASE64.encode(value) })
            },
            rounds: Vec::new(),
        }),
        None => println!("skipped: etcd is not installed (Debian: etcd-server)"),
    }
    println!(
        "{} connections, values of {} bytes, rounds of {} s",
        load.clients,
        load.value_size,
        load.round.as_secs()
    );
    println!(
        "{:<14} {:>10} {:>9} {:>9} {:>9} {:>7}",
        "", "writes/s", "50 %", "90 %", "99 %", "errors"
    );
    for _ in 0..load.rounds {
        for side in &mut sides {
            let figures = round(side, load).await;
            show(side.name, &figures);
            side.rounds.push(figures);
        }
    }
    println!("medians:");
    for side in &sides {
        show(side.name, &median(&side.rounds));
    }
    if let [ours, theirs] = sides.as_slice() {
        let (ours, theirs) = (median(&ours.rounds), median(&theirs.rounds));
        println!("RATIO writes {:.2}", ours.per_second / theirs.per_second);
    }
    cluster.stop_all().await;
    Ok(())
}

fn show(name: &str, figures: &Figures) {
    let [half, most, nearly_all] = figures.percentiles.map(|time| time * 1e3);
    println!(
        "{name:<14} {:>10.0} {half:>6.2} ms {most:>6.2} ms {nearly_all:>6.2} ms {:>7}",
        figures.per_second, figures.errors
    );
}

fn median(rounds: &[Figures]) -> Figures {
    let mut rounds = rounds.to_vec();
    rounds.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    let middle = rounds.len() / 2;
    rounds.swap_remove(middle)
}

/// Where the node listens that leads the first region.
async fn leader_of(cluster: &Processes) -> io::Result<String> {
    for _ in 0..200 {
        let mut client = Client::new(cluster.nodes[0].client.clone(), Duration::from_secs(5));
        let status = client.call("cluster.status", json!({})).await;
        let leader = status
            .ok()
            .and_then(|status| status["regions"][0]["leader"].as_u64());
        if let Some(node) = cluster.nodes.iter().find(|node| Some(node.id) == leader) {
            return Ok(node.client.clone());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(io::Error::other("nobody leads"))
}

async fn round(side: &Side, load: Load) -> Figures {
    let is_over = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let clients: Vec<_> = (0..load.clients)
        .map(|_| {
            let mut client = Client::new(side.address.clone(), Duration::from_secs(20));
            let (is_over, next) = (Arc::clone(&is_over), Arc::clone(&next));
            let (path, body) = (side.path, side.body);
            let value = "v".repeat(load.value_size);
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut errors = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // Spread over the range, not one after another.
                    let key = number.wrapping_mul(2_654_435_761) % KEYS;
                    let body = body(key, &value).to_string();
                    let asked = Instant::now();
                    let answer = client.post(path, body.into()).await;
                    if answer.is_ok_and(|answer| is_good(&answer)) {
                        times.push(asked.elapsed().as_secs_f64());
                    } else {
                        errors += 1;
                    }
                }
                (times, errors)
            })
        })
        .collect();
    sleep(load.round).await;
    is_over.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    let mut errors = 0;
    for client in clients {
        if let Ok((more, failed)) = client.await {
            times.extend(more);
            errors += failed;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let percentile = |part: usize| {
        let at = times.len().saturating_sub(1) * part / 100;
        times.get(at).copied().unwrap_or_default()
    };
    Figures {
        per_second: times.len() as f64 / seconds,
        percentiles: [50, 90, 99].map(percentile),
        errors,
    }
}

fn is_good(answer: &[u8]) -> bool {
    serde_json::from_slice::<Value>(answer).is_ok_and(|answer| answer.get("error").is_none())
}

/// A cluster of three etcd processes on this machine.
struct Etcd {
    leader: String,
    children: Vec<Child>,
}

impl Etcd {
    /// Starts it; `None` if etcd is not installed.
    async fn start(data: &Path) -> io::Result<Option<Self>> {
        let mut members = Vec::new();
        for id in 1..=3 {
            members.push((format!("n{id}"), free_address()?, free_address()?));
        }
        let cluster: Vec<_> = members
            .iter()
            .map(|(name, _, peer)| format!("{name}=http://{peer}"))
            .collect();
        let cluster = cluster.join(",");
        let mut etcd = Self {
            leader: String::new(),
            children: Vec::new(),
        };
        for (name, client, peer) in &members {
            let child = Command::new("etcd")
                .args(["--name", name, "--data-dir"])
                .arg(data.join(name))
                .arg(format!("--listen-client-urls=http://{client}"))
                .arg(format!("--advertise-client-urls=http://{client}"))
                .arg(format!("--listen-peer-urls=http://{peer}"))
                .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
                .arg(format!("--initial-cluster={cluster}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            match child {
                Ok(child) => etcd.children.push(child),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        for _ in 0..300 {
            sleep(Duration::from_millis(100)).await;
            for (_, address, _) in &members {
                let mut client = Client::new(address.clone(), Duration::from_secs(2));
                let status = client.post("/v3/maintenance/status", "{}".into()).await;
                let Some(status) = status
                    .ok()
                    .and_then(|status| serde_json::from_slice::<Value>(&status).ok())
                else {
                    continue;
                };
                let leader = &status["leader"];
                if leader.is_string() && *leader == status["header"]["member_id"] {
                    etcd.leader.clone_from(address);
                    return Ok(Some(etcd));
                }
            }
        }
        Err(io::Error::other("etcd has not elected a leader"))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
