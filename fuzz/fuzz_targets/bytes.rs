//! Any bytes through the codec into any node that a run can lead to. What must hold stands in the
//! property, which `proto/tests/any_bytes/` checks with random bytes.
#![no_main]

#[path = "../../proto/tests/any_bytes/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|case: property::Case| case.check());
