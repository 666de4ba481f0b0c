//! Clients that write and read, and remember what they saw.
//!
//! Owns the operations and their history. A client that gets no answer asks again, of another node, with
//! the same number, until it has one. Must not know which faults there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::linearizable::{Event, Operation, Value};
use crate::client::{CallError, Client};

/// So many keys are written again and again.
pub(super) const KEYS: usize = 12;

// What the codes of refusals mean.
const NOT_DONE: i64 = -32000;
const UNKNOWN: i64 = -32001;
const NO_ROOM: i64 = -32004;

/// What all clients saw.
pub(super) struct Records {
    begun: Instant,
    /// By key.
    pub(super) events: Vec<Mutex<Vec<Event>>>,
    /// Keys that were written once, and whether that was acknowledged.
    pub(super) once: Mutex<Vec<(String, bool)>>,
    next: AtomicU64,
    /// How many operations were answered.
    pub(super) answered: AtomicU64,
    /// The clients are to stop.
    pub(super) is_over: AtomicBool,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            events: (0..KEYS).map(|_| Mutex::default()).collect(),
            once: Mutex::default(),
            next: AtomicU64::new(1),
            answered: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }
}

/// The name of a key; they are spread, so that divisions part them.
#[must_use]
pub(super) fn key(number: usize) -> String {
    format!("{:02}", number * 100 / KEYS)
}

/// A client.
pub(super) struct Worker {
    name: String,
    sequence: u64,
    nodes: Vec<Client>,
    at: usize,
    /// How it reads.
    reads: String,
    dice: SmallRng,
    records: Arc<Records>,
    /// What it saw last of each key.
    seen: [Value; KEYS],
}

enum Answer {
    Is(Json),
    Never,
}

impl Worker {
    /// A client of these nodes.
    #[must_use]
    pub(super) fn new(
        name: String,
        nodes: &[String],
        reads: &str,
        dice: SmallRng,
        records: Arc<Records>,
    ) -> Self {
        let patience = Duration::from_secs(7);
        let nodes: Vec<_> = nodes
            .iter()
            .map(|node| Client::new(node.clone(), patience))
            .collect();
        Self {
            at: name.len() % nodes.len(),
            name,
            sequence: 0,
            nodes,
            reads: reads.to_owned(),
            dice,
            records,
            seen: [None; KEYS],
        }
    }

    /// Works until it is over.
    ///
    /// # Errors
    ///
    /// What it was told that makes no sense.
    pub(super) async fn run(mut self) -> Result<(), String> {
        self.at = self.dice.random_range(0..self.nodes.len());
        while !self.records.is_over.load(Ordering::Relaxed) {
            if self.dice.random_range(0..4) == 0 {
                self.write_once().await?;
            } else if self.dice.random_range(0..8) == 0 {
                let number = self.dice.random_range(0..KEYS);
                self.write_unnumbered(number).await?;
            } else {
                let number = self.dice.random_range(0..KEYS);
                self.operate(number).await?;
            }
        }
        Ok(())
    }

    async fn write_once(&mut self) -> Result<(), String> {
        let number = self.records.next.fetch_add(1, Ordering::Relaxed);
        let key = format!("{:02}-once-{number}", number % 100);
        self.sequence += 1;
        let params = json!({
            "key": key, "value": number.to_string(), "client": self.name, "sequence": self.sequence,
        });
        let answer = self.ask("put", &params).await?;
        let is_acknowledged = matches!(answer, Answer::Is(_));
        self.records.once.lock().push((key, is_acknowledged));
        Ok(())
    }

    /// A write that is not sent again. If the answer is that it was not done, nobody may ever read it.
    async fn write_unnumbered(&mut self, number: usize) -> Result<(), String> {
        let began = self.records.begun.elapsed();
        let new = Some(self.records.next.fetch_add(1, Ordering::Relaxed));
        let params = json!({ "key": key(number), "value": text(new) });
        let ended = match self.nodes[self.at].call("put", params.clone()).await {
            Ok(_) => {
                self.records.answered.fetch_add(1, Ordering::Relaxed);
                self.seen[number] = new;
                Some(self.records.begun.elapsed())
            }
            Err(CallError::Refused {
                code: NOT_DONE | NO_ROOM,
                ..
            }) => return Ok(()),
            Err(CallError::Unanswered(..) | CallError::Refused { code: UNKNOWN, .. }) => None,
            Err(error) => return Err(format!("put {params}: {error}")),
        };
        self.records.events[number].lock().push(Event {
            operation: Operation::Write(new),
            began,
            ended,
        });
        Ok(())
    }

    /// One operation on one of the keys.
    async fn operate(&mut self, number: usize) -> Result<(), String> {
        let began = self.records.begun.elapsed();
        let new = Some(self.records.next.fetch_add(1, Ordering::Relaxed));
        let key = key(number);
        let kind = self.dice.random_range(0..10);
        // How it is remembered if nobody ever answers.
        let (answer, unanswered) = match kind {
            0..=3 => (
                self.ask("get", &json!({ "key": key, "consistency": self.reads }))
                    .await?,
                None,
            ),
            4..=6 => {
                let params = json!({ "key": key, "value": text(new) });
                (
                    self.write("put", params).await?,
                    Some(Operation::Write(new)),
                )
            }
            7..=8 => {
                let expected = self.seen[number];
                let params = json!({ "key": key, "expected": text(expected), "value": text(new) });
                let swap = Operation::Swap(expected, new);
                (self.write("cas", params).await?, Some(swap))
            }
            _ => {
                let answer = self.write("delete", json!({ "key": key })).await?;
                (answer, Some(Operation::Write(None)))
            }
        };
        let ended = Some(self.records.begun.elapsed());
        let event = match (answer, unanswered) {
            (Answer::Never, None) => return Ok(()),
            (Answer::Never, Some(operation)) => Event {
                operation,
                began,
                ended: None,
            },
            (Answer::Is(answer), operation) => {
                let operation = match operation {
                    None => Operation::Read(number_in(&answer["value"])?),
                    Some(Operation::Swap(expected, _)) if answer["done"] == json!(false) => {
                        Operation::NoSwap(expected, number_in(&answer["current"])?)
                    }
                    Some(operation) => operation,
                };
                Event {
                    operation,
                    began,
                    ended,
                }
            }
        };
        if event.ended.is_some() {
            self.seen[number] = match event.operation {
                Operation::Read(value)
                | Operation::Write(value)
                | Operation::Swap(_, value)
                | Operation::NoSwap(_, value) => value,
            };
        }
        self.records.events[number].lock().push(event);
        Ok(())
    }

    async fn write(&mut self, method: &str, mut params: Json) -> Result<Answer, String> {
        self.sequence += 1;
        params["client"] = json!(self.name);
        params["sequence"] = json!(self.sequence);
        self.ask(method, &params).await
    }

    /// Asks until there is an answer, or it has been over for long.
    async fn ask(&mut self, method: &str, params: &Json) -> Result<Answer, String> {
        let mut since_over = None;
        loop {
            let answer = self.nodes[self.at].call(method, params.clone()).await;
            match answer {
                Ok(answer) => {
                    self.records.answered.fetch_add(1, Ordering::Relaxed);
                    return Ok(Answer::Is(answer));
                }
                Err(CallError::Unanswered(..))
                | Err(CallError::Refused {
                    code: NOT_DONE | UNKNOWN | NO_ROOM,
                    ..
                }) => {}
                Err(error) => return Err(format!("{method} {params}: {error}")),
            }
            if self.records.is_over.load(Ordering::Relaxed) {
                let since = *since_over.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_secs(30) {
                    return Ok(Answer::Never);
                }
            }
            self.at = self.dice.random_range(0..self.nodes.len());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn text(value: Value) -> Option<String> {
    value.map(|value| value.to_string())
}

fn number_in(value: &Json) -> Result<Value, String> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) => text
            .parse()
            .map(Some)
            .map_err(|_| format!("{text:?} was never written")),
        Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            Err(format!("{value} was never written"))
        }
    }
}
