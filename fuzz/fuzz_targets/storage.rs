//! Any answers of a storage, to a node in any role. What must hold stands in the property, which
//! `tests/any_storage/` checks with random bytes.
#![no_main]

#[path = "../../tests/any_storage/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|case: property::Case| case.check());
