//! The commands of `almadia-harness`, a file for each.

pub(crate) mod model;
pub(crate) mod sim;
