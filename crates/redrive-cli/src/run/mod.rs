//! `redrive run`: a worker whose handler is a program or an HTTP server.

mod command;
mod delivery;
mod ended;
mod handling;
mod http;
mod limit;
mod lines;
mod program;
mod retry_after;
mod shadow;
mod stop;
mod summary;

use std::ffi::OsString;
use std::time::Duration;

use clap::Args as ClapArgs;
use redrive::{
    Breaker, ConsumerName, DeadLetterLimit, Extent, GroupName, GroupStart, Layout, OnAck, Overflow,
    Processor, RetryPolicy, Source, StreamKey,
};

pub(crate) use self::delivery::Bodies;
use self::handling::{Handling, Worker};
use self::http::Server;
use self::limit::{Full, Limit};
use self::program::Program;
pub(crate) use self::shadow::Shadow;
use self::stop::{Stop, until_second};
use crate::failure::{Code, Failure};
use crate::literals::{self, DurationOrNone, Shown, Wait};
use crate::session::Session;
use crate::signals::Signals;

/// How much longer than its handlers need at most the worker waits for handlers that it has told
/// to end.
const MARGIN: Duration = Duration::from_secs(2);

// What a processor takes; its own check stands behind these.
/// The most messages at once.
const MOST: usize = 1_000_000;
const SHORTEST: Duration = Duration::from_millis(1);
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

const SEE_HELP: &str = "see `redrive run --help`";

/// Run a worker: a command, or an HTTP server, handles each message
///
/// Reads the stream through the group and gives each message to the handler. What the handler does
/// not manage is tried again, and given up to the dead-letter queue after --max-attempts. Runs
/// until SIGTERM or Ctrl-C, then finishes what has started; a second one ends it at once.
///
/// A command is started once for each message, which is on its stdin: exit 0 is success, 65 gives
/// the message up at once, anything else is tried again. An HTTP server gets a POST: 2xx is success,
/// 400, 410, 413, 415 and 422 give the message up at once, anything else is tried again.
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples:\n  \
    redrive run orders -g billing -- ./bill.sh\n  \
    redrive run orders -g billing --until-idle --http http://127.0.0.1:8080/orders")]
pub(crate) struct Args {
    /// The stream
    stream: StreamKey,
    /// The consumer group; it is created where it is missing
    #[arg(short, long, value_name = "GROUP")]
    group: GroupName,
    /// The program that handles a message, and its arguments
    #[arg(last = true, value_name = "CMD", conflicts_with = "http")]
    command: Vec<OsString>,
    /// Post each message to this URL instead of starting a command
    #[arg(long, value_name = "URL")]
    http: Option<String>,
    /// Give the handler the bytes of this field instead of all fields as JSON; none where an entry
    /// does not have it
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
    /// Handle messages with the same bytes in this field one after another, in the order of the
    /// stream; one without the field is not ordered. A failed one is waited for, through its backoff
    #[arg(long, value_name = "FIELD")]
    ordered_by: Option<String>,
    /// The name in the group, for one process at a time [default: random]
    #[arg(long, value_name = "NAME")]
    consumer: Option<ConsumerName>,
    /// Where a group that is created begins: 0 (all entries), $ (new ones), or after an id
    #[arg(long, value_name = "0|$|ID", default_value = "0")]
    start: GroupStart,
    /// How many messages are handled at once, 1 to 1000000
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = literals::count_in(1..=MOST))]
    concurrency: usize,
    /// How many messages one read asks for at most, and how many wait beside the running ones, 1 to
    /// 1000000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = literals::count_in(1..=MOST))]
    batch: usize,
    /// How long one read waits for a message, 1ms to 365d
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = literals::duration_from(SHORTEST))]
    block: Duration,

    /// How long a handler may run, 1ms to 365d, or none; then its process group is ended, which is a
    /// failure
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        value_parser = literals::duration_or_none_from(SHORTEST),
        help_heading = "Failures"
    )]
    timeout: DurationOrNone,
    /// How many failures make a message a dead letter, at least 1
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Failures")]
    max_attempts: u32,
    /// How many times this worker may end while a message runs, at least 2; before the last time it
    /// runs alone. How a command or a server ends is no crash
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..), help_heading = "Failures")]
    max_crashes: u32,
    /// How long a failed message waits: none, 10s (fixed) or 1s..5m (doubling, at random up to it)
    #[arg(
        long,
        value_name = "BACKOFF",
        default_value = "1s..5m",
        help_heading = "Failures"
    )]
    backoff: Wait,
    /// When nearly every run fails: on slows the worker down, off tries every message at once
    #[arg(
        long,
        value_enum,
        value_name = "on|off",
        default_value_t,
        hide_possible_values = true,
        help_heading = "Failures"
    )]
    breaker: BreakerSwitch,
    /// How long a worker may be silent before others take its messages over, 100ms to 365d
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = literals::duration_from(SHORTEST_LEASE), help_heading = "Failures")]
    lease: Duration,
    /// The same for consumers that are not redrive's, which do not renew what they hold; at least
    /// --lease
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = literals::duration_from(SHORTEST_LEASE), help_heading = "Failures")]
    foreign_lease: Duration,
    /// The stream of dead letters [default: STREAM:dlq; envelopes sg:stream:dlq]
    #[arg(long, value_name = "NAME", help_heading = "Failures")]
    dlq: Option<StreamKey>,
    /// How dead letters are laid out
    #[arg(
        long,
        value_enum,
        value_name = "LAYOUT",
        default_value_t,
        help_heading = "Failures"
    )]
    layout: LayoutName,
    /// How much the queue of dead letters may hold, or none: N of them, bytes=64MiB as the server counts,
    /// age=7d, or some of these with commas between [default: none; envelopes about 5000]
    #[arg(
        long,
        value_name = "N,bytes=SIZE,age=DURATION",
        help_heading = "Failures"
    )]
    dlq_limit: Option<Limit>,
    /// At the limit: stop (messages stay pending), spill=FILE (near it, the oldest go into a gzip file that
    /// `redrive dlq import` reads) or drop-oldest [default: stop; envelopes drop-oldest]
    #[arg(long, value_name = "WHAT", help_heading = "Failures")]
    dlq_overflow: Option<Full>,
    /// What becomes of an entry that was handled; delete is for streams with one group
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    on_ack: OnAckName,

    /// End when nothing is left, pending or waiting for a retry, in the whole group, but what a full
    /// dead-letter queue keeps pending
    #[arg(long, help_heading = "End", conflicts_with = "max_batches")]
    until_idle: bool,
    /// End after so many reads, empty ones too
    #[arg(long, value_name = "N", help_heading = "End", value_parser = clap::value_parser!(u64).range(1..))]
    max_batches: Option<u64>,
    /// Stop politely after this long
    #[arg(long, value_name = "DURATION", value_parser = literals::duration, help_heading = "End")]
    max_time: Option<Duration>,
    /// How long running handlers may take to finish when the worker stops, up to 365d
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = literals::duration_from(Duration::ZERO), help_heading = "End")]
    drain: Duration,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum LayoutName {
    #[default]
    Native,
    Flat,
    Envelope,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum BreakerSwitch {
    #[default]
    On,
    Off,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum OnAckName {
    #[default]
    Keep,
    Delete,
}

/// Runs the worker to its end.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let source = Source {
        stream: args.stream.clone(),
        group: args.group.clone(),
    };
    args.agree()?;
    let limit = args.timeout.0;
    let worker = worker(&args, &source, limit)?;
    let dlq_limit = args.dlq_limit()?;
    let (extent, max_time) = (args.extent(), args.max_time);
    let stop = Stop::new(args.drain);
    let grace = worker.to_end() + MARGIN;
    let handling = Handling::new(worker, limit, stop.clone());

    let broker = session.broker().await?;
    // Nothing is held yet: until here a signal simply ends the process.
    let signals = Signals::listen()?;
    let mut builder = Processor::builder(&broker, source)
        .codec(args.field.map_or(Bodies::All, Bodies::Field))
        // The handler has its own: a time-out is a failure only when the child is gone.
        .timeout(None)
        .grace(grace)
        .concurrency(args.concurrency)
        .batch(args.batch)
        .block(args.block)
        .lease(args.lease)
        .foreign_lease(args.foreign_lease)
        .retry(retry(args.backoff, args.max_attempts, args.max_crashes))
        .drain(args.drain)
        .group_start(args.start)
        .layout(match args.layout {
            LayoutName::Native => Layout::Native,
            LayoutName::Flat => Layout::Flat,
            LayoutName::Envelope => Layout::Envelope,
        })
        .breaker(match args.breaker {
            BreakerSwitch::On => Breaker::On,
            BreakerSwitch::Off => Breaker::Off,
        })
        .on_ack(match args.on_ack {
            OnAckName::Keep => OnAck::Keep,
            OnAckName::Delete => OnAck::Delete,
        });
    if let Some(field) = args.ordered_by {
        builder = builder.ordered_by(field);
    }
    if let Some(consumer) = args.consumer {
        builder = builder.consumer(consumer);
    }
    if let Some(limit) = dlq_limit {
        builder = builder.dead_letter_limit(limit);
    }
    if let Some(dlq) = args.dlq {
        builder = builder.dead_letters(dlq);
    }
    let mut processor = builder
        .build(handling)
        .map_err(|error| Failure::from(error).hint(SEE_HELP))?;

    let ended = until_second(signals, &stop, max_time, |signal| {
        processor.run(extent, signal)
    })
    .await?;
    summary::tell(session, &processor.totals())?;
    ended?;
    match stop.cut_off().max(processor.totals().cut_off) {
        0 => Ok(()),
        cut => Err(Failure::with(
            Code::Failed,
            format!("the drain time was used up, handlers ended: {cut}"),
        )
        .hint("their messages were handed back and will run again; --drain gives them more time")),
    }
}

impl Args {
    /// What each option by itself, and clap where values come from the configuration file, cannot
    /// see.
    fn agree(&self) -> Result<(), Failure> {
        if self.until_idle && self.max_batches.is_some() {
            let text = "--until-idle and --max-batches <N> exclude each other";
            return Err(Failure::usage(text)
                .hint("`redrive config show` tells what the configuration file sets"));
        }
        if self.foreign_lease < self.lease {
            let (foreign, own) = (Shown(self.foreign_lease), Shown(self.lease));
            let text = format!("--foreign-lease is {foreign}, shorter than --lease, {own}");
            return Err(Failure::usage(text).hint(SEE_HELP));
        }
        Ok(())
    }

    fn extent(&self) -> Extent {
        match self.max_batches {
            Some(rounds) => Extent::Batches(rounds),
            None if self.until_idle => Extent::UntilIdle,
            None => Extent::UntilStopped,
        }
    }

    /// The limit that was asked for; `None` for that of the layout.
    fn dlq_limit(&self) -> Result<Option<Option<DeadLetterLimit>>, Failure> {
        match &self.dlq_limit {
            Some(Limit(Some(most))) => {
                let overflow = match (&self.dlq_overflow, self.layout) {
                    (Some(full), _) => full.overflow()?,
                    (None, LayoutName::Envelope) => Overflow::DropOldest,
                    (None, _) => Overflow::Stop,
                };
                Ok(Some(Some(most.with(overflow))))
            }
            _ if self.dlq_overflow.is_some() => Err(Failure::usage(
                "--dlq-overflow says what happens at a limit, and there is none",
            )
            .hint("give it: --dlq-limit N")),
            Some(Limit(None)) => Ok(Some(None)),
            None => Ok(None),
        }
    }
}

fn retry(backoff: Wait, attempts: u32, crashes: u32) -> RetryPolicy {
    let policy = backoff.policy();
    policy.max_attempts(attempts).max_crashes(crashes)
}

/// A command that was given wins over a URL from the configuration file.
fn worker(args: &Args, source: &Source, limit: Option<Duration>) -> Result<Worker, Failure> {
    if !args.command.is_empty() {
        for (what, name) in [
            ("stream", source.stream.as_str()),
            ("group", source.group.as_str()),
        ] {
            if name.contains('\0') {
                let text = format!("the name of the {what} holds a NUL, which no program can get");
                return Err(
                    Failure::usage(text).hint("an HTTP server or the library can handle it")
                );
            }
        }
        return Ok(Worker::Command(Program::find(&args.command)?));
    }
    match &args.http {
        Some(url) => Ok(Worker::Http(Box::new(Server::new(url, source, limit)?))),
        None => Err(Failure::usage("no handler is given")
            .hint("put a command after --, or name a server with --http")),
    }
}
