//! The methods: their parameters, and what they answer.
//!
//! Owns the names and the forms. What they do is the service's.

use almadia::NodeId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Api, RpcError};
use crate::command::{Outcome, Session, Write};
use crate::region::{Address, KeyRange, RegionId};
use crate::service::{Consistency, check_key};

/// The most pairs that a scan answers with.
const MAX_LIMIT: usize = 10_000;
/// The longest name of a client, in bytes.
const MAX_CLIENT: usize = 64;

/// How keys and values are written in JSON.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// As text.
    #[default]
    Utf8,
    /// Any bytes, in base64.
    Base64,
}

impl Encoding {
    fn read(self, text: String) -> Result<Vec<u8>, RpcError> {
        match self {
            Self::Utf8 => Ok(text.into_bytes()),
            Self::Base64 => BASE64
                .decode(text)
                .map_err(|error| RpcError::params(format!("that is no base64: {error}"))),
        }
    }

    fn write(self, bytes: Vec<u8>) -> Result<String, RpcError> {
        match self {
            Self::Utf8 => String::from_utf8(bytes).map_err(|_| {
                RpcError::new(
                    -32002,
                    "that is no text; ask with `\"encoding\": \"base64\"`",
                )
            }),
            Self::Base64 => Ok(BASE64.encode(bytes)),
        }
    }

    fn write_some(self, bytes: Option<Vec<u8>>) -> Result<Option<String>, RpcError> {
        bytes.map(|bytes| self.write(bytes)).transpose()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Get {
    key: String,
    #[serde(default)]
    consistency: Consistency,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scan {
    #[serde(default)]
    start: String,
    end: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    consistency: Consistency,
    #[serde(default)]
    encoding: Encoding,
}

/// One write; which fields it has says which one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    key: String,
    value: String,
    client: Option<String>,
    sequence: Option<u64>,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    key: String,
    client: Option<String>,
    sequence: Option<u64>,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cas {
    key: String,
    expected: Option<String>,
    value: Option<String>,
    client: Option<String>,
    sequence: Option<u64>,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    writes: Vec<Part>,
    client: Option<String>,
    sequence: Option<u64>,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Part {
    Put {
        key: String,
        value: String,
    },
    Delete {
        key: String,
    },
    Cas {
        key: String,
        expected: Option<String>,
        value: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    key: String,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddNode {
    node: u64,
    peer: String,
    client: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveNode {
    node: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    to: u64,
    region: Option<u64>,
}

fn params<T: DeserializeOwned>(params: &str) -> Result<T, RpcError> {
    serde_json::from_str(params).map_err(|error| RpcError::params(error.to_string()))
}

fn node(id: u64) -> Result<NodeId, RpcError> {
    NodeId::new(id).ok_or_else(|| RpcError::params("nodes have ids from 1"))
}

fn session(client: Option<String>, sequence: Option<u64>) -> Result<Option<Session>, RpcError> {
    match (client, sequence) {
        (None, None) => Ok(None),
        (Some(client), Some(sequence)) if client.len() <= MAX_CLIENT && sequence > 0 => {
            Ok(Some(Session { client, sequence }))
        }
        (Some(_), Some(_)) => Err(RpcError::params(format!(
            "`client` has at most {MAX_CLIENT} bytes, and `sequence` begins at 1"
        ))),
        (Some(_), None) | (None, Some(_)) => {
            Err(RpcError::params("`client` and `sequence` belong together"))
        }
    }
}

/// Calls a method.
///
/// # Errors
///
/// If there is no such method, if the parameters are not its, or if it fails.
pub(super) async fn call(api: &Api, method: &str, text: &str) -> Result<Value, RpcError> {
    match method {
        "get" => get(api, params(text)?).await,
        "scan" => scan(api, params(text)?).await,
        "put" => {
            let put: Put = params(text)?;
            let write = Write::Put {
                key: put.encoding.read(put.key)?,
                value: put.encoding.read(put.value)?,
            };
            write_as(api, put.client, put.sequence, put.encoding, vec![write]).await
        }
        "delete" => {
            let delete: Delete = params(text)?;
            let key = delete.encoding.read(delete.key)?;
            let write = Write::Delete { key };
            write_as(
                api,
                delete.client,
                delete.sequence,
                delete.encoding,
                vec![write],
            )
            .await
        }
        "cas" => {
            let cas: Cas = params(text)?;
            let write = read_cas(cas.encoding, cas.key, cas.expected, cas.value)?;
            write_as(api, cas.client, cas.sequence, cas.encoding, vec![write]).await
        }
        "batch" => {
            let batch: Batch = params(text)?;
            let parts = batch.writes.into_iter();
            let writes = parts.map(|part| read_part(batch.encoding, part));
            let writes = writes.collect::<Result<Vec<_>, _>>()?;
            write_as(api, batch.client, batch.sequence, batch.encoding, writes).await
        }
        "cluster.status" => Ok(super::status::status(api)),
        "cluster.add_node" => add_node(api, params(text)?).await,
        "cluster.remove_node" => {
            let remove: RemoveNode = params(text)?;
            let regions = api.service.remove_node(node(remove.node)?).await?;
            Ok(json!({ "regions": regions }))
        }
        "cluster.transfer_leader" => transfer(api, params(text)?).await,
        "cluster.split" => {
            let split: Split = params(text)?;
            let key = split.encoding.read(split.key)?;
            check_key(&key)?;
            // So large a number is met twice by nobody, and JSON's readers keep it exact.
            let new = RegionId(rand::random::<u64>() >> 11);
            api.service.split(key, new).await?;
            Ok(json!({ "region": new.0 }))
        }
        _ => Err(RpcError::new(
            -32601,
            format!(
                "there is no method {method:?}; there are get, scan, put, delete, cas, batch, \
                 cluster.status, cluster.add_node, cluster.remove_node, cluster.transfer_leader and \
                 cluster.split"
            ),
        )),
    }
}

fn read_cas(
    encoding: Encoding,
    key: String,
    expected: Option<String>,
    value: Option<String>,
) -> Result<Write, RpcError> {
    let read = |text: Option<String>| text.map(|text| encoding.read(text)).transpose();
    Ok(Write::Cas {
        key: encoding.read(key)?,
        expected: read(expected)?,
        value: read(value)?,
    })
}

fn read_part(encoding: Encoding, part: Part) -> Result<Write, RpcError> {
    match part {
        Part::Put { key, value } => Ok(Write::Put {
            key: encoding.read(key)?,
            value: encoding.read(value)?,
        }),
        Part::Delete { key } => Ok(Write::Delete {
            key: encoding.read(key)?,
        }),
        Part::Cas {
            key,
            expected,
            value,
        } => read_cas(encoding, key, expected, value),
    }
}

async fn write_as(
    api: &Api,
    client: Option<String>,
    sequence: Option<u64>,
    encoding: Encoding,
    writes: Vec<Write>,
) -> Result<Value, RpcError> {
    let session = session(client, sequence)?;
    match api.service.write(session, writes).await? {
        Outcome::Done => Ok(json!({ "done": true })),
        Outcome::Unequal { key, current } => Ok(json!({
            "done": false,
            "key": encoding.write(key)?,
            "current": encoding.write_some(current)?,
        })),
        Outcome::OldSequence { last } => Err(RpcError::new(
            -32003,
            format!("not done: the client's last write has the number {last}; go on from there"),
        )),
        Outcome::UnknownClient => Err(RpcError::new(
            -32003,
            "not done: the client is not known, or was silent for too long; take a new name and \
             begin with number 1",
        )),
        Outcome::OutsideOfRegion | Outcome::ImpossibleChange | Outcome::Unintelligible => {
            Err(RpcError::new(
                -32603,
                "not done: the nodes of this cluster do not understand each other",
            ))
        }
    }
}

async fn get(api: &Api, get: Get) -> Result<Value, RpcError> {
    let key = get.encoding.read(get.key)?;
    check_key(&key)?;
    let value = api.service.get(&key, get.consistency).await?;
    Ok(json!({ "value": get.encoding.write_some(value)? }))
}

async fn scan(api: &Api, scan: Scan) -> Result<Value, RpcError> {
    let limit = scan.limit.unwrap_or(100);
    if limit == 0 || limit > MAX_LIMIT {
        return Err(RpcError::params(format!(
            "`limit` is from 1 to {MAX_LIMIT}"
        )));
    }
    let encoding = scan.encoding;
    let end = scan.end.map(|end| encoding.read(end)).transpose()?;
    let start = encoding.read(scan.start)?;
    if end.as_ref().is_some_and(|end| *end <= start) {
        return Ok(json!({ "pairs": [], "next": null }));
    }
    let range = KeyRange { start, end };
    let (found, next) = api.service.scan(range, limit, scan.consistency).await?;
    let mut pairs = Vec::new();
    for (key, value) in found {
        pairs.push(json!({ "key": encoding.write(key)?, "value": encoding.write(value)? }));
    }
    Ok(json!({ "pairs": pairs, "next": encoding.write_some(next)? }))
}

async fn add_node(api: &Api, add: AddNode) -> Result<Value, RpcError> {
    let address = Address {
        peer: add.peer,
        client: add.client.unwrap_or_default(),
    };
    let regions = api.service.add_node(node(add.node)?, &address).await?;
    Ok(json!({ "regions": regions }))
}

async fn transfer(api: &Api, transfer: Transfer) -> Result<Value, RpcError> {
    let to = node(transfer.to)?;
    let regions = match transfer.region {
        Some(region) => vec![RegionId(region)],
        None => api
            .service
            .routes
            .all()
            .values()
            .map(|route| route.region)
            .collect(),
    };
    for region in &regions {
        api.service.transfer(*region, to).await?;
    }
    Ok(json!({ "regions": regions.len() }))
}
