//! What is known of the time in which nothing comes but ticks, or but acknowledgements.
//!
//! Owns how long an idle node is spared the looking, and whether there is anything to hand out.
//! Knows nothing of what that would be.

use core::fmt;
use core::hash::{Hash, Hasher};

/// Follows from the rest of a node, so it is no part of its identity, nor of what is printed of it.
#[derive(Clone, Copy)]
pub(crate) struct Quiet {
    /// Until the clock stands here, ticks move it on and do nothing else.
    pub(crate) until: u32,
    /// Nothing is to be sent to any peer. If not, that is not known.
    pub(crate) peers_served: bool,
    /// There is nothing for a `Ready`.
    pub(crate) has_no_ready: bool,
    /// Nothing but a tick has come since it was found so.
    pub(crate) since_last_tick: bool,
}

impl Quiet {
    /// Nothing is known: something may happen now.
    pub(crate) const NONE: Self = Self {
        until: 0,
        peers_served: false,
        has_no_ready: false,
        since_last_tick: false,
    };
}

impl fmt::Debug for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("-")
    }
}

impl PartialEq for Quiet {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Quiet {}

impl Hash for Quiet {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
