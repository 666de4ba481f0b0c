//! The program: its commands and their options.

use std::collections::BTreeMap;
use std::path::PathBuf;

use almadia::NodeId;
use almadia_store::bench::Load;
use almadia_store::check::Plan;
use almadia_store::processes::Processes;
use almadia_store::region::Address;
use almadia_store::server::{Options, serve};
use almadia_store::tls::Files;
use clap::{Args, Parser, Subcommand};

mod telemetry;

/// A small distributed key-value database on almadia.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    telemetry: telemetry::Telemetry,
}

#[derive(Subcommand)]
enum Command {
    /// Run one node.
    Serve(Serve),
    /// Run a local cluster of processes, until ctrl-c.
    Cluster(Cluster),
    /// Start clusters of three and of five, let faults happen to them, and find out whether clients can
    /// tell.
    Check(Check),
    /// Measure a cluster of three under load, beside etcd where that is installed.
    Bench(Bench),
    /// Ask a cluster something.
    Cli(almadia_store::cli::Cli),
}

#[derive(Args)]
struct Cluster {
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u64,
    /// Where they keep everything.
    #[arg(long)]
    data: PathBuf,
    /// The first node's port; its peers reach it at the port that is 100 higher.
    #[arg(long, default_value_t = 7001)]
    port: u16,
}

#[derive(Args)]
struct Check {
    /// How long, all in all.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many nodes; more than one number: one cluster after another.
    #[arg(long, value_delimiter = ',', default_value = "3,5")]
    nodes: Vec<u64>,
    /// From this follows which faults there are; without it, another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// How clients read; `stale` to see that the check notices.
    #[arg(long, default_value = "linearizable", value_parser = ["linearizable", "lease", "stale"])]
    reads: String,
    /// Keep everything here, and do not clear it away.
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Args)]
struct Bench {
    /// How many connections.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// The bytes of a value.
    #[arg(long, default_value_t = 128)]
    value_size: usize,
    /// How long each round lasts.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the clusters keep everything, for the time of the bench; by default among the system's
    /// temporary files. It decides which disk is measured.
    #[arg(long)]
    data: Option<PathBuf>,
}

#[derive(Args)]
struct Serve {
    /// This node's id, from 1.
    #[arg(long)]
    id: NodeId,
    /// Where it keeps everything.
    #[arg(long)]
    data: PathBuf,
    /// Where clients reach it.
    #[arg(long, default_value = "127.0.0.1:7001")]
    listen: String,
    /// The nodes of the cluster, this one among them: ID=HOST:PORT, by commas, where peers reach them.
    #[arg(long, value_delimiter = ',', required = true, value_parser = parse_peer)]
    peers: Vec<(u64, String)>,
    /// Listen for peers here, and not where `--peers` says.
    #[arg(long)]
    listen_peers: Option<String>,
    /// The name of the cluster.
    #[arg(long, default_value = "almadia")]
    cluster: String,
    /// Join a cluster that there is, when it adds this node.
    #[arg(long)]
    join: bool,
    /// Keep leases, so that reads may be answered without asking; regions never sleep then.
    #[arg(long)]
    lease_reads: bool,
    /// How many entries of a region's log are kept behind what is in the state machine.
    #[arg(long, default_value_t = 20_000)]
    keep_entries: u64,
    #[command(flatten)]
    tls: Secured,
    /// Speak plain text with other machines, too.
    #[arg(long)]
    insecure: bool,
    /// Refuse writes when fewer bytes are free where the data is.
    #[arg(long, default_value_t = 64 << 20)]
    reserve_bytes: u64,
}

#[derive(Args)]
struct Secured {
    /// This node's certificate (PEM). It names the host at which `--peers` says the node is.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_ca"])]
    tls_key: Option<PathBuf>,
    /// Whose certificates the nodes have, and clients that have any (PEM).
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    tls_ca: Option<PathBuf>,
    /// Take clients with a certificate alone.
    #[arg(long, requires = "tls_cert")]
    tls_client_auth: bool,
}

impl Secured {
    fn files(self) -> Option<Files> {
        Some(Files {
            cert: self.tls_cert?,
            key: self.tls_key?,
            ca: self.tls_ca?,
            client_auth: self.tls_client_auth,
        })
    }
}

fn parse_peer(text: &str) -> Result<(u64, String), String> {
    let peer = text.split_once('=').and_then(|(id, address)| {
        let id = id.parse().ok().filter(|id| *id > 0)?;
        Some((id, address.to_owned()))
    });
    peer.ok_or_else(|| format!("{text:?} is not ID=HOST:PORT"))
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let _telling = match cli.telemetry.start() {
        Ok(telling) => telling,
        Err(error) => return fail(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let result = runtime.block_on(run(cli.command));
    // A thread that does not end by itself is not waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn run(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    match command {
        Command::Serve(options) => serve(options.read()?, asked_to_stop()).await?,
        Command::Cluster(options) => {
            let port = Some(options.port);
            let mut cluster = Processes::local(&options.data, options.nodes, port, Vec::new())?;
            cluster.start_all().await?;
            for node in &cluster.nodes {
                println!("node {}: http://{}/", node.id, node.client);
            }
            println!("ctrl-c stops them");
            asked_to_stop().await;
            cluster.stop_all().await;
        }
        Command::Check(options) => {
            let sizes = u64::try_from(options.nodes.len().max(1))?;
            let each = std::time::Duration::from_secs(options.seconds) / u32::try_from(sizes)?;
            let seed = options.seed.unwrap_or_else(rand::random);
            let dir = tempfile::tempdir()?;
            let data = options.data.as_deref().unwrap_or(dir.path());
            let plan = Plan {
                sizes: options.nodes,
                each,
                seed,
                reads: options.reads,
            };
            let report = almadia_store::check::run(data, &plan).await?;
            println!(
                "ok: {} operations, {} faults, 0 lost, linearizable",
                report.operations, report.faults
            );
        }
        Command::Cli(asked) => asked.run(asked_to_stop()).await?,
        Command::Bench(options) => {
            let dir = tempfile::Builder::new();
            let dir = match &options.data {
                Some(data) => {
                    std::fs::create_dir_all(data)?;
                    dir.tempdir_in(data)?
                }
                None => dir.tempdir()?,
            };
            let load = Load {
                clients: options.clients,
                value_size: options.value_size,
                round: std::time::Duration::from_secs(options.seconds),
                rounds: options.rounds,
            };
            almadia_store::bench::run(dir.path(), load).await?;
        }
    }
    Ok(())
}

fn fail(error: &dyn std::fmt::Display) -> std::process::ExitCode {
    eprintln!("error: {error}");
    std::process::ExitCode::FAILURE
}

impl Serve {
    fn read(self) -> Result<Options, String> {
        let peers: BTreeMap<u64, Address> = self
            .peers
            .into_iter()
            .map(|(id, peer)| {
                let client = String::new();
                (id, Address { peer, client })
            })
            .collect();
        let own = peers.get(&self.id.get()).map(|own| own.peer.clone());
        let listen_peers = self.listen_peers.or(own);
        Ok(Options {
            id: self.id,
            cluster: self.cluster,
            data: self.data,
            listen: self.listen,
            listen_peers: listen_peers.ok_or("this node is not among `--peers`")?,
            peers,
            join: self.join,
            lease_reads: self.lease_reads,
            keep_entries: self.keep_entries,
            tls: self.tls.files(),
            insecure: self.insecure,
            reserve_bytes: self.reserve_bytes,
        })
    }
}

/// Ends when the process is asked to: by ctrl-c, or by a signal to terminate.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        if let Ok(mut signal) = signal(SignalKind::terminate()) {
            signal.recv().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
