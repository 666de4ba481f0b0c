//! Durable appends to the log: raft-engine, as the store uses it, beside redb.
//!
//! One write with one fsync for each repetition, of so many entries of 150 bytes; in alternating rounds,
//! on the disk of the system's temporary files, or of the directory that is given.
//!
//! ```sh
//! cargo bench -p almadia-store --bench log -- [DIRECTORY]
//! ```

use std::path::Path;
use std::time::{Duration, Instant};

use almadia::{Entries, Entry, HardState, LogId, LogIndex, Payload, Term};
use almadia_proto::Encode as _;
use almadia_store::log::{Log, RegionWrite};
use almadia_store::region::RegionId;
use redb::{Database, TableDefinition};

const ENTRIES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("entries");
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);
/// So many entries are kept, in both.
const KEPT: u64 = 20_000;

/// Appends durably.
type Append<'a> = Box<dyn FnMut(&[Entry]) + 'a>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let dir = match given {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    println!(
        "{:>8} {:>16} {:>16} {:>9}",
        "entries", "raft-engine", "redb", "ratio"
    );
    for at_once in [1, 16, 64, 256] {
        let mut sides = [
            by_engine(&dir.path().join(format!("engine-{at_once}")))?,
            by_redb(&dir.path().join(format!("redb-{at_once}")))?,
        ];
        let mut next = [1_u64; 2];
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (side, append) in sides.iter_mut().enumerate() {
                times[side].push(round(append, &mut next[side], at_once));
            }
        }
        let [engine, redb] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        println!(
            "{at_once:>8} {engine:>13.0} us {redb:>13.0} us {:>9.1}",
            redb / engine
        );
    }
    Ok(())
}

/// Microseconds for a write.
fn round(append: &mut Append<'_>, next: &mut u64, at_once: u64) -> f64 {
    let begun = Instant::now();
    let mut writes = 0_u32;
    while begun.elapsed() < ROUND {
        let entries: Vec<_> = (*next..*next + at_once)
            .map(|index| Entry {
                id: LogId::new(1, index),
                payload: Payload::Data(vec![b'x'; 150].into()),
                context: Default::default(),
            })
            .collect();
        append(&entries);
        *next += at_once;
        writes += 1;
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(writes)
}

fn by_engine(dir: &Path) -> Result<Append<'static>, Box<dyn std::error::Error>> {
    let log = Log::open(dir)?;
    let region = RegionId::FIRST;
    let mut cut = 0;
    Ok(Box::new(move |entries| {
        let last = entries.last().map_or(0, |last| last.id.index.0);
        let mut write = log.write();
        let hard_state = HardState {
            current_term: Term(1),
            voted_for: None,
            commit_index: LogIndex(last),
        };
        let region_write = RegionWrite {
            entries: vec![Entries::from(entries.to_vec())],
            ..RegionWrite::of(hard_state)
        };
        write
            .put(region, &region_write)
            .expect("it is not too large");
        if last > cut + 2 * KEPT {
            cut = last - KEPT;
            write
                .cut(region, LogId::new(1, cut))
                .expect("it is not too large");
        }
        write.commit().expect("the disk works");
    }))
}

fn by_redb(path: &Path) -> Result<Append<'static>, Box<dyn std::error::Error>> {
    let db = Database::create(path)?;
    let mut cut = 0;
    Ok(Box::new(move |entries| {
        let last = entries.last().map_or(0, |last| last.id.index.0);
        let txn = db.begin_write().expect("the disk works");
        let mut table = txn.open_table(ENTRIES).expect("the disk works");
        for entry in entries {
            let key = (1, entry.id.index.0);
            let bytes = entry.encode();
            table.insert(key, bytes.as_ref()).expect("the disk works");
        }
        if last > cut + 2 * KEPT {
            cut = last - KEPT;
            table
                .retain_in((1, 0)..(1, cut), |_, _| false)
                .expect("the disk works");
        }
        drop(table);
        txn.commit().expect("the disk works");
    }))
}
