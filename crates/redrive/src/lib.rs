//! Redis Streams consumers done right: at least once, nothing stuck, nobody blamed for another
//! message's crash, every dead letter explained and replayable byte for byte.
//!
//! [`Broker`] connects, [`Processor`] runs a handler on the messages of a stream, [`Producer`] adds
//! messages, [`DeadLetterQueue`] looks at what was given up and puts it back. Everything runs on a
//! server with Redis Streams, and as it is within the process on `memory:`, for tests.
//!
//! ```
//! use redrive::{Broker, Message, Outcome, Processor, Source};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Order {
//!     cents: i64,
//! }
//!
//! async fn bill(order: Message<Order>) -> Result<Outcome, std::num::TryFromIntError> {
//!     if order.cents < 0 {
//!         return Ok(Outcome::dead_letter("the total is negative"));
//!     }
//!     let _charged = u32::try_from(order.cents)?; // an error is a retry, by policy
//!     Ok(Outcome::Ack)
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let broker = Broker::connect("memory:").await?;
//! broker.producer("orders".parse()?).send(&Order { cents: 1250 }).await?;
//! let totals = Processor::builder(&broker, Source::new("orders", "billing")?)
//!     .concurrency(32)
//!     .build(bill)?
//!     .run_until_idle()
//!     .await?;
//! assert_eq!(totals.succeeded, 1);
//! # Ok::<(), redrive::Error>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What happens is logged with [`tracing`](https://docs.rs/tracing), and counted with
//! [`metrics`](https://docs.rs/metrics): an application that installs a recorder before it runs a processor sees
//! `redrive_messages_succeeded_total` and some thirty others.
//!
//! ```
//! use metrics_exporter_prometheus::PrometheusBuilder;
//!
//! let prometheus = PrometheusBuilder::new().install_recorder()?;
//! // Later, for whoever asks:
//! let page = prometheus.render();
//! # assert_eq!(page, "");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
#[cfg(not(fuzzing_libfuzzer))]
mod agreement;
mod archive;
mod audit;
mod audit_log;
mod backend;
mod broker;
mod calendar;
mod campaign;
mod closing;
mod codec;
#[cfg(test)]
#[cfg(not(fuzzing_libfuzzer))]
mod conformance;
mod dead_letter;
mod dead_letter_queue;
mod delivery;
mod doctor;
mod error;
mod examining;
mod fingerprint;
mod gate;
mod groups;
mod handler;
mod keeping;
mod ledger;
mod members;
mod memory;
mod message;
mod moves;
mod names;
mod outcome;
mod payload;
mod processor;
mod producer;
mod rate;
mod redis;
mod retry;
mod rule;
mod selection;
mod spill;
mod stats;
mod telemetry;
mod trim;
mod trimming;
mod upkeep;
mod verdict;

pub use archive::{Archive, ArchiveReader, ArchivedDeadLetter};
pub use audit::{Audit, AuditAction, AuditOutcome, AuditQuery, AuditRecord, AuditState};
pub use backend::{Keep, OnAck};
pub use broker::{Broker, ConnectOptions};
pub use bytes::Bytes;
pub use campaign::{Campaign, CampaignName, CampaignState, DiedAgain};
pub use codec::{Decode, DecodeError, Encode, Json, MessagePack, Raw, RawField};
pub use dead_letter::{DeadLetter, DeadLetterLayout, DeadLetterLimit, Layout, Overflow, Reason};
pub use dead_letter_queue::{
    CampaignStep, CampaignWatch, DeadLetterQueue, DryRun, Exporting, Found, Grouping,
    ImportOptions, ImportOutcome, ImportReport, ImportResult, Importing, Inspection, Listing,
    Progress, PurgeReport, Purging, ReplayFailure, ReplayOptions, ReplayOutcome, ReplayReport,
    ReplayResult, ReplaySample, Replaying, ShadowOptions, ShadowReport, Shadowing,
    StagedDeadLetter, Trail, TrailBegin, TrailEnd, TrailEvent, UndoReport, Undoing,
};
pub use doctor::{Finding, FindingCode, Severity};
pub use error::{BoxError, Error, ErrorKind};
pub use examining::{Checkup, Fixed};
pub use groups::{DeadLetterGroup, DeadLetterGroups, GroupBy};
pub use handler::Handler;
pub use ledger::Ledger;
pub use members::{
    Consumer, GroupCreation, GroupDeletion, InUse, KeptConsumer, PruneReport, WhyKept,
};
pub use message::{Fields, Lineage, Message};
pub use names::{ConsumerName, EntryId, GroupName, GroupStart, Names, Source, StreamKey};
pub use outcome::{Failure, IntoOutcome, Outcome};
pub use payload::{Assignment, MergePatch, PayloadCodec, PayloadPath, Preview, PreviewContent};
pub use processor::{
    Breaker, Extent, Processor, ProcessorBuilder, ProcessorOptions, Recovered, Totals,
};
pub use producer::Producer;
pub use rate::Rate;
pub use retry::{Backoff, Jitter, RetryPolicy};
pub use rule::{Rule, RuleValue};
pub use selection::{
    CountFilter, ErrorRegex, ErrorText, FieldFilter, FingerprintPrefix, Order, Page, Selection,
};
pub use spill::{Appending, Spill, SpillTo};
pub use stats::{ConsumerStats, GroupState, Pending, Stats};
pub use trim::TrimReport;
pub use trimming::Trimming;

/// The programs of the README, run with the examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

/// The programs of the page about this library, likewise.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/library.md")]
pub struct LibraryPage;

/// The programs of the page about dead letters, likewise.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/dead-letters.md")]
pub struct DeadLettersPage;

/// The program of the page about the doctor, likewise.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/doctor.md")]
pub struct DoctorPage;

/// The program of the page about metrics, likewise.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/metrics.md")]
pub struct MetricsPage;
