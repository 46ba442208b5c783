//! Redis Streams consumers done right.

#[cfg(test)]
mod agreement;
mod backend;
mod broker;
mod closing;
mod codec;
#[cfg(test)]
mod conformance;
mod dead_letter;
mod dead_letter_queue;
mod error;
mod fingerprint;
mod handler;
mod memory;
mod message;
mod names;
mod outcome;
mod processor;
mod producer;
mod redis;
mod retry;
mod selection;
mod stats;
mod telemetry;
mod verdict;

pub use backend::{Keep, OnAck, Order};
pub use broker::{Broker, ConnectOptions};
pub use codec::{Decode, DecodeError, Encode, Json, Raw};
pub use dead_letter::{DeadLetter, DeadLetterLayout, Layout, Reason};
pub use dead_letter_queue::{
    DeadLetterQueue, Inspection, Listing, PurgeReport, ReplayFailure, ReplayOptions, ReplayReport,
};
pub use error::{BoxError, Error, ErrorKind};
pub use handler::Handler;
pub use message::{Fields, Lineage, Message};
pub use names::{ConsumerName, EntryId, GroupName, GroupStart, Source, StreamKey};
pub use outcome::{Failure, IntoOutcome, Outcome};
pub use processor::{Processor, ProcessorBuilder, ProcessorOptions, Recovered, Totals};
pub use producer::Producer;
pub use retry::{Backoff, Jitter, RetryPolicy};
pub use selection::{Page, Selection};
pub use stats::{ConsumerStats, GroupState, Stats};
