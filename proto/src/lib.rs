//! The place where bytes will meet the domain types of [`almadia`]: the wire format of raft-rs 0.7.
//!
//! Owns nothing yet. Messages and entries are Rust values in this version; an embedder that needs
//! bytes encodes them itself.

#![no_std]
