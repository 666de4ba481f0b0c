//! Nodes and clients that speak over TLS, and those that are not let in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use almadia_store::client::{CallError, Client};
use almadia_store::processes::{Node, Processes, free_address};
use almadia_store::tls::ClientTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PROGRAM: &str = env!("CARGO_BIN_EXE_almadia-store");
const PATIENCE: Duration = Duration::from_secs(6);

/// The files of an authority, and of somebody whom it vouches for.
struct Pem {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Pem {
    /// An authority of this name, and a certificate for this host.
    fn write(dir: &Path, name: &str, host: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Self {
            ca: dir.join(format!("{name}-ca.pem")),
            cert: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}-key.pem")),
        };
        std::fs::write(&files.ca, issuer.pem()).unwrap();
        files.sign(&issuer, host);
        files
    }

    fn sign(&self, issuer: &CertifiedIssuer<'_, KeyPair>, host: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let cert = params.signed_by(&key, issuer).unwrap();
        std::fs::write(&self.cert, cert.pem()).unwrap();
        std::fs::write(&self.key, key.serialize_pem()).unwrap();
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let mut all = vec!["--tls-cert".to_owned(), path(&self.cert)];
        all.extend(["--tls-key".to_owned(), path(&self.key)]);
        all.extend(["--tls-ca".to_owned(), path(&self.ca)]);
        all.extend(more.iter().map(|&more| more.to_owned()));
        all
    }

    fn client(&self) -> ClientTls {
        ClientTls::open(&self.ca, None).unwrap()
    }

    fn client_with_certificate(&self) -> ClientTls {
        ClientTls::open(&self.ca, Some((&self.cert, &self.key))).unwrap()
    }
}

fn cluster(dir: &TempDir, nodes: u64, tls: &Pem, more: &[&str]) -> Processes {
    Processes::local(dir.path(), nodes, None, tls.arguments(more))
        .unwrap()
        .with_program(Path::new(PROGRAM))
        .secured(Some(tls.client_with_certificate()))
}

fn log_of(dir: &TempDir, node: u64) -> String {
    std::fs::read_to_string(dir.path().join(format!("{node}.log"))).unwrap()
}

async fn call_with(address: &str, tls: Option<ClientTls>) -> Result<(), CallError> {
    let mut client = Client::new(address.to_owned(), PATIENCE).secured(tls);
    client.call("get", json!({ "key": "a" })).await.map(drop)
}

#[tokio::test]
async fn three_nodes_commit_and_read_over_tls() {
    let dir = TempDir::new().unwrap();
    let pem = Pem::write(dir.path(), "nodes", "127.0.0.1");
    let mut cluster = cluster(&dir, 3, &pem, &[]);
    cluster.start_all().await.unwrap();
    for at in 0..3 {
        let mut client = cluster.client(at, PATIENCE);
        let key = format!("key {at}");
        // Larger than a record of TLS, and than what a socket takes at once.
        let value = "v".repeat(900_000 + at);
        let put = json!({ "key": key, "value": value });
        client.call("put", put).await.unwrap();
        let mut other = cluster.client((at + 1) % 3, PATIENCE);
        let got = other.call("get", json!({ "key": key })).await.unwrap();
        assert_eq!(got["value"].as_str().unwrap().len(), value.len());
    }

    // Clients that need no certificate, and those that believe somebody else.
    let address = cluster.nodes[0].client.clone();
    let cli = |ca: &Path| {
        std::process::Command::new(PROGRAM)
            .args(["cli", "--node", &address, "get", "key 0", "--tls-ca"])
            .arg(ca)
            .output()
            .unwrap()
    };
    assert_eq!(
        cli(&pem.ca).stdout.len(),
        900_001,
        "and the end of the line"
    );
    assert!(!cli(&pem.cert.with_extension("none")).status.success());
    call_with(&address, Some(pem.client())).await.unwrap();
    let foreign = Pem::write(dir.path(), "foreign", "127.0.0.1");
    let refused = call_with(&address, Some(foreign.client())).await;
    assert!(matches!(refused, Err(CallError::Unanswered(..))));

    // One that has only connected keeps nobody waiting, and plain HTTP is told nothing.
    let _slow = TcpStream::connect(&address).await.unwrap();
    call_with(&address, Some(pem.client())).await.unwrap();
    for address in [&address, &cluster.nodes[0].peer] {
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain
            .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut said = Vec::new();
        drop(
            timeout(PATIENCE, plain.read_to_end(&mut said))
                .await
                .unwrap(),
        );
        assert!(!String::from_utf8_lossy(&said).contains("HTTP"));
    }
    assert!(call_with(&address, None).await.is_err());

    // A node whose leader is lost finds the others again over TLS.
    cluster.kill(0);
    let mut client = cluster.client(1, PATIENCE);
    // Numbered, as nobody knows otherwise what the lost leader may have done.
    let put = json!({ "key": "b", "value": "1", "client": "test", "sequence": 1 });
    client.call("put", put).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test]
async fn clients_without_a_certificate_are_refused_if_one_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let pem = Pem::write(dir.path(), "nodes", "127.0.0.1");
    let mut cluster = cluster(&dir, 1, &pem, &["--tls-client-auth"]);
    cluster.start_all().await.unwrap();
    let address = cluster.nodes[0].client.clone();
    let own = pem.client_with_certificate();
    call_with(&address, Some(own)).await.unwrap();
    assert!(call_with(&address, Some(pem.client())).await.is_err());
}

/// Two nodes of three make a quorum; the first of them is secured by other files.
async fn stranger_among_two(stranger: &Pem, pem: &Pem, dir: &TempDir) -> String {
    let addresses: Vec<_> = (0..2)
        .map(|_| (free_address().unwrap(), free_address().unwrap()))
        .collect();
    let peers: Vec<_> = (1..)
        .zip(&addresses)
        .map(|(id, (_, peer))| (id, peer.clone()))
        .collect();
    let node = |id: u64| Node {
        id,
        client: addresses[id as usize - 1].0.clone(),
        peer: addresses[id as usize - 1].1.clone(),
        peers: peers.clone(),
        join: false,
    };
    let program = Path::new(PROGRAM);
    let one = |id, pem: &Pem| {
        Processes::new(dir.path(), vec![node(id)], pem.arguments(&[]))
            .unwrap()
            .with_program(program)
            .secured(Some(pem.client()))
    };
    let (mut first, mut second) = (one(1, stranger), one(2, pem));
    first.start(0).unwrap();
    second.start(0).unwrap();
    let refused = timeout(PATIENCE, async {
        loop {
            let log = log_of(dir, 2);
            if log.contains("somebody has called who is no peer") || log.contains("a caller's") {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let log = refused.await.unwrap();
    assert!(!log.contains("connected"));
    let mut client = second.client(0, PATIENCE);
    let put = json!({ "key": "a", "value": "1" });
    assert!(client.call("put", put).await.is_err());
    log
}

#[tokio::test]
async fn a_peer_of_a_foreign_authority_is_refused() {
    let dir = TempDir::new().unwrap();
    let pem = Pem::write(dir.path(), "nodes", "127.0.0.1");
    let foreign = Pem::write(dir.path(), "foreign", "127.0.0.1");
    // It believes the nodes' authority; they do not believe its own.
    std::fs::copy(&pem.ca, &foreign.ca).unwrap();
    stranger_among_two(&foreign, &pem, &dir).await;
}

#[tokio::test]
async fn a_peer_with_the_certificate_of_another_host_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let pem = Pem::write(dir.path(), "nodes", "127.0.0.1");
    let other = Pem::write(dir.path(), "other", "client.example");
    for (files, host) in [(&pem, "127.0.0.1"), (&other, "client.example")] {
        std::fs::write(&files.ca, issuer.pem()).unwrap();
        files.sign(&issuer, host);
    }
    let log = stranger_among_two(&other, &pem, &dir).await;
    assert!(log.contains("certificate is not for where the node is"));
}

fn try_to_serve(dir: &TempDir, more: &[&str]) -> (Option<i32>, String) {
    let ended = Command::new(PROGRAM)
        .args(["serve", "--id", "1", "--data"])
        .arg(dir.path().join("1"))
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code(), said)
}

#[test]
fn plain_text_does_not_leave_the_machine_unasked() {
    let dir = TempDir::new().unwrap();
    let peers = ["--peers", "1=127.0.0.1:0", "--listen", "0.0.0.0:0"];
    let (code, said) = try_to_serve(&dir, &peers);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("--tls-cert") && said.contains("--insecure"),
        "{said}"
    );
    let peers = ["--peers", "1=127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let more = [peers.as_slice(), &["--listen-peers", "0.0.0.0:0"]].concat();
    let (code, said) = try_to_serve(&dir, &more);
    assert_eq!(code, Some(1));
    assert!(said.contains("--insecure"), "{said}");
    assert!(!dir.path().join("1").exists());
}

#[test]
fn files_that_do_not_fit_are_named() {
    let dir = TempDir::new().unwrap();
    let one = Pem::write(dir.path(), "one", "127.0.0.1");
    let two = Pem::write(dir.path(), "two", "127.0.0.1");
    let garbage = dir.path().join("garbage.pem");
    std::fs::write(&garbage, "garbage").unwrap();
    let missing = dir.path().join("missing.pem");
    for (cert, key, named) in [
        (&one.cert, &two.key, "one.pem"),
        (&garbage, &one.key, "garbage.pem"),
        (&one.cert, &garbage, "garbage.pem"),
        (&missing, &one.key, "missing.pem"),
    ] {
        let [cert, key, ca] = [cert, key, &one.ca].map(|path| path.to_str().unwrap());
        let mut more = vec!["--peers", "1=127.0.0.1:0", "--listen", "127.0.0.1:0"];
        more.extend(["--tls-cert", cert, "--tls-key", key, "--tls-ca", ca]);
        let (code, said) = try_to_serve(&dir, &more);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(named), "{said}");
    }
    // Two of the three are not enough.
    let (cert, key) = (one.cert.to_str().unwrap(), one.key.to_str().unwrap());
    let more = [
        "--peers",
        "1=127.0.0.1:0",
        "--tls-cert",
        cert,
        "--tls-key",
        key,
    ];
    assert_eq!(try_to_serve(&dir, &more).0, Some(2));
}
