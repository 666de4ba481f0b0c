//! TLS: between nodes, where both sides show a certificate, and towards clients.
//!
//! Owns certificates and handshakes. Knows neither what is said over a connection nor who may say it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, ClientConfig, DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

/// A client has so much time for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Nodes are of one age: they need not speak anything older.
const PEERS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Where bytes come from and go to: TCP, or TLS over it.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Any such.
pub type Stream = Box<dyn Socket>;

/// The files of a node, all of them PEM.
#[derive(Clone, Debug)]
pub struct Files {
    /// Its certificate, and those between it and the authority's.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The authority, or some, that certificates have to be of.
    pub ca: PathBuf,
    /// Whether clients have to show a certificate, too.
    pub client_auth: bool,
}

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: pem::Error,
    },
    /// There is no certificate in a file.
    #[error("{}: there is no certificate in it; it has to be in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// What is in the files does not fit together.
    #[error("{}: {error}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: rustls::Error,
    },
    /// The authority can vouch for nobody.
    #[error(transparent)]
    Verifier(#[from] VerifierBuilderError),
    /// The cryptography cannot do what is asked of it.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

type Certificates = Vec<CertificateDer<'static>>;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read_certificates(path: &Path) -> Result<Certificates, TlsError> {
    let failed = |error| TlsError::File {
        path: path.to_owned(),
        error,
    };
    let found = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let found: Certificates = found.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(found)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::File {
        path: path.to_owned(),
        error,
    })
}

fn read_authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::Unfit {
            path: path.to_owned(),
            error,
        })?;
    }
    Ok(Arc::new(roots))
}

/// How a node secures its connections.
pub struct Tls {
    clients: TlsAcceptor,
    peers: TlsAcceptor,
    dialing: TlsConnector,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If they cannot be used.
    pub fn open(files: &Files) -> Result<Self, TlsError> {
        let roots = read_authorities(&files.ca)?;
        let own = read_certificates(&files.cert)?;
        let unfit = |error| TlsError::Unfit {
            path: files.cert.clone(),
            error,
        };
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider());
        let verifier = verifier.build()?;

        let clients = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(DEFAULT_VERSIONS)?;
        let clients = if files.client_auth {
            clients.with_client_cert_verifier(Arc::clone(&verifier))
        } else {
            clients.with_no_client_auth()
        };
        let mut clients = clients
            .with_single_cert(own.clone(), read_key(&files.key)?)
            .map_err(unfit)?;
        clients.alpn_protocols = vec![b"http/1.1".to_vec()];

        let peers = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(PEERS)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(own.clone(), read_key(&files.key)?)
            .map_err(unfit)?;
        let dialing = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(PEERS)?
            .with_root_certificates(roots)
            .with_client_auth_cert(own, read_key(&files.key)?)
            .map_err(unfit)?;
        Ok(Self {
            clients: TlsAcceptor::from(Arc::new(clients)),
            peers: TlsAcceptor::from(Arc::new(peers)),
            dialing: TlsConnector::from(Arc::new(dialing)),
        })
    }

    /// Takes clients over TLS from this listener.
    #[must_use]
    pub fn listen(&self, listener: TcpListener) -> TlsListener {
        TlsListener {
            listener,
            acceptor: self.clients.clone(),
            handshakes: JoinSet::new(),
        }
    }

    /// Secures a connection to the node at this address.
    pub(crate) async fn dial(&self, address: &str, stream: TcpStream) -> io::Result<Stream> {
        let stream = self.dialing.connect(name_of(address)?, stream).await?;
        Ok(Box::new(stream))
    }

    /// Secures a connection that a node has made.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(Stream, Caller)> {
        let stream = self.peers.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let shown = shown.and_then(<[_]>::first).cloned();
        let caller = shown.ok_or_else(|| io::Error::other("no certificate was shown"))?;
        Ok((Box::new(stream), Caller(caller)))
    }
}

/// Who has called: the certificate that was shown, which is the authority's.
pub(crate) struct Caller(CertificateDer<'static>);

impl Caller {
    /// Whether its certificate is for the host of this address.
    pub(crate) fn is_of(&self, address: &str) -> bool {
        let Ok(name) = name_of(address) else {
            return false;
        };
        ParsedCertificate::try_from(&self.0)
            .and_then(|shown| rustls::client::verify_server_name(&shown, &name))
            .is_ok()
    }
}

/// The host of `HOST:PORT`, as certificates name it.
fn name_of(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::other(format!("{address:?}: {error}")))
}

/// How a client secures its connections.
#[derive(Clone)]
pub struct ClientTls(TlsConnector);

impl ClientTls {
    /// Believes this authority, and shows a certificate with its key where one is given.
    ///
    /// # Errors
    ///
    /// If the files cannot be used.
    pub fn open(ca: &Path, own: Option<(&Path, &Path)>) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(DEFAULT_VERSIONS)?
            .with_root_certificates(read_authorities(ca)?);
        let config = match own {
            Some((cert, key)) => config
                .with_client_auth_cert(read_certificates(cert)?, read_key(key)?)
                .map_err(|error| TlsError::Unfit {
                    path: cert.to_owned(),
                    error,
                })?,
            None => config.with_no_client_auth(),
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Secures a connection to the node at this address.
    ///
    /// # Errors
    ///
    /// If one of the two does not believe the other, or the connection breaks.
    pub async fn secure(&self, address: &str, stream: TcpStream) -> io::Result<Stream> {
        Ok(Box::new(self.0.connect(name_of(address)?, stream).await?))
    }
}

/// Takes connections whose handshake is done. None waits for the handshake of another one.
pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(server::TlsStream<TcpStream>, SocketAddr)>>,
}

impl axum::serve::Listener for TlsListener {
    type Io = server::TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (stream, from) = axum::serve::Listener::accept(&mut self.listener) => {
                    let handshake = self.acceptor.accept(stream);
                    self.handshakes.spawn(async move {
                        match timeout(HANDSHAKE, handshake).await {
                            Ok(Ok(stream)) => return Some((stream, from)),
                            Ok(Err(error)) => tracing::debug!(%from, %error, "no TLS with a client"),
                            Err(_) => tracing::debug!(%from, "a client's handshake takes too long"),
                        }
                        None
                    });
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = done {
                        return accepted;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn hosts_are_named_without_ports() {
        for (address, host) in [
            ("127.0.0.1:7001", "127.0.0.1"),
            ("[::1]:7001", "::1"),
            ("a.example:7001", "a.example"),
        ] {
            assert_eq!(name_of(address).unwrap().to_str(), host);
        }
        assert!(name_of("no host:7001").is_err());
    }
}
