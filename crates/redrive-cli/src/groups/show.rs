//! `redrive group show`: one group with its consumers and its dead-letter queue.

use clap::Args as ClapArgs;
use redrive::{Consumer, EntryId, GroupName, Stats, StreamKey};
use serde::Serialize;

use super::Which;
use crate::consumers;
use crate::failure::Failure;
use crate::session::Session;
use crate::stats;

/// Show a group: what is pending, what it has not read, its consumers with their leases, its dead letters
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive group show orders -g billing\n  \
    redrive group show orders -g billing -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// The dead-letter queue, where it is not STREAM:dlq
    #[arg(long, value_name = "NAME")]
    dlq: Option<StreamKey>,
}

/// As `stats`, with more of each consumer.
#[derive(Serialize)]
struct Shown<'a> {
    stream: &'a StreamKey,
    group: Option<&'a GroupName>,
    stream_length: Option<u64>,
    pending_messages: Option<u64>,
    waiting: Option<u64>,
    lag: Option<u64>,
    lag_exact: bool,
    oldest_pending_ms: Option<u64>,
    last_delivered_id: Option<EntryId>,
    last_entry_id: Option<EntryId>,
    dlq: &'a StreamKey,
    dlq_length: u64,
    dlq_arrivals: u64,
    dlq_dropped: u64,
    consumers: u64,
    consumer_list: &'a [Consumer],
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let broker = session.broker().await?;
    let source = args.which.source();
    let dlq = args
        .dlq
        .unwrap_or_else(|| source.stream.default_dead_letters());
    // First, for it says what is not there.
    let all = broker.consumers(&source).await?;
    let told = broker.stats_with(&source, &dlq).await?;
    if !session.out.is_table() {
        return session.out.document(&document(&told, &all));
    }
    stats::in_numbers(&told, &mut session.out)?;
    if all.is_empty() {
        return Ok(());
    }
    session.out.line("")?;
    session.out.table(consumers::table(&all))
}

fn document<'a>(stats: &'a Stats, all: &'a [Consumer]) -> Shown<'a> {
    Shown {
        stream: &stats.stream,
        group: stats.group.as_ref(),
        stream_length: stats.stream_length,
        pending_messages: stats.pending_messages,
        waiting: stats.waiting,
        lag: stats.lag,
        lag_exact: stats.lag_exact,
        oldest_pending_ms: stats.oldest_pending_ms,
        last_delivered_id: stats.last_delivered_id,
        last_entry_id: stats.last_entry_id,
        dlq: &stats.dlq,
        dlq_length: stats.dlq_length,
        dlq_arrivals: stats.dlq_arrivals,
        dlq_dropped: stats.dlq_dropped,
        consumers: all.len() as u64,
        consumer_list: all,
    }
}
