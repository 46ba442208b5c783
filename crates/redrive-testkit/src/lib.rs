//! Real redis-server processes for redrive's own tests, and the few tools that go with them.
//!
//! Nothing here is a mock. A [`Server`] is a `redis-server` (or `valkey-server`) of its own on a free loopback
//! port and a unix socket, gone when it is dropped and gone when the test process is killed. A test that cannot
//! get its server fails: every function panics with a message that says what was missing, none skips.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> redis::RedisResult<()> {
//! use redrive_testkit::{Server, leaked_keys, stream_name};
//!
//! let server = Server::start().await;
//! let mut connection = server.connect().await;
//! let stream = stream_name("orders");
//!
//! let _: String = redis::cmd("XADD").arg(&stream).arg("*").arg("n").arg(1).query_async(&mut connection).await?;
//!
//! assert!(leaked_keys(&mut connection, &stream, &[stream.as_str()]).await?.is_empty());
//! # Ok(())
//! # }
//! ```

mod builder;
mod commands;
mod eventually;
mod fuzz;
mod keys;
mod log;
mod process;
mod proxy;
mod scripts;
mod sentinel;
mod server;
mod tls;

pub use builder::Builder;
pub use commands::{Commands, commands, diff};
pub use eventually::{Observation, eventually};
pub use fuzz::{fuzz, fuzz_bytes, pieces};
pub use keys::{leaked_keys, stream_name};
pub use log::Log;
pub use proxy::{Armed, Fault, Label, Moment, Proxy, Target};
pub use scripts::{library_scripts, scripts};
pub use sentinel::{Access, SERVICE, SentinelTrio, sentinel_of};
pub use server::Server;
pub use tls::{TlsFiles, install_crypto_provider};

/// Fails the running test. The one place where the harness panics on purpose.
#[track_caller]
#[expect(
    clippy::panic,
    reason = "a test that cannot get its server fails, loudly and at once"
)]
fn fail(message: &str) -> ! {
    panic!("{message}")
}
