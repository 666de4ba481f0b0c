//! The commands of `almadia-harness`, a file for each.

pub(crate) mod model;
pub(crate) mod replay;
pub(crate) mod scripts;
pub(crate) mod sim;
pub(crate) mod storage;
pub(crate) mod timeline;
