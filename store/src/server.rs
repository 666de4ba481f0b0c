//! One node: everything put together, from its directory to its listeners.
//!
//! Owns the order in which things are started and stopped. A thread that fails ends the process: what
//! it has promised may not be kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use almadia::{ConfState, LogId, NodeId};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::api::{Api, router};
use crate::applier;
use crate::data_dir::{DataDir, DataDirError};
use crate::disk::Disk;
use crate::log::{Log, LogError, RegionWrite};
use crate::log_writer;
use crate::metrics::Metrics;
use crate::raft::group::GroupError;
use crate::raft::{Input, Outlets, Raft, Settings};
use crate::region::{Address, BEGIN, KeyRange, Region, RegionId, begins_with};
use crate::routes::Routes;
use crate::service::Service;
use crate::snapshot::{SnapshotError, Snapshots};
use crate::state::{State, StateError};
use crate::tls::{Files, Tls, TlsError};
use crate::transport::Transport;

#[cfg(test)]
mod tests;

/// How often the log gives the disk back what is cut.
const PURGE: Duration = Duration::from_secs(10);

/// What a node is told when it is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its id.
    pub id: NodeId,
    /// The name of its cluster.
    pub cluster: String,
    /// Where it keeps everything.
    pub data: PathBuf,
    /// Where clients reach it.
    pub listen: String,
    /// Where its peers reach it.
    pub listen_peers: String,
    /// The nodes that the cluster begins with, or those that are known already, by id.
    pub peers: BTreeMap<u64, Address>,
    /// Whether it joins a cluster that there is.
    pub join: bool,
    /// Whether leases are kept.
    pub lease_reads: bool,
    /// How many entries of a region's log are kept behind what is in the state machine.
    pub keep_entries: u64,
    /// How connections are secured.
    pub tls: Option<Files>,
    /// Whether others than this machine may be spoken with in plain text.
    pub insecure: bool,
    /// Below so many free bytes on the disk, clients' writes are refused.
    pub reserve_bytes: u64,
}

/// Why a node does not start, or has stopped.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Its directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its state machine cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A region's node cannot go on.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// An address is not to be had.
    #[error("{address}: {error}; is it in use, or not this machine's?")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is to begin a cluster of which it is no member.
    #[error(
        "node {0} is not among the nodes that the cluster begins with: name it in `--peers`, or say `--join`"
    )]
    NotAPeer(NodeId),
    /// Others than this machine would be spoken with in plain text.
    #[error(
        "{0} can be reached from other machines, and what is said there would be neither secret nor \
         authentic: give `--tls-cert`, `--tls-key` and `--tls-ca`, or listen on 127.0.0.1, or, if \
         nobody else is on the network, say `--insecure`"
    )]
    PlainText(SocketAddr),
    /// Connections cannot be secured.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The system says why.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs a node until `stop` ends.
///
/// # Errors
///
/// If it does not start.
pub async fn serve(options: Options, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
    let Listeners {
        tls,
        clients,
        peers,
    } = Listeners::open(&options).await?;
    let dir = DataDir::open(&options.data, &options.cluster, options.id.get())?;
    let state = Arc::new(State::open(&dir.path("state.redb"))?);
    let log = Log::open(&dir.path("log"))?;
    let snapshots = Snapshots::open(dir.path("snapshots"), Arc::clone(&state))?;
    dir.sync()?;
    let regions = recover(&options, &state, &log, &snapshots)?;

    let disk = Disk::new(options.id, &options.data, options.reserve_bytes);
    tokio::spawn(Arc::clone(&disk).watch());
    let (inputs, from_inputs) = mpsc::channel();
    let transport = Transport::new(
        options.id,
        own_address(&options),
        options.cluster.clone(),
        inputs.clone(),
        Arc::clone(&snapshots),
        tls.clone(),
        Arc::clone(&disk),
    );
    transport.learn(&options.peers);
    let routes = Arc::new(Routes::default());
    let metrics = Arc::new(Metrics::new(Arc::clone(&routes)));
    let service = Arc::new(Service {
        me: options.id,
        routes: Arc::clone(&routes),
        transport: Arc::clone(&transport),
        inputs: inputs.clone(),
        state: Arc::clone(&state),
        disk,
    });
    let answering = Arc::clone(&service);
    transport.answer_by(Box::new(move |request| {
        let service = Arc::clone(&answering);
        Box::pin(async move { service.serve(request).await })
    }));

    let threads = Threads {
        state,
        log,
        snapshots,
        routes,
        metrics: Arc::clone(&metrics),
        transport: Arc::clone(&transport),
    };
    let settings = Settings {
        id: options.id,
        incarnation: dir.starts,
        lease_reads: options.lease_reads,
        keep_entries: options.keep_entries,
        seed: rand::random(),
    };
    let running = threads.start(settings, inputs.clone(), from_inputs, regions)?;
    tokio::spawn(transport.listen(peers));
    let serving = serve_clients(clients, tls, Api { service, metrics });
    tracing::info!(
        id = %options.id, clients = %options.listen, peers = %options.listen_peers, "serving"
    );

    stop.await;
    end(&inputs, running).await;
    serving.abort();
    Ok(())
}

fn serve_clients(clients: TcpListener, tls: Option<Arc<Tls>>, api: Api) -> AbortHandle {
    let app = router(Arc::new(api));
    let serving = tokio::spawn(async move {
        match tls {
            Some(tls) => axum::serve(tls.listen(clients), app).await,
            None => axum::serve(clients, app).await,
        }
    });
    serving.abort_handle()
}

/// Waits until the threads have ended, but not for long.
async fn end(inputs: &Sender<Input>, running: Vec<JoinHandle<()>>) {
    tracing::info!("stopping: leadership is handed over");
    drop(inputs.send(Input::Stop));
    let stopped = tokio::task::spawn_blocking(move || {
        for thread in running {
            drop(thread.join());
        }
    });
    drop(tokio::time::timeout(Duration::from_secs(5), stopped).await);
}

/// Where others reach this node.
fn own_address(options: &Options) -> Address {
    let peer = options.peers.get(&options.id.get());
    Address {
        peer: peer.map_or_else(|| options.listen_peers.clone(), |own| own.peer.clone()),
        client: options.listen.clone(),
    }
}

/// Where others reach this node, and how that is secured.
struct Listeners {
    tls: Option<Arc<Tls>>,
    clients: TcpListener,
    peers: TcpListener,
}

impl Listeners {
    async fn open(options: &Options) -> Result<Self, ServerError> {
        let tls = options.tls.as_ref().map(Tls::open).transpose()?;
        let anywhere = tls.is_some() || options.insecure;
        let clients = listen(&options.listen, anywhere).await?;
        let peers = listen(&options.listen_peers, anywhere).await?;
        if tls.is_none() {
            let (clients, peers) = (clients.local_addr()?, peers.local_addr()?);
            if is_loopback(&clients) && is_loopback(&peers) {
                tracing::warn!("no TLS: plain text is spoken, on loopback alone");
            } else {
                tracing::warn!(%clients, %peers, "no TLS: plain text is spoken with other machines");
            }
        }
        Ok(Self {
            tls: tls.map(Arc::new),
            clients,
            peers,
        })
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Listens there, if it is this machine alone that comes there, or if it may be `anywhere`.
async fn listen(address: &str, anywhere: bool) -> Result<TcpListener, ServerError> {
    let failed = |error| ServerError::Listen {
        address: address.to_owned(),
        error,
    };
    let found = tokio::net::lookup_host(address).await.map_err(failed)?;
    let found: Vec<SocketAddr> = found.collect();
    match found.iter().find(|found| !is_loopback(found)) {
        Some(open) if !anywhere => Err(ServerError::PlainText(*open)),
        _ => TcpListener::bind(found.as_slice()).await.map_err(failed),
    }
}

/// Brings log and state machine together again, and finds out which regions there are.
fn recover(
    options: &Options,
    state: &Arc<State>,
    log: &Log,
    snapshots: &Arc<Snapshots>,
) -> Result<Vec<Region>, ServerError> {
    let me = options.id;
    for id in log.regions().into_iter().filter(|id| log.is_leaving(*id)) {
        let mut write = log.write();
        let regions = state.regions()?;
        let is_member = |region: &Region| region.id == id && region.has_member(me);
        if regions.iter().any(is_member) {
            // The state machine has forgotten why it leaves; it will find out again.
            write.stay(id);
        } else {
            state.replace(id, None, || Ok(None))?;
            write.forget(id, log.hard_state(id)?)?;
        }
        write.commit()?;
    }
    for id in log.regions() {
        let Some(snapshot) = log.snapshot(id)? else {
            continue;
        };
        // The crash came between the log's write and the state machine's.
        let regions = state.regions()?;
        let applied = regions
            .iter()
            .find(|region| region.id == id)
            .map(Region::applied);
        if applied.is_none_or(|applied| applied.index < snapshot.last_included.index) {
            snapshots.restore(&snapshot)?;
        }
        let mut write = log.write();
        write.forget_snapshot(id);
        write.commit()?;
    }
    snapshots.clear()?;
    let mut regions = state.regions()?;
    let is_new = regions.is_empty() && log.regions().is_empty();
    if is_new && !options.join {
        regions.push(begin(options, state)?);
    }
    for region in &regions {
        begin_log(log, region.id)?;
        let (applied, cut) = (region.applied().index, log.cut(region.id)?.index);
        if applied < cut {
            return Err(StateError::Gap(applied, cut.next()).into());
        }
    }
    Ok(regions)
}

/// The first region of a new cluster. All nodes that the cluster begins with make the same one.
fn begin(options: &Options, state: &State) -> Result<Region, ServerError> {
    if !options.peers.contains_key(&options.id.get()) {
        return Err(ServerError::NotAPeer(options.id));
    }
    let voters = options.peers.keys().filter_map(|id| NodeId::new(*id));
    let membership = ConfState::of_voters(voters);
    let region = Region::new(
        RegionId::FIRST,
        KeyRange::default(),
        &membership,
        options.peers.clone(),
    );
    state.change().put_region(&region)?;
    state.checkpoint()?;
    Ok(region)
}

/// Makes the log of a region begin, if a crash has come between the state machine's write and the log's.
fn begin_log(log: &Log, id: RegionId) -> Result<(), LogError> {
    if log.cut(id)? != LogId::ZERO {
        return Ok(());
    }
    let hard_state = begins_with(log.hard_state(id)?);
    let mut write = log.write();
    write.begin_at(id, BEGIN)?;
    write.put(id, &RegionWrite::of(hard_state))?;
    write.commit()?;
    Ok(())
}

/// What the threads work on.
struct Threads {
    state: Arc<State>,
    log: Log,
    snapshots: Arc<Snapshots>,
    routes: Arc<Routes>,
    metrics: Arc<Metrics>,
    transport: Arc<Transport>,
}

impl Threads {
    fn start(
        self,
        settings: Settings,
        inputs: Sender<Input>,
        from_inputs: Receiver<Input>,
        regions: Vec<Region>,
    ) -> Result<Vec<JoinHandle<()>>, ServerError> {
        let (log_tasks, from_log_tasks) = mpsc::channel();
        let (apply_tasks, from_apply_tasks) = mpsc::channel();
        let outlets = Outlets {
            log: log_tasks,
            apply: apply_tasks,
            transport: Arc::clone(&self.transport),
            routes: self.routes,
        };
        let snapshots = Arc::clone(&self.snapshots);
        let raft = Raft::new(settings, self.log.clone(), snapshots, outlets, regions)?;
        let raft = spawn("raft", move || raft.run(&from_inputs))?;
        let to_raft = inputs.clone();
        let purged = self.log.clone();
        let (log, transport, metrics) = (self.log, self.transport, self.metrics);
        let counting = Arc::clone(&metrics);
        let purge = move || loop {
            std::thread::sleep(PURGE);
            purged.purge()?;
        };
        // It ends with the process.
        spawn::<LogError>("purge", purge)?;
        let log = spawn("log", move || {
            let send = |region, messages| transport.send(region, messages);
            log_writer::run(&log, &from_log_tasks, send, &to_raft, &metrics)
        })?;
        let (state, snapshots) = (self.state, self.snapshots);
        let apply = spawn("apply", move || {
            applier::run(&state, &snapshots, &from_apply_tasks, &inputs, &counting)
        })?;
        Ok(vec![raft, log, apply])
    }
}

/// Starts a thread whose failure, or panic, ends the process.
fn spawn<E: std::error::Error>(
    name: &'static str,
    run: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let why = match result {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        tracing::error!(thread = name, %why, "the node cannot go on; nothing acknowledged is lost");
        std::process::exit(70);
    })
}
