//! The harness itself, on real servers, and the house rules that a machine can check.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lifetime;
mod proxy;
mod server;
mod tidy;
mod tools;

use std::time::Duration;

/// Far more than anything here takes; only a failure waits that long.
const SOON: Duration = Duration::from_secs(20);
