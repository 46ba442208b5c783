//! Redis Streams consumers done right.

mod backend;
mod codec;
#[cfg(test)]
mod conformance;
mod dead_letter;
mod error;
mod fingerprint;
mod handler;
mod memory;
mod message;
mod names;
mod outcome;
mod redis;
mod retry;
mod stats;
mod verdict;

pub use backend::{Keep, OnAck, Order};
pub use codec::{Decode, DecodeError, Encode, Json, Raw};
pub use dead_letter::{DeadLetter, DeadLetterLayout, Layout, Reason};
pub use error::{BoxError, Error, ErrorKind};
pub use handler::Handler;
pub use message::{Fields, Lineage, Message};
pub use names::{ConsumerName, EntryId, GroupName, GroupStart, Source, StreamKey};
pub use outcome::{Failure, IntoOutcome, Outcome};
pub use retry::{Backoff, Jitter, RetryPolicy};
pub use stats::{ConsumerStats, GroupState, Stats};
