//! `almadia-store check`: real processes, real faults, and whether clients can tell.
//!
//! Owns a run: a cluster, its clients, its faults, and the judgement. No acknowledged write may be lost,
//! what clients saw of each key must be linearizable, and in the end all members hold the same.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value as Json, json};
use thiserror::Error;
use tokio::time::sleep;

use self::clients::{Records, Worker, key};
use self::faults::Faults;
use self::linearizable::{Event, Operation, Verdict};
use crate::client::{CallError, Client};

mod clients;
mod faults;
mod linearizable;
pub mod proxy;

/// How many clients there are.
const CLIENTS: usize = 8;
/// How long the judgement of one key may take.
const JUDGING: Duration = Duration::from_secs(60);
/// How long a healed cluster may take to come to rest.
const HEALING: Duration = Duration::from_secs(60);

/// What a run has shown to be wrong.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The run itself failed.
    #[error("the check could not be carried out: {0}")]
    Io(#[from] io::Error),
    /// A node has ended by itself.
    #[error("node {node} has ended by itself, {status}; it said: {said}")]
    Ended {
        /// The node.
        node: u64,
        /// How.
        status: String,
        /// The last that it said.
        said: String,
    },
    /// A client was told something that makes no sense.
    #[error("a client was told: {0}")]
    Nonsense(String),
    /// Writes that were acknowledged are not there.
    #[error("{} acknowledged writes are lost, of them {:?}", .0.len(), .0.first())]
    Lost(Vec<String>),
    /// No single copy could have shown what clients saw.
    #[error("what clients saw of key {0} is not linearizable")]
    NotLinearizable(String),
    /// It could not be found out.
    #[error("it took too long to find out whether what clients saw of key {0} is linearizable")]
    Undecided(String),
    /// Members hold different things.
    #[error("nodes {0} and {1} hold different data")]
    Differ(String, String),
    /// The cluster does not come to rest.
    #[error("the cluster does not recover: {0}")]
    Unwell(String),
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Answered operations.
    pub operations: u64,
    /// Faults.
    pub faults: u64,
}

/// What is checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Clusters of these sizes, one after another.
    pub sizes: Vec<u64>,
    /// For how long each.
    pub each: Duration,
    /// From this follows which faults there are.
    pub seed: u64,
    /// How clients read. What is read `stale` is not linearizable: that is how to see that the check
    /// notices.
    pub reads: String,
}

/// Checks what is planned.
///
/// # Errors
///
/// What is wrong.
pub async fn run(data: &Path, plan: &Plan) -> Result<Report, CheckError> {
    let mut report = Report::default();
    for size in &plan.sizes {
        println!(
            "{size} nodes, {} s, seed {}",
            plan.each.as_secs(),
            plan.seed
        );
        let dir = data.join(size.to_string());
        let one = check(&dir, *size, plan).await?;
        report.operations += one.operations;
        report.faults += one.faults;
    }
    Ok(report)
}

async fn check(data: &Path, size: u64, plan: &Plan) -> Result<Report, CheckError> {
    let seed = plan.seed;
    let mut dice = SmallRng::seed_from_u64(seed ^ size);
    let mut faults = Faults::start(
        data,
        size,
        plan.reads == "lease",
        SmallRng::from_rng(&mut dice),
    )
    .await?;
    let nodes = faults.clients();
    let records = Arc::new(Records::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let dice = SmallRng::from_rng(&mut dice);
            let records = Arc::clone(&records);
            let name = format!("client-{number}-{:x}", seed);
            let worker = Worker::new(name, &nodes, &plan.reads, dice, records);
            tokio::spawn(worker.run())
        })
        .collect();
    let deadline = Instant::now() + plan.each;
    let begun = Instant::now();
    while Instant::now() < deadline {
        let fault = Instant::now();
        faults.one(deadline).await?;
        println!(
            "{:6.1} s {:>9} operations; for {:.1} s, {}",
            begun.elapsed().as_secs_f64(),
            records.answered.load(Ordering::Relaxed),
            fault.elapsed().as_secs_f64(),
            faults.last
        );
        if let Some(failed) = clients
            .iter()
            .position(tokio::task::JoinHandle::is_finished)
        {
            let mut clients = clients;
            return Err(nonsense(clients.swap_remove(failed).await));
        }
        sleep(Duration::from_millis(dice.random_range(50..600))).await;
    }
    faults.heal().await?;
    records.is_over.store(true, Ordering::Relaxed);
    for client in clients {
        match client.await {
            Ok(Ok(())) => {}
            result => return Err(nonsense(result)),
        }
    }
    let report = Report {
        operations: records.answered.load(Ordering::Relaxed),
        faults: faults.count,
    };
    judge(&records, &nodes).await?;
    compare(&nodes).await?;
    faults.stop().await?;
    Ok(report)
}

fn nonsense(result: Result<Result<(), String>, tokio::task::JoinError>) -> CheckError {
    CheckError::Nonsense(match result {
        Ok(Ok(())) => "nothing".to_owned(),
        Ok(Err(why)) => why,
        Err(error) => error.to_string(),
    })
}

/// Whether anything is lost, and whether clients saw one copy.
async fn judge(records: &Records, nodes: &[String]) -> Result<(), CheckError> {
    let found = read_all(nodes, "linearizable").await?;
    let once = records.once.lock().clone();
    let is_lost =
        |(key, is_acknowledged): &(String, bool)| *is_acknowledged && !found.contains_key(key);
    let lost: Vec<_> = once
        .into_iter()
        .filter(is_lost)
        .map(|(key, _)| key)
        .collect();
    if !lost.is_empty() {
        return Err(CheckError::Lost(lost));
    }
    for (number, events) in records.events.iter().enumerate() {
        let mut events = events.lock().clone();
        // What is there now was read last of all.
        let latest = |event: &Event| event.ended.unwrap_or(event.began);
        let now = events.iter().map(latest).max().unwrap_or_default() + Duration::from_secs(1);
        let value = found.get(&key(number));
        events.push(Event {
            operation: Operation::Read(value.and_then(|value| value.parse().ok())),
            began: now,
            ended: Some(now),
        });
        match linearizable::check(events, JUDGING) {
            Verdict::Linearizable => {}
            Verdict::Impossible => return Err(CheckError::NotLinearizable(key(number))),
            Verdict::Undecided => return Err(CheckError::Undecided(key(number))),
        }
    }
    Ok(())
}

/// Whether all nodes that hold anything hold the same.
async fn compare(nodes: &[String]) -> Result<(), CheckError> {
    let deadline = Instant::now() + HEALING;
    loop {
        let mut held: Vec<(String, HashMap<String, String>)> = Vec::new();
        for (id, node) in (1..).zip(nodes) {
            if is_member(id, nodes).await {
                let one = [node.clone()];
                held.push((node.clone(), read_all(&one, "stale").await?));
            }
        }
        let differ = held.windows(2).find_map(|pair| {
            let [(one, here), (other, there)] = pair else {
                return None;
            };
            (here != there).then(|| (one.clone(), other.clone()))
        });
        match differ {
            None => return Ok(()),
            Some((one, other)) if Instant::now() > deadline => {
                return Err(CheckError::Differ(one, other));
            }
            Some(_) => sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Whether a node is a member of all regions, as the first node sees it that holds any.
async fn is_member(id: u64, nodes: &[String]) -> bool {
    for node in nodes {
        let mut client = Client::new(node.clone(), Duration::from_secs(5));
        let Ok(status) = client.call("cluster.status", json!({})).await else {
            continue;
        };
        let regions = status["regions"].as_array().cloned().unwrap_or_default();
        let has_it = |region: &Json| {
            let voters = region["voters"].as_array();
            voters.is_some_and(|voters| voters.contains(&json!(id)))
        };
        if !regions.is_empty() {
            return regions.iter().all(has_it);
        }
    }
    false
}

/// Everything, as one of the nodes shows it.
async fn read_all(
    nodes: &[String],
    consistency: &str,
) -> Result<HashMap<String, String>, CheckError> {
    let deadline = Instant::now() + HEALING;
    let mut at = 0;
    let mut found = HashMap::new();
    let mut start = json!("");
    loop {
        let mut client = Client::new(nodes[at].clone(), Duration::from_secs(10));
        let params = json!({ "start": start, "limit": 5_000, "consistency": consistency });
        match client.call("scan", params).await {
            Ok(mut answer) => {
                let pairs = answer["pairs"].as_array().cloned().unwrap_or_default();
                let text = |text: &Json| text.as_str().unwrap_or_default().to_owned();
                found.extend(
                    pairs
                        .iter()
                        .map(|pair| (text(&pair["key"]), text(&pair["value"]))),
                );
                start = answer["next"].take();
                if start.is_null() {
                    return Ok(found);
                }
            }
            Err(CallError::Unanswered(..) | CallError::Refused { code: -32000, .. })
                if Instant::now() < deadline =>
            {
                at = (at + 1) % nodes.len();
                sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(CheckError::Unwell(error.to_string())),
        }
    }
}
