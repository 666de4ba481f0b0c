//! How a status looks in a terminal.
//!
//! Owns what is read of it and how that is laid out. Asks nobody, and prints nothing itself.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

/// The most characters of a key that are shown.
const MAX_KEY: usize = 28;

/// What `cluster.status` answers.
#[derive(Deserialize)]
pub(super) struct Status {
    node: u64,
    uptime_seconds: f64,
    nodes: BTreeMap<u64, Node>,
    regions: Vec<Region>,
}

#[derive(Deserialize)]
struct Node {
    peer: String,
    client: String,
    reachable: bool,
}

#[derive(Deserialize)]
struct Region {
    region: u64,
    start: String,
    end: Option<String>,
    role: String,
    leader: Option<u64>,
    term: u64,
    last: u64,
    committed: u64,
    applied: u64,
    uncommitted: u64,
    unapplied: u64,
    asleep: bool,
    voters: Vec<u64>,
    learners: Vec<u64>,
    matched: Vec<Matched>,
}

#[derive(Deserialize)]
struct Matched {
    node: u64,
    index: Option<u64>,
}

impl Region {
    /// The members, and how far each of them is behind.
    fn members(&self) -> String {
        let learners = self.learners.iter().map(|id| (id, "(learner)"));
        let all = self.voters.iter().map(|id| (id, "")).chain(learners);
        let members = all.map(|(id, kind)| {
            let matched = self.matched.iter().find(|matched| matched.node == *id);
            let late = matched
                .and_then(|matched| matched.index)
                .map(|index| self.last.saturating_sub(index));
            let how = match late {
                _ if self.leader == Some(*id) => "leads".to_owned(),
                Some(0) => "ok".to_owned(),
                Some(late) => format!("-{late}"),
                None => "?".to_owned(),
            };
            format!("{id}{kind}:{how}")
        });
        members.collect::<Vec<_>>().join(" ")
    }

    fn keys(&self) -> String {
        let start = shorten(&self.start);
        let end = self.end.as_deref().map(shorten).unwrap_or_default();
        format!("[{start} .. {end})")
    }
}

/// What was seen before: from it follows how fast entries are applied.
#[derive(Default)]
pub(super) struct Seen {
    node: u64,
    uptime: f64,
    applied: HashMap<u64, u64>,
}

impl Seen {
    /// The lines to print, of what the node at this address says.
    pub(super) fn lines(&mut self, address: &str, status: &Status) -> Vec<String> {
        let seconds = status.uptime_seconds - self.uptime;
        let is_same = self.node == status.node && seconds > 0.0;
        let rate = |region: &Region| {
            let before = self.applied.get(&region.region).filter(|_| is_same)?;
            Some(region.applied.saturating_sub(*before) as f64 / seconds)
        };
        let mut lines = vec![
            format!(
                "node {} at {address}, up {}",
                status.node,
                age(status.uptime_seconds)
            ),
            String::new(),
        ];
        lines.extend(nodes(status));
        lines.push(String::new());
        lines.extend(regions(status, rate));
        let applied = status.regions.iter();
        self.applied = applied.map(|each| (each.region, each.applied)).collect();
        self.node = status.node;
        self.uptime = status.uptime_seconds;
        lines
    }
}

fn nodes(status: &Status) -> Vec<String> {
    let head = ["NODE", "STATE", "LEADS", "FOR PEERS", "FOR CLIENTS"];
    let rows = status.nodes.iter().map(|(id, node)| {
        let led = status.regions.iter();
        let led = led.filter(|region| region.leader == Some(*id)).count();
        let state = match node.reachable {
            _ if *id == status.node => "this one",
            true => "reachable",
            false => "OUT OF REACH",
        };
        [
            id.to_string(),
            state.to_owned(),
            led.to_string(),
            printable(&node.peer),
            printable(&node.client),
        ]
    });
    table(head, rows)
}

fn regions(status: &Status, rate: impl Fn(&Region) -> Option<f64>) -> Vec<String> {
    let head = [
        "REGION",
        "KEYS",
        "LEADER",
        "TERM",
        "HERE",
        "COMMITTED",
        "OPEN",
        "PER SECOND",
        "MEMBERS, AND HOW FAR BEHIND",
    ];
    let rows = status.regions.iter().map(|region| {
        let sleeps = if region.asleep { ", asleep" } else { "" };
        let leader = region.leader.map(|leader| leader.to_string());
        [
            region.region.to_string(),
            region.keys(),
            leader.unwrap_or_else(|| "NONE".to_owned()),
            region.term.to_string(),
            format!("{}{sleeps}", printable(&region.role).to_lowercase()),
            region.committed.to_string(),
            (region.uncommitted + region.unapplied).to_string(),
            rate(region).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
            region.members(),
        ]
    });
    table(head, rows)
}

/// Columns, each as wide as it has to be.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Vec<String> {
    let mut all = vec![head.map(str::to_owned)];
    all.extend(rows);
    let width = |at: usize| all.iter().map(|row| row[at].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|at| width(at).unwrap_or_default());
    let lines = all.iter().map(|row| {
        let cells = row.iter().zip(widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line.join("  ").trim_end().to_owned()
    });
    lines.collect()
}

fn age(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        (_, _, _) => format!("{days} d {} h", hours % 24),
    }
}

/// The text, with nothing in it that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars() {
        if char.is_control() {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

fn shorten(key: &str) -> String {
    let key = printable(key);
    match key.char_indices().nth(MAX_KEY) {
        Some((at, _)) => format!("{}…", &key[..at]),
        None => key,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Seen, Status, age, printable, shorten};

    fn status(uptime: f64, applied: u64) -> Status {
        let status = json!({
            "node": 1,
            "uptime_seconds": uptime,
            "nodes": {
                "1": { "peer": "a:1", "client": "", "reachable": true },
                "2": { "peer": "b:1", "client": "b:2", "reachable": false },
            },
            "regions": [{
                "region": 1, "start": "", "end": "m\u{1b}[2J", "role": "Leader", "leader": 1,
                "term": 3, "last": 20, "committed": 18, "applied": applied, "uncommitted": 2,
                "unapplied": 1, "asleep": false, "voters": [1, 2], "learners": [3],
                "matched": [{ "node": 2, "index": 15 }, { "node": 3, "index": null }],
            }],
        });
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn a_status_is_a_table() {
        let mut seen = Seen::default();
        let lines = seen.lines("a:2", &status(61.0, 17));
        assert_eq!(lines[0], "node 1 at a:2, up 1 min 1 s");
        assert!(lines[3].contains("this one"), "{lines:?}");
        assert!(lines[4].contains("OUT OF REACH"), "{lines:?}");
        let region = lines.last().expect("a line");
        assert!(region.contains("[ .. m\\u{1b}[2J)"), "{region}");
        assert!(region.contains("1:leads 2:-5 3(learner):?"), "{region}");
        assert!(region.contains(" -  "), "no rate yet: {region}");
        let lines = seen.lines("a:2", &status(63.0, 117));
        let region = lines.last().expect("a line");
        assert!(region.contains(" 50  "), "{region}");
    }

    #[test]
    fn texts_are_fit_for_a_terminal() {
        assert_eq!(printable("a\tb\u{7}ä"), "a\\tb\\u{7}ä");
        assert_eq!(shorten(&"ä".repeat(29)), format!("{}…", "ä".repeat(28)));
        assert_eq!(age(59.9), "59 s");
        assert_eq!(age(3_700.0), "1 h 1 min");
        assert_eq!(age(90_000.0), "1 d 1 h");
    }
}
