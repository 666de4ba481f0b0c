//! What clients want, brought to whom it concerns.
//!
//! Owns the way of a request: which region, who leads it, whether it may be tried again. Knows neither
//! HTTP nor a Raft node.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use almadia::{MembershipChange, NodeId};
use almadia_proto::Encode;
use bytes::Bytes;
use parking_lot::RwLockReadGuard;
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use crate::command::{Command, Outcome, Session, Write};
use crate::disk::Disk;
use crate::kv::Layers;
use crate::raft::{Input, Refusal, Reply, Request};
use crate::region::{KeyRange, RegionId};
use crate::routes::{Route, Routes};
use crate::state::{Pair, State, StateError, View};
use crate::transport::{Lost, PeerRequest, PeerResponse, Transport};

mod operating;

/// For so long a request is tried.
const PATIENCE: Duration = Duration::from_secs(5);
/// For so long one attempt is waited for, where another one does no harm.
const ATTEMPT: Duration = Duration::from_millis(1_500);
/// After so long it is looked again whether anybody leads.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest key, in bytes.
pub const MAX_KEY: usize = 4 << 10;
/// The longest value, in bytes; also of all that one batch writes.
pub const MAX_VALUE: usize = 1 << 20;
/// The most bytes that a scan answers with, but for the last value.
const MAX_SCAN: usize = 4 << 20;

/// Why a request was not answered.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// It asks for something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It was not done.
    #[error("not done: {0}; try again")]
    Unavailable(String),
    /// It may be done or not.
    #[error(
        "it is not known whether this was done: {0}; read before you write again, or number your \
         writes (`client` and `sequence`): then sending one again is safe"
    )]
    OutcomeUnknown(String),
    /// It was not done, as a disk is full.
    #[error("not done: {0}")]
    Full(String),
    /// The state machine cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// How fresh a read has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// It shows everything that was done before it was asked for.
    #[default]
    Linearizable,
    /// The same, as long as clocks run evenly.
    Lease,
    /// It shows what this node has applied.
    Stale,
}

/// Brings requests to whom they concern.
pub struct Service {
    /// This node.
    pub me: NodeId,
    /// The regions here.
    pub routes: Arc<Routes>,
    /// The other nodes.
    pub transport: Arc<Transport>,
    /// The Raft thread.
    pub inputs: Sender<Input>,
    /// What is applied.
    pub state: Arc<State>,
    /// How much room is left.
    pub disk: Arc<Disk>,
}

/// What is wanted of whoever leads a region.
enum Wanted {
    Command(Bytes),
    Change(MembershipChange),
    Transfer(NodeId),
}

impl Wanted {
    fn here(&self) -> Request {
        match self {
            Self::Command(command) => Request::Propose(command.clone()),
            Self::Change(change) => Request::Change(change.clone()),
            Self::Transfer(to) => Request::Transfer(*to),
        }
    }

    fn elsewhere(&self, region: RegionId) -> PeerRequest {
        match self {
            Self::Command(command) => PeerRequest::Propose(region, command.to_vec()),
            Self::Change(change) => PeerRequest::Change(region, change.encode().to_vec()),
            Self::Transfer(to) => PeerRequest::Transfer(region, to.get()),
        }
    }
}

impl Service {
    /// Changes the data.
    ///
    /// # Errors
    ///
    /// If it was not done, or that is not known.
    pub async fn write(
        &self,
        session: Option<Session>,
        writes: Vec<Write>,
    ) -> Result<Outcome, ServiceError> {
        check_size(&writes)?;
        let first = writes.first();
        let first = first.ok_or_else(|| invalid("a batch has at least one write"))?;
        let key = first.key().to_vec();
        if let Some(route) = self.routes.of(&key)
            && !writes.iter().all(|write| route.range.contains(write.key()))
        {
            return Err(invalid(
                "the keys of a batch belong to one region; `cluster.status` shows where regions end",
            ));
        }
        let may_repeat = session.is_some();
        let command = Command::Write { session, writes }.encode();
        let find = || self.routes.of(&key);
        self.have_done(find, &Wanted::Command(command.into()), may_repeat)
            .await
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// If nobody could be found who may answer.
    pub async fn get(
        &self,
        key: &[u8],
        consistency: Consistency,
    ) -> Result<Option<Vec<u8>>, ServiceError> {
        self.read(key, consistency, |view, _| view.get(key)).await
    }

    /// Reads the keys of a range, `limit` at most, and tells where to go on; each region as of one
    /// moment.
    ///
    /// # Errors
    ///
    /// If nobody could be found who may answer.
    pub async fn scan(
        &self,
        mut range: KeyRange,
        limit: usize,
        consistency: Consistency,
    ) -> Result<(Vec<Pair>, Option<Vec<u8>>), ServiceError> {
        let mut found: Vec<Pair> = Vec::new();
        let mut bytes = 0;
        loop {
            let left = limit - found.len();
            let start = range.start.clone();
            let (part, next) = self
                .read(&start, consistency, |view, here| {
                    let end = match (&range.end, &here.end) {
                        (Some(one), Some(other)) => Some(one.min(other).clone()),
                        (one, other) => one.as_ref().or(other.as_ref()).cloned(),
                    };
                    let part = KeyRange {
                        start: start.clone(),
                        end,
                    };
                    let scan = || view.scan(&part, left, MAX_SCAN - bytes);
                    let (pairs, is_more) = tokio::task::block_in_place(scan)?;
                    let next = if is_more {
                        pairs.last().map(|(key, _)| [key.as_slice(), &[0]].concat())
                    } else {
                        part.end.filter(|end| Some(end) != range.end.as_ref())
                    };
                    Ok((pairs, next))
                })
                .await?;
            bytes += part
                .iter()
                .map(|(key, value)| key.len() + value.len())
                .sum::<usize>();
            found.extend(part);
            match next {
                Some(next) if found.len() < limit && bytes < MAX_SCAN => range.start = next,
                next => return Ok((found, next)),
            }
        }
    }

    async fn read<T>(
        &self,
        key: &[u8],
        consistency: Consistency,
        look: impl Fn(&View<RwLockReadGuard<'_, Layers>>, &KeyRange) -> Result<T, StateError>,
    ) -> Result<T, ServiceError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let why = match self.routes.of(key) {
                Some(route) => match self.barrier(route.region, consistency, deadline).await {
                    Ok(()) => {
                        let view = self.state.view();
                        let region = view.region(route.region)?;
                        match region.filter(|region| region.range.contains(key)) {
                            Some(region) => return Ok(look(&view, &region.range)?),
                            None => "the region has been divided".to_owned(),
                        }
                    }
                    Err(refusal) => refusal.to_string(),
                },
                None => "this node holds no region with the key (yet)".to_owned(),
            };
            self.pause(deadline, why).await?;
        }
    }

    /// Waits until what is applied here shows everything that was done before.
    async fn barrier(
        &self,
        region: RegionId,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        tracing::Span::current().record("region", region.0);
        let by_lease = match consistency {
            Consistency::Stale => return Ok(()),
            Consistency::Lease => true,
            Consistency::Linearizable => false,
        };
        let deadline = deadline.min(Instant::now() + ATTEMPT);
        let asked = self.ask_here(region, Request::Read { by_lease });
        match timeout_at(deadline, asked).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(Refusal::NotNow("no leader has answered".to_owned())),
        }
    }

    async fn ask_here(&self, region: RegionId, request: Request) -> Result<Outcome, Refusal> {
        if let (Request::Propose(_), Some(why)) = (&request, self.disk.full()) {
            return Err(Refusal::Full(why));
        }
        let (reply, ended) = Reply::new();
        drop(self.inputs.send(Input::Request(region, request, reply)));
        ended.await.unwrap_or(Err(Refusal::Unknown))
    }

    /// Waits until it may be worth another attempt.
    async fn pause(&self, deadline: Instant, why: String) -> Result<(), ServiceError> {
        // Who holds no region gets none by waiting for a moment.
        if Instant::now() + PAUSE >= deadline || self.routes.all().is_empty() {
            return Err(ServiceError::Unavailable(why));
        }
        // Whether something has changed or not, it is looked again.
        drop(timeout(PAUSE, self.routes.changed()).await);
        Ok(())
    }

    /// Has whoever leads the region do something.
    async fn have_done(
        &self,
        find: impl Fn() -> Option<Route>,
        wanted: &Wanted,
        may_repeat: bool,
    ) -> Result<Outcome, ServiceError> {
        let deadline = Instant::now() + PATIENCE;
        let mut hint = None;
        let mut may_be_done = false;
        loop {
            let route = find();
            let leader = hint
                .take()
                .or_else(|| route.as_ref().and_then(|route| route.leader));
            let result = match (&route, leader) {
                (Some(route), Some(leader)) => {
                    let end = if may_repeat {
                        deadline.min(Instant::now() + ATTEMPT)
                    } else {
                        deadline
                    };
                    let asked = self.ask(route.region, leader, wanted);
                    timeout_at(end, asked)
                        .await
                        .unwrap_or(Err(Refusal::Unknown))
                }
                (Some(_), None) => Err(Refusal::NotLeader(None)),
                (None, _) => Err(Refusal::NoRegion),
            };
            let why = match result {
                Ok(Outcome::OutsideOfRegion) => "the region has been divided".to_owned(),
                // It is not known any more whether the attempt before was done.
                Ok(Outcome::UnknownClient) if may_be_done => {
                    return Err(ServiceError::OutcomeUnknown("it was long ago".to_owned()));
                }
                Ok(outcome) => return Ok(outcome),
                Err(Refusal::NotLeader(leader)) => {
                    hint = leader.and_then(NodeId::new);
                    "nobody is known to lead the region".to_owned()
                }
                Err(Refusal::Full(why)) if !may_be_done => return Err(ServiceError::Full(why)),
                Err(Refusal::Impossible(why)) => return Err(ServiceError::Invalid(why)),
                Err(Refusal::Unknown) => {
                    if !may_repeat {
                        return Err(ServiceError::OutcomeUnknown(
                            "its leader is gone".to_owned(),
                        ));
                    }
                    may_be_done = true;
                    Refusal::Unknown.to_string()
                }
                Err(refusal @ (Refusal::NotNow(_) | Refusal::NoRegion | Refusal::Full(_))) => {
                    refusal.to_string()
                }
            };
            let paused = self.pause(deadline, why.clone()).await;
            if may_be_done && paused.is_err() {
                return Err(ServiceError::OutcomeUnknown(why));
            }
            paused?;
        }
    }

    async fn ask(
        &self,
        region: RegionId,
        leader: NodeId,
        wanted: &Wanted,
    ) -> Result<Outcome, Refusal> {
        tracing::Span::current().record("region", region.0);
        if leader == self.me {
            return self.ask_here(region, wanted.here()).await;
        }
        match self
            .transport
            .request(leader, wanted.elsewhere(region))
            .await
        {
            Ok(PeerResponse::Ended(result)) => result,
            Err(error @ Lost::BeforeItWasAsked) => Err(Refusal::NotNow(error.to_string())),
            Ok(PeerResponse::Have(_) | PeerResponse::Refused(_)) | Err(Lost::BeforeItAnswered) => {
                Err(Refusal::Unknown)
            }
        }
    }

    /// Does what a peer wants of this node.
    pub async fn serve(&self, request: PeerRequest) -> PeerResponse {
        let (region, request) = match request {
            PeerRequest::Propose(region, command) => (region, Request::Propose(command.into())),
            PeerRequest::Change(region, change) => {
                match almadia_proto::decode_conf_change_v2(&change.into()) {
                    Ok(change) => (region, Request::Change(change)),
                    Err(error) => return PeerResponse::Refused(error.to_string()),
                }
            }
            PeerRequest::Transfer(region, to) => match NodeId::new(to) {
                Some(to) => (region, Request::Transfer(to)),
                None => return PeerResponse::Refused("there is no node 0".to_owned()),
            },
            PeerRequest::Offer(_) | PeerRequest::Chunk(..) | PeerRequest::Deliver(..) => {
                return PeerResponse::Refused("that is no request of a client".to_owned());
            }
        };
        PeerResponse::Ended(self.ask_here(region, request).await)
    }
}

fn invalid(why: &str) -> ServiceError {
    ServiceError::Invalid(why.to_owned())
}

fn check_size(writes: &[Write]) -> Result<(), ServiceError> {
    let mut bytes = 0;
    for write in writes {
        check_key(write.key())?;
        let len = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        bytes += match write {
            Write::Put { value, .. } => value.len(),
            Write::Delete { .. } => 0,
            Write::Cas {
                expected, value, ..
            } => len(expected).max(len(value)),
        };
    }
    if bytes > MAX_VALUE {
        return Err(ServiceError::Invalid(format!(
            "values of {bytes} bytes are too large; {MAX_VALUE} is the most that one write may hold"
        )));
    }
    Ok(())
}

/// Whether it may be a key.
///
/// # Errors
///
/// If it is empty or too long.
pub fn check_key(key: &[u8]) -> Result<(), ServiceError> {
    if key.is_empty() {
        return Err(invalid("a key has at least one byte"));
    }
    if key.len() > MAX_KEY {
        let len = key.len();
        return Err(ServiceError::Invalid(format!(
            "a key of {len} bytes is too long; {MAX_KEY} is the most"
        )));
    }
    Ok(())
}
