//! JSON-RPC 2.0 over HTTP.
//!
//! Owns what comes in and goes out there: envelopes, error codes, and that a batch of calls is answered
//! call by call. What the methods do is in `api/methods.rs`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::metrics::Ended;
use crate::service::{Service, ServiceError};

mod methods;
mod pages;
#[cfg(feature = "pprof")]
mod profile;
mod status;

/// The target of the spans of requests, one for each, which say nothing to the log.
pub const TRACED: &str = "requests";

/// The most bytes of one HTTP request.
const MAX_BODY: usize = 8 << 20;
/// The most calls of a batch: answers may be much longer than what they answer.
const MAX_CALLS: usize = 1_000;

/// The methods that are counted.
const COUNTED: [&str; 11] = [
    "get",
    "scan",
    "put",
    "delete",
    "cas",
    "batch",
    "cluster.status",
    "cluster.add_node",
    "cluster.remove_node",
    "cluster.transfer_leader",
    "cluster.split",
];

/// What the methods work with.
pub struct Api {
    /// Where requests go.
    pub service: Arc<Service>,
    /// What is counted.
    pub metrics: Arc<crate::metrics::Metrics>,
}

/// What is served to clients.
pub fn router(api: Arc<Api>) -> Router {
    let router = Router::new()
        .route("/rpc", post(rpc))
        .route("/health", get(|| async { "ok\n" }))
        .merge(pages::router());
    #[cfg(feature = "pprof")]
    let router = router.route("/debug/pprof", get(profile::profile));
    router
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(api)
}

#[derive(Deserialize)]
struct Call<'a> {
    jsonrpc: Option<&'a str>,
    /// Nothing at all is something else than `null`: who gives no id wants no answer.
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

#[derive(Serialize)]
struct Answer {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
    id: Value,
}

impl Answer {
    fn to_json(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok()
    }
}

/// Why a call has no result.
#[derive(Debug, Serialize)]
pub struct RpcError {
    code: i32,
    message: String,
}

impl RpcError {
    fn new(code: i32, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    fn params(message: impl Into<String>) -> Self {
        Self::new(-32602, message)
    }
}

impl RpcError {
    const fn ended(&self) -> Ended {
        match self.code {
            -32601 | -32602 => Ended::Invalid,
            -32000 => Ended::Unavailable,
            -32001 => Ended::Unknown,
            _ => Ended::Failed,
        }
    }
}

impl From<ServiceError> for RpcError {
    fn from(error: ServiceError) -> Self {
        let code = match error {
            ServiceError::Invalid(_) => -32602,
            ServiceError::Unavailable(_) => -32000,
            ServiceError::OutcomeUnknown(_) => -32001,
            ServiceError::Full(_) => -32004,
            ServiceError::State(_) => -32603,
        };
        Self::new(code, error.to_string())
    }
}

/// What a method is counted as: what is not the name of one is not counted for itself.
fn counted_as(method: &str) -> &'static str {
    let known = COUNTED.iter().find(|known| **known == method);
    known.copied().unwrap_or("none")
}

async fn rpc(State(api): State<Arc<Api>>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            let why = format!("a request has at most {MAX_BODY} bytes: {rejection}");
            let answer = failed(Value::Null, RpcError::new(-32600, why));
            return (rejection.status(), answer.to_json().unwrap_or_default()).into_response();
        }
    };
    let is_batch = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let answer = if is_batch {
        batch(&api, &body).await
    } else {
        let answer = single(&api, &body).await;
        answer.as_ref().and_then(Answer::to_json)
    };
    match answer {
        Some(answer) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        // Whoever gives a call no id does not want to know.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn batch(api: &Api, body: &[u8]) -> Option<Vec<u8>> {
    let calls: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(calls) => calls,
        Err(error) => return failed(Value::Null, parse_error(&error)).to_json(),
    };
    if calls.is_empty() {
        let error = RpcError::new(-32600, "a batch has at least one call");
        return failed(Value::Null, error).to_json();
    }
    if calls.len() > MAX_CALLS {
        let error = RpcError::new(-32600, format!("a batch has at most {MAX_CALLS} calls"));
        return failed(Value::Null, error).to_json();
    }
    let mut answers = Vec::new();
    for call in calls {
        answers.extend(single(api, call.get().as_bytes()).await);
    }
    if answers.is_empty() {
        return None;
    }
    serde_json::to_vec(&answers).ok()
}

async fn single(api: &Api, body: &[u8]) -> Option<Answer> {
    let call: Call<'_> = match serde_json::from_slice(body) {
        Ok(call) => call,
        Err(error) if error.is_data() => {
            let error = RpcError::new(-32600, format!("that is no JSON-RPC call: {error}"));
            return Some(failed(Value::Null, error));
        }
        Err(error) => return Some(failed(Value::Null, parse_error(&error))),
    };
    if call.jsonrpc != Some("2.0") {
        let error = RpcError::new(-32600, "a call says `\"jsonrpc\": \"2.0\"`");
        return Some(failed(call.id.unwrap_or_default(), error));
    }
    let params = call.params.map_or("{}", RawValue::get);
    let span = tracing::debug_span!(
        target: TRACED, "request",
        node = api.service.me.get(), method = call.method, region = Empty, error = Empty
    );
    let begun = Instant::now();
    let calling = methods::call(api, &call.method, params);
    let result = calling.instrument(span.clone()).await;
    if let Err(error) = &result {
        span.record("error", &error.message);
    }
    let ended = result
        .as_ref()
        .map_or_else(RpcError::ended, |_| Ended::Answered);
    api.metrics
        .request_ended(counted_as(&call.method), ended, begun.elapsed());
    let id = call.id?;
    Some(match result {
        Ok(result) => Answer {
            jsonrpc: "2.0",
            result: Some(result),
            error: None,
            id,
        },
        Err(error) => failed(id, error),
    })
}

fn parse_error(error: &serde_json::Error) -> RpcError {
    RpcError::new(-32700, format!("that is no JSON: {error}"))
}

const fn failed(id: Value, error: RpcError) -> Answer {
    Answer {
        jsonrpc: "2.0",
        result: None,
        error: Some(error),
        id,
    }
}
