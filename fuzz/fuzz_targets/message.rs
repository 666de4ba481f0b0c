//! Any message into any node that a run can lead to. What must hold stands in the property, which
//! `tests/any_message/` checks with random bytes.
#![no_main]

#[path = "../../tests/any_message/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|case: property::Case| case.check());
