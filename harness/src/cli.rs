//! The commands of `almadia-harness`, a file for each.

pub(crate) mod sim;
pub(crate) mod storage;
