//! Values drawn from random bytes, for a property that can also be drawn from a fuzzer's bytes.
//!
//! Owns nothing but that way. A failing case gets short as its bytes get small: what they choose
//! first is the plainest.

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use proptest::prelude::*;

/// A value that takes so many bytes at most.
pub(crate) fn from_random_bytes<T, const BYTES: usize>() -> impl Strategy<Value = T>
where
    T: for<'a> Arbitrary<'a> + Debug,
{
    any::<[u8; BYTES]>().prop_map(|bytes| {
        let drawn = Unstructured::new(&bytes).arbitrary();
        drawn.expect("any bytes make a value")
    })
}
