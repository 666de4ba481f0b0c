//! A client of the HTTP interface: one connection, one call at a time.
//!
//! Owns the connection, which is made anew after it broke. Knows no method.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tls::{ClientTls, Stream};

/// Why a call has no result.
#[derive(Debug, Error)]
pub enum CallError {
    /// The node was not reached, or has not answered: what was asked for may be done or not.
    #[error("{0} does not answer: {1}")]
    Unanswered(String, String),
    /// It has refused.
    #[error("{message} (error {code})")]
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// Why.
        message: String,
    },
}

/// A connection to a node.
pub struct Client {
    address: String,
    patience: Duration,
    tls: Option<ClientTls>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// For the node at this address, which is given so much time for each answer.
    #[must_use]
    pub const fn new(address: String, patience: Duration) -> Self {
        Self {
            address,
            patience,
            tls: None,
            connection: None,
        }
    }

    /// The same, over TLS.
    #[must_use]
    pub fn secured(self, tls: Option<ClientTls>) -> Self {
        Self { tls, ..self }
    }

    /// The node's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Calls a method.
    ///
    /// # Errors
    ///
    /// If it was refused, or not answered.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, CallError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let bytes = self.post("/rpc", body.to_string().into()).await?;
        let mut answer: Value = serde_json::from_slice(&bytes)
            .map_err(|error| CallError::Unanswered(self.address.clone(), error.to_string()))?;
        let error = &answer["error"];
        if error.is_null() {
            return Ok(answer["result"].take());
        }
        Err(CallError::Refused {
            code: error["code"].as_i64().unwrap_or_default(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Posts a body, and returns what comes back.
    ///
    /// # Errors
    ///
    /// [`CallError::Unanswered`].
    pub async fn post(&mut self, path: &str, body: Bytes) -> Result<Bytes, CallError> {
        let answer = timeout(self.patience, self.exchange(path, body)).await;
        let why = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it takes too long".to_owned(),
        };
        self.connection = None;
        Err(CallError::Unanswered(self.address.clone(), why))
    }

    async fn exchange(
        &mut self,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
        let connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => connect(&self.address, self.tls.as_ref()).await?,
        };
        let connection = self.connection.insert(connection);
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

async fn connect(
    address: &str,
    tls: Option<&ClientTls>,
) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream: Stream = match tls {
        Some(tls) => tls.secure(address, stream).await?,
        None => Box::new(stream),
    };
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
