//! The test-kit.
