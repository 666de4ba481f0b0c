//! What must be on a node's own disk before what: the durability rules, one row after the other,
//! and the ways in which other implementations have broken them.
//!
//! Owns the disk that lags: here writes are acknowledged when the test says so, or never.

#[path = "../common/nodes.rs"]
mod nodes;

mod acknowledgements;
mod overtaken;
mod votes;

use almadia::{Message, MessageKind};

fn kinds(messages: &[Message]) -> Vec<MessageKind> {
    messages.iter().map(|message| message.body.kind()).collect()
}
