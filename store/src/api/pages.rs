//! What is there to look at: the dashboard, and the figures for Prometheus.
//!
//! Owns their addresses and headers. The dashboard asks for what it shows by `cluster.status`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Api;
use crate::metrics::CONTENT_TYPE;

/// The dashboard: one file, which needs no other.
const DASHBOARD: &str = include_str!("dashboard.html");
/// It loads nothing, speaks with this node alone, and is in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/", get(dashboard))
        .route("/metrics", get(metrics))
}

async fn dashboard() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, DASHBOARD).into_response()
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    match api.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
