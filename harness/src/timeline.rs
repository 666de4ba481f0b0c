//! The picture of a run: one page that shows a trace in a browser and needs nothing else.
//!
//! Owns the making of the page, and that nothing in a trace can break out of its place in it. How
//! the page looks and works is in `timeline/`: `model.js` reads the trace, `layout.js` places
//! it, `picture.js` draws it, and `page.js` does the rest. What there is to show is in `trace.rs`.

use serde::Serialize;

use crate::trace::{Trace, TraceEvent, TraceHeader};

/// The page, with marks where its parts go.
const PAGE: &str = include_str!("timeline/page.html");
const STYLE: &str = include_str!("timeline/page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("timeline/model.js"),
    include_str!("timeline/layout.js"),
    include_str!("timeline/picture.js"),
    include_str!("timeline/page.js"),
];

/// The trace as the page's script finds it: one JSON value, where the file has lines.
#[derive(Serialize)]
struct Embedded<'a> {
    header: &'a TraceHeader,
    events: &'a [TraceEvent],
}

/// Makes a page in HTML that shows the run: nodes as lanes, terms as colours, messages as arrows,
/// and where a promise was broken. It stands alone: it loads nothing, and can be mailed or kept
/// with a bug report.
#[must_use]
pub fn timeline(trace: &Trace) -> String {
    let embedded = Embedded {
        header: trace.header(),
        events: trace.events(),
    };
    // A trace consists of numbers, texts and lists of them, all of which JSON can express.
    let json = serde_json::to_string(&embedded).unwrap_or_default();
    let parts = [
        ("{{title}}", escaped(trace.name())),
        ("{{style}}", STYLE.trim_end().into()),
        ("{{script}}", SCRIPTS.join("\n").trim_end().into()),
        // No text can end the element that the trace stands in: JSON has no other use for `<`.
        ("{{trace}}", json.replace('<', "\\u003c")),
    ];
    fill(PAGE, &parts)
}

/// Puts the parts in their places. What a part contains is never taken for a place.
fn fill(page: &str, parts: &[(&str, String)]) -> String {
    let mut filled = String::new();
    let mut rest = page;
    while let Some((before, (place, part))) = parts
        .iter()
        .filter_map(|part| Some((rest.find(part.0)?, part)))
        .min_by_key(|(at, _)| *at)
        .map(|(at, part)| (at, (part.0, &part.1)))
    {
        filled.push_str(&rest[..before]);
        filled.push_str(part);
        rest = &rest[before + place.len()..];
    }
    filled + rest
}

/// A text as HTML shows it.
fn escaped(text: &str) -> String {
    let text = if text.is_empty() { "a run" } else { text };
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
