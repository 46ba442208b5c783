//! The harness itself, on real servers.

mod lifetime;
mod server;
mod tidy;
mod tools;

use std::time::Duration;

/// Far more than anything here takes; only a failure waits that long.
const SOON: Duration = Duration::from_secs(20);
