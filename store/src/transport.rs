//! The connections to the other nodes: one to each, which carries all regions both ways.
//!
//! Owns the sockets and what waits to be sent. The node with the lower id connects; the other one calls
//! to say where it is. What cannot be sent is dropped, and the Raft thread is told: Raft sends again what
//! matters. Knows no Raft node.

use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use almadia::{Body, Entry, LogIndex, Message, NodeId, Payload};
use bytes::BytesMut;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use self::frame::{Frame, FrameError, Other, VERSION};
pub use self::frame::{PeerRequest, PeerResponse};
use crate::disk::Disk;
use crate::raft::Input;
use crate::region::{Address, RegionId};
use crate::snapshot::Snapshots;
use crate::tls::{Stream, Tls};

mod frame;
mod shipping;

/// So many bytes may wait for one peer.
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// A peer is told so often that this node is there.
const PING: Duration = Duration::from_secs(1);
/// A peer that is silent for so long is not there.
const SILENCE: Duration = Duration::from_secs(4);
/// It is tried so often to connect.
const REDIAL: Duration = Duration::from_millis(200);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// Answers what peers want.
pub type Handler = Box<dyn Fn(PeerRequest) -> BoxFuture<'static, PeerResponse> + Send + Sync>;

/// Why a peer has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It was not asked.
    #[error("there is no connection to the node")]
    BeforeItWasAsked,
    /// It may have done what was asked for.
    #[error("the connection to the node was lost before it answered")]
    BeforeItAnswered,
}

/// The connections.
pub struct Transport {
    me: NodeId,
    /// Where this node is reached.
    own_address: Address,
    cluster: String,
    runtime: Handle,
    inputs: Sender<Input>,
    snapshots: Arc<Snapshots>,
    tls: Option<Arc<Tls>>,
    disk: Arc<Disk>,
    peers: RwLock<HashMap<NodeId, Arc<Peer>>>,
    requests: Mutex<HashMap<u64, (NodeId, oneshot::Sender<PeerResponse>)>>,
    next_request: AtomicU64,
    handler: OnceLock<Handler>,
}

struct Peer {
    id: NodeId,
    address: Mutex<Address>,
    /// Into the connections to it, of which the last one is used. There may be more than one for a while:
    /// a process that stood still finds all that were made meanwhile, the dead ones too.
    queues: Mutex<Vec<Queue>>,
    /// When it was said last that nothing can be sent.
    reported: Mutex<Option<Instant>>,
    /// Whether it has said anything on this connection. A process that stands still is connected to
    /// all the same: the system does that.
    is_heard: AtomicBool,
}

impl Peer {
    /// Where it is reached, by its own word or somebody else's. What was known first counts: it is what
    /// the operator of this node says.
    fn learn(&self, address: Address) {
        let mut known = self.address.lock();
        if known.peer.is_empty() {
            known.peer = address.peer;
        }
        if !address.client.is_empty() {
            known.client = address.client;
        }
    }

    /// Puts it behind what is to be sent. Returns whether it may arrive.
    fn push(&self, frame: Frame) -> bool {
        let queues = self.queues.lock();
        queues.last().is_some_and(|queue| queue.push(frame))
    }

    /// Whether it is time to say again that nothing can be sent.
    fn is_to_be_reported(&self) -> bool {
        let mut reported = self.reported.lock();
        let is_due = reported.is_none_or(|reported| reported.elapsed() > PING);
        if is_due {
            *reported = Some(Instant::now());
        }
        is_due
    }
}

/// What waits to be sent by one connection.
#[derive(Clone)]
struct Queue {
    frames: mpsc::UnboundedSender<Frame>,
    /// How much it weighs.
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    fn push(&self, frame: Frame) -> bool {
        let bytes = frame.weight();
        if self.bytes.load(Ordering::Relaxed) > MAX_QUEUED_BYTES {
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.frames.send(frame).is_ok()
    }
}

impl Transport {
    /// No connections yet; those to come are secured by `tls`, if there is any. To be called where tokio
    /// runs.
    #[must_use]
    pub fn new(
        me: NodeId,
        address: Address,
        cluster: String,
        inputs: Sender<Input>,
        snapshots: Arc<Snapshots>,
        tls: Option<Arc<Tls>>,
        disk: Arc<Disk>,
    ) -> Arc<Self> {
        Arc::new(Self {
            me,
            own_address: address,
            cluster,
            runtime: Handle::current(),
            inputs,
            snapshots,
            tls,
            disk,
            peers: RwLock::default(),
            requests: Mutex::default(),
            next_request: AtomicU64::new(0),
            handler: OnceLock::new(),
        })
    }

    /// Answers what peers want by this.
    pub fn answer_by(&self, handler: Handler) {
        // Once, when the process starts.
        drop(self.handler.set(handler));
    }

    /// Where these nodes can be reached.
    pub fn learn(self: &Arc<Self>, addresses: &BTreeMap<u64, Address>) {
        for (id, address) in addresses {
            let Some(id) = NodeId::new(*id).filter(|id| *id != self.me) else {
                continue;
            };
            let peer = self.peer(id);
            peer.learn(address.clone());
        }
    }

    /// Where clients can reach a node.
    #[must_use]
    pub fn address(&self, id: NodeId) -> Option<Address> {
        if id == self.me {
            return Some(self.own_address.clone());
        }
        let peers = self.peers.read();
        let address = peers.get(&id)?.address.lock();
        Some(address.clone())
    }

    /// Whether there is a connection to a node, by which it is heard.
    #[must_use]
    pub fn is_connected(&self, id: NodeId) -> bool {
        let peers = self.peers.read();
        peers
            .get(&id)
            .is_some_and(|peer| peer.is_heard.load(Ordering::Relaxed))
    }

    fn peer(self: &Arc<Self>, id: NodeId) -> Arc<Peer> {
        let peers = self.peers.read();
        if let Some(peer) = peers.get(&id) {
            return Arc::clone(peer);
        }
        drop(peers);
        let mut peers = self.peers.write();
        let peer = peers.entry(id).or_insert_with(|| {
            let peer = Arc::new(Peer {
                id,
                address: Mutex::default(),
                queues: Mutex::default(),
                reported: Mutex::default(),
                is_heard: AtomicBool::new(false),
            });
            self.runtime.spawn(Arc::clone(self).dial(Arc::clone(&peer)));
            peer
        });
        Arc::clone(peer)
    }

    // --- Sending ---

    /// Sends the messages of a region, or tells that they cannot be sent.
    pub fn send(self: &Arc<Self>, region: RegionId, messages: Vec<Message>) {
        for message in messages {
            let to = message.to;
            if matches!(message.body, Body::InstallSnapshot(_)) {
                self.runtime.spawn(Arc::clone(self).ship(region, message));
            } else {
                let peer = self.peer(to);
                if !peer.push(Frame::Raft(region, message)) && peer.is_to_be_reported() {
                    drop(self.inputs.send(Input::Unreachable(to)));
                }
            }
        }
    }

    /// Tells these nodes that the region is awake.
    pub fn wake(self: &Arc<Self>, region: RegionId, members: impl Iterator<Item = NodeId>) {
        for member in members {
            self.peer(member).push(Frame::Other(Other::Wake(region)));
        }
    }

    /// Tells a node that it is no member of the region any more, as of this index.
    pub fn tell_gone(self: &Arc<Self>, to: NodeId, region: RegionId, index: LogIndex) {
        self.peer(to)
            .push(Frame::Other(Other::Gone(region, index.0)));
    }

    /// Asks a node for something.
    ///
    /// # Errors
    ///
    /// If there is no connection, or it is lost.
    pub async fn request(
        self: &Arc<Self>,
        to: NodeId,
        request: PeerRequest,
    ) -> Result<PeerResponse, Lost> {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.requests.lock().insert(number, (to, sender));
        let _forget = Forget {
            transport: self,
            number,
        };
        let frame = Frame::Other(Other::Request(number, request));
        if !self.peer(to).push(frame) {
            return Err(Lost::BeforeItWasAsked);
        }
        receiver.await.map_err(|_| Lost::BeforeItAnswered)
    }

    // --- Connections ---

    /// Lets peers connect.
    pub async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    self.runtime
                        .spawn(Arc::clone(&self).accept(stream, address));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection was accepted");
                    sleep(PING).await;
                }
            }
        }
    }

    async fn accept(self: Arc<Self>, stream: TcpStream, by: SocketAddr) {
        drop(stream.set_nodelay(true));
        let (mut stream, caller) = match &self.tls {
            None => (Box::new(stream) as Stream, None),
            Some(tls) => match timeout(CONNECT, tls.accept(stream)).await {
                Ok(Ok((stream, caller))) => (stream, Some(caller)),
                Ok(Err(error)) => {
                    tracing::warn!(%by, %error, "somebody has called who is no peer");
                    return;
                }
                Err(_) => return,
            },
        };
        let mut buffer = BytesMut::new();
        let hello = timeout(CONNECT, read_frame(&mut stream, &mut buffer)).await;
        let Ok(Ok(Some(Frame::Other(Other::Hello {
            version,
            cluster,
            from,
            to,
            address,
        })))) = hello
        else {
            return;
        };
        if (version, cluster.as_str(), to) != (VERSION, &self.cluster, self.me.get()) {
            tracing::warn!(from, to, version, %cluster, "somebody else's node has called; is an address wrong?");
            return;
        }
        let Some(id) = NodeId::new(from).filter(|id| *id != self.me) else {
            return;
        };
        let peer = self.peer(id);
        // One whose address nobody has told yet cannot be a member of anything here.
        let known = peer.address.lock().peer.clone();
        if caller.is_some_and(|caller| !known.is_empty() && !caller.is_of(&known)) {
            tracing::warn!(from, %by, %known, "a caller's certificate is not for where the node is that it says it is");
            return;
        }
        peer.learn(address);
        // A higher id only says where it is; this node connects then.
        if id < self.me && self.greet(&mut stream, id).await.is_ok() {
            self.converse(&peer, stream, buffer).await;
        }
    }

    /// Says who this is.
    async fn greet(&self, stream: &mut Stream, to: NodeId) -> std::io::Result<()> {
        let mut hello = BytesMut::new();
        let greeting = Other::Hello {
            version: VERSION,
            cluster: self.cluster.clone(),
            from: self.me.get(),
            to: to.get(),
            address: self.own_address.clone(),
        };
        Frame::Other(greeting).encode(&mut hello);
        stream.write_all(&hello).await?;
        stream.flush().await
    }

    /// Connects to the peer as long as the process runs, or has the peer do it.
    async fn dial(self: Arc<Self>, peer: Arc<Peer>) {
        loop {
            let address = peer.address.lock().peer.clone();
            if !address.is_empty()
                && peer.queues.lock().is_empty()
                && let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(&address)).await
            {
                drop(stream.set_nodelay(true));
                let Some(mut stream) = self.secure(&peer, &address, stream).await else {
                    sleep(CONNECT).await;
                    continue;
                };
                let is_greeted = self.greet(&mut stream, peer.id).await.is_ok();
                if is_greeted && self.me < peer.id {
                    self.converse(&peer, stream, BytesMut::new()).await;
                }
            }
            sleep(REDIAL).await;
        }
    }

    async fn secure(&self, peer: &Peer, address: &str, stream: TcpStream) -> Option<Stream> {
        let Some(tls) = &self.tls else {
            return Some(Box::new(stream));
        };
        let why = match timeout(CONNECT, tls.dial(address, stream)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it takes too long".to_owned(),
        };
        tracing::warn!(peer = %peer.id, %address, %why, "no TLS with a peer");
        None
    }

    /// Speaks with a peer until the connection ends.
    async fn converse(self: &Arc<Self>, peer: &Arc<Peer>, stream: Stream, buffer: BytesMut) {
        let (sender, frames) = mpsc::unbounded_channel();
        let queue = Queue {
            frames: sender,
            bytes: Arc::default(),
        };
        peer.queues.lock().push(queue.clone());
        peer.is_heard.store(false, Ordering::Relaxed);
        tracing::info!(peer = %peer.id, "connected");
        let (reader, writer) = tokio::io::split(stream);
        let why = tokio::select! {
            why = self.hear(peer, reader, buffer, &queue) => why,
            why = speak(&queue.bytes, writer, frames) => why.map_err(FrameError::Io),
        };
        let mut queues = peer.queues.lock();
        queues.retain(|other| !other.frames.same_channel(&queue.frames));
        if queues.is_empty() {
            peer.is_heard.store(false, Ordering::Relaxed);
        }
        drop(queues);
        tracing::info!(peer = %peer.id, error = ?why.err(), "disconnected");
        self.requests.lock().retain(|_, (to, _)| *to != peer.id);
        drop(self.inputs.send(Input::Disconnected(peer.id)));
    }

    async fn hear(
        self: &Arc<Self>,
        peer: &Peer,
        mut reader: ReadHalf<Stream>,
        mut buffer: BytesMut,
        answers: &Queue,
    ) -> Result<(), FrameError> {
        let mut messages = Vec::new();
        loop {
            while let Some(frame) = Frame::decode(&mut buffer)? {
                match frame {
                    // What a peer says of another one is not believed.
                    // A snapshot comes with its file, when that is whole.
                    Frame::Raft(region, message)
                        if message.from == peer.id
                            && !matches!(message.body, Body::InstallSnapshot(_)) =>
                    {
                        if self.has_room_for(&message) {
                            messages.push((region, message));
                        }
                    }
                    Frame::Raft(..) | Frame::Other(Other::Ping) => {}
                    Frame::Other(Other::Hello { address, .. }) => peer.learn(address),
                    Frame::Other(Other::Gone(region, index)) => {
                        drop(self.inputs.send(Input::Gone(region, LogIndex(index))));
                    }
                    Frame::Other(Other::Wake(region)) => {
                        drop(self.inputs.send(Input::Wake(region)));
                    }
                    Frame::Other(Other::Request(number, request)) => {
                        let transport = Arc::clone(self);
                        let answers = answers.clone();
                        let from = peer.id;
                        self.runtime.spawn(async move {
                            if let Some(response) = transport.answer(from, request).await {
                                let frame = Frame::Other(Other::Response(number, response));
                                answers.push(frame);
                            }
                        });
                    }
                    Frame::Other(Other::Response(number, response)) => {
                        let waiting = self.requests.lock().remove(&number);
                        if let Some((_, reply)) = waiting {
                            drop(reply.send(response));
                        }
                    }
                }
            }
            if !messages.is_empty() {
                drop(
                    self.inputs
                        .send(Input::Messages(std::mem::take(&mut messages))),
                );
            }
            buffer.reserve(1 << 16);
            match timeout(SILENCE, reader.read_buf(&mut buffer)).await {
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(_)) => peer.is_heard.store(true, Ordering::Relaxed),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(FrameError::Silence),
            }
        }
    }

    /// A message that gets lost is sent again: there may be room then. Heartbeats always get through,
    /// and what carries nothing of clients: a leader begins with such an entry.
    fn has_room_for(&self, message: &Message) -> bool {
        let Body::AppendEntries(append) = &message.body else {
            return true;
        };
        let is_of_clients =
            |entry: &Entry| matches!(&entry.payload, Payload::Data(data) if !data.is_empty());
        !self.disk.is_nearly_gone() || !append.entries.iter().any(is_of_clients)
    }

    async fn answer(self: &Arc<Self>, from: NodeId, request: PeerRequest) -> Option<PeerResponse> {
        match request {
            PeerRequest::Offer(_) | PeerRequest::Chunk(..) if self.disk.full().is_some() => {
                self.disk.full().map(PeerResponse::Refused)
            }
            PeerRequest::Offer(_) | PeerRequest::Chunk(..) | PeerRequest::Deliver(..) => {
                Some(self.receive(from, request).await)
            }
            PeerRequest::Propose(..) | PeerRequest::Change(..) | PeerRequest::Transfer(..) => {
                Some(self.handler.get()?(request).await)
            }
        }
    }
}

async fn read_frame(
    stream: &mut Stream,
    buffer: &mut BytesMut,
) -> Result<Option<Frame>, FrameError> {
    loop {
        if let Some(frame) = Frame::decode(buffer)? {
            return Ok(Some(frame));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Sends what waits for the peer, and that this node is there if nothing does.
async fn speak(
    queued_bytes: &AtomicUsize,
    mut writer: WriteHalf<Stream>,
    mut frames: mpsc::UnboundedReceiver<Frame>,
) -> std::io::Result<()> {
    let mut batch = Vec::new();
    let mut buffer = BytesMut::new();
    loop {
        if timeout(PING, frames.recv_many(&mut batch, 1024))
            .await
            .is_err()
        {
            Frame::Other(Other::Ping).encode(&mut buffer);
        }
        for frame in batch.drain(..) {
            frame.encode(&mut buffer);
            queued_bytes.fetch_sub(frame.weight(), Ordering::Relaxed);
            if buffer.len() >= 1 << 20 {
                writer.write_all(&buffer).await?;
                buffer.clear();
            }
        }
        writer.write_all(&buffer).await?;
        // TLS may keep something back until it is asked for.
        writer.flush().await?;
        buffer.clear();
    }
}

/// Forgets a request when nobody waits for it any more.
struct Forget<'t> {
    transport: &'t Transport,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.transport.requests.lock().remove(&self.number);
    }
}
