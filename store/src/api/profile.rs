//! `/debug/pprof?seconds=N`: where the processor's time goes, as a flame graph.
//!
//! Owns the sampling. Knows nothing of what is sampled.

use std::time::Duration;

use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

/// Samples in a second; a prime number, so that nothing runs in step with it.
const FREQUENCY: i32 = 97;
const MAX_SECONDS: u64 = 60;

/// Samples for a while.
pub(super) async fn profile(uri: Uri) -> Response {
    let mut seconds = Ok(10);
    for (name, value) in uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|part| part.split_once('='))
    {
        if name == "seconds" {
            seconds = value.parse();
        }
    }
    let Some(seconds) = seconds.ok().filter(|n| (1..=MAX_SECONDS).contains(n)) else {
        let why = format!("`seconds` is a number from 1 to {MAX_SECONDS}\n");
        return (StatusCode::BAD_REQUEST, why).into_response();
    };
    let sampling = pprof::ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        // What is interrupted while it unwinds its own stack cannot be unwound.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build();
    let sampling = match sampling {
        Ok(sampling) => sampling,
        Err(error) => {
            let why = format!("{error}; another profile may be under way\n");
            return (StatusCode::CONFLICT, why).into_response();
        }
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let drawn = tokio::task::spawn_blocking(move || {
        let mut drawn = Vec::new();
        let report = sampling.report().build()?;
        report.flamegraph(&mut drawn).map(|()| drawn)
    });
    match drawn.await {
        Ok(Ok(drawn)) => ([(header::CONTENT_TYPE, "image/svg+xml")], drawn).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
