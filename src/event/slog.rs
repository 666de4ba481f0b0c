//! Events as lines of a slog logger.
//!
//! Owns their level and wording. Must not know why they happen.

use slog::{Logger, error, info, o, warn};

use super::{Event, Observer};
use crate::types::NodeId;

/// Writes every [`Event`] to a logger: what the node does by itself at `info` and `debug`, what
/// others do wrong at `warn`, and its end at `error`. (Feature `slog`.)
#[derive(Clone, Debug)]
pub struct SlogObserver {
    logger: Logger,
}

impl SlogObserver {
    /// Writes to this logger.
    #[must_use]
    pub fn new(logger: &Logger) -> Self {
        Self {
            logger: logger.new(o!()),
        }
    }
}

impl Observer for SlogObserver {
    fn on_event(&self, node: NodeId, event: &Event<'_>) {
        let log = &self.logger;
        let node = node.get();
        match *event {
            Event::RoleChanged { role, term } => {
                info!(log, "became {}", role; "node" => node, "term" => term.0);
            }
            Event::LeaderFound { leader, term } => {
                info!(log, "node {} leads", leader; "node" => node, "term" => term.0);
            }
            Event::CampaignRefused(reason) => {
                info!(log, "does not campaign: {}", reason; "node" => node);
            }
            Event::QuorumLost { term } => {
                warn!(log, "has not heard from a quorum"; "node" => node, "term" => term.0);
            }
            Event::LogTruncated { kept } => {
                info!(log, "the log is cut off behind entry {}", kept; "node" => node);
            }
            Event::SnapshotSent {
                peer,
                last_included,
            } => {
                info!(log, "snapshot {} sent to node {}", last_included, peer; "node" => node);
            }
            Event::SnapshotAccepted { last_included } => {
                info!(log, "snapshot {} accepted", last_included; "node" => node);
            }
            Event::MembershipChanged(membership) => {
                info!(log, "new membership: {}", membership; "node" => node);
            }
            Event::TransferEnded(outcome) => match &outcome.result {
                Ok(()) => {
                    info!(log, "leadership is with node {}", outcome.transferee; "node" => node)
                }
                Err(failure) => {
                    info!(log, "node {} does not lead: {}", outcome.transferee, failure; "node" => node);
                }
            },
            Event::HandedOver { successor } => {
                info!(log, "hands over to node {}", successor; "node" => node);
            }
            Event::MessageRefused { from, kind, error } => {
                warn!(log, "refused {} of node {}: {}", kind, from, error; "node" => node);
            }
            Event::Halted(halted) => error!(log, "{}", halted; "node" => node),
        }
    }
}
