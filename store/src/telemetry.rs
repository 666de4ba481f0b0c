//! What the program tells of itself: its log on stderr and, if it is built so, traces over OTLP.
//!
//! Owns the forms and where they go. Knows nothing of what is told.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// How the log is written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// An object in each line.
    Json,
}

/// What the program is asked to tell.
#[derive(clap::Args)]
pub(crate) struct Telemetry {
    /// How the log is written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Where traces of requests go, over HTTP: for instance `http://127.0.0.1:4318/v1/traces`.
    #[cfg(feature = "otlp")]
    #[arg(long, global = true, value_name = "URL")]
    otlp_endpoint: Option<String>,
}

/// Nothing is lost that was told until this is dropped.
pub(crate) struct Telling {
    #[cfg(feature = "otlp")]
    traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

impl Telemetry {
    /// Begins to tell. It has to be called outside of the runtime.
    ///
    /// # Errors
    ///
    /// If there is no telling it in this way.
    pub(crate) fn start(&self) -> Result<Telling, Box<dyn std::error::Error>> {
        let filter = EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| "almadia_store=info,opentelemetry=warn".into());
        let log = tracing_subscriber::fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        let log = match self.log_format {
            LogFormat::Text => log.with_filter(filter).boxed(),
            LogFormat::Json => log.json().with_filter(filter).boxed(),
        };
        let registry = tracing_subscriber::registry().with(log);
        #[cfg(feature = "otlp")]
        {
            let endpoint = self.otlp_endpoint.as_deref();
            let traces = endpoint.map(traces).transpose()?;
            let layer = traces.as_ref().map(|traces| {
                use opentelemetry::trace::TracerProvider as _;
                tracing_opentelemetry::layer()
                    .with_tracer(traces.tracer("almadia-store"))
                    .with_filter(tracing_subscriber::filter::filter_fn(|about| {
                        about.target() == almadia_store::api::TRACED
                    }))
            });
            registry.with(layer).try_init()?;
            Ok(Telling { traces })
        }
        #[cfg(not(feature = "otlp"))]
        {
            registry.try_init()?;
            Ok(Telling {})
        }
    }
}

#[cfg(feature = "otlp")]
fn traces(
    endpoint: &str,
) -> Result<opentelemetry_sdk::trace::SdkTracerProvider, Box<dyn std::error::Error>> {
    use opentelemetry_otlp::WithExportConfig as _;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| format!("--otlp-endpoint {endpoint}: {error}"))?;
    let resource = opentelemetry_sdk::Resource::builder()
        .with_service_name("almadia-store")
        .build();
    Ok(opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

impl Drop for Telling {
    fn drop(&mut self) {
        #[cfg(feature = "otlp")]
        if let Some(traces) = self.traces.take()
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(%error, "not all traces have been sent");
        }
    }
}
