//! The program that is counted: works on what is in the stream `orders`, in one of the ways of [`Part`], and ends.
//!
//! `redrive-counts URL drain|retry|dead|replay MANY`, or `redrive-counts URL idle SECONDS`.

use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use redrive::{
    Breaker, Broker, Decode, DecodeError, Fields, Json, Message, Outcome, Processor,
    ProcessorBuilder, ReplayOptions, RetryPolicy, Selection, Source,
};
use serde::Deserialize;
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

/// Longer than anything here takes, on the slowest machine.
const LEASE: Duration = Duration::from_secs(3_600);

/// How long a message waits that has failed.
const DELAY: Duration = Duration::from_millis(200);

/// What most messages look like: ten fields.
#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded, which is the work, and not looked at")]
struct Order {
    id: u64,
    customer: String,
    email: String,
    cents: u64,
    currency: String,
    paid: bool,
    items: u32,
    street: String,
    city: String,
    express: bool,
}

/// The usual codec, under a name that the counts know.
struct Counted(Json);

impl Decode<Order> for Counted {
    #[inline(never)]
    fn decode(&self, fields: &Fields) -> Result<Order, DecodeError> {
        self.0.decode(fields)
    }
}

/// What is worked off.
#[derive(Clone, Copy)]
enum Part {
    /// Every message succeeds.
    Drain,
    /// Every message fails once; when all have, they are taken over, and succeed.
    Retry,
    /// Every message is given up when it fails for the first time.
    Dead,
    /// Every dead letter is put back.
    Replay,
    /// There is nothing to do.
    Idle,
}

/// Tells when the last message has been handled.
#[derive(Default)]
struct Ends {
    seen: AtomicU64,
    over: Notify,
}

impl Ends {
    fn one_of(&self, many: u64) {
        if self.seen.fetch_add(1, Ordering::Relaxed) + 1 == many {
            self.over.notify_one();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, part, many] = words.as_slice() else {
        return Err(Error::other("expected URL PART MANY").into());
    };
    let part = match part.as_str() {
        "drain" => Part::Drain,
        "retry" => Part::Retry,
        "dead" => Part::Dead,
        "replay" => Part::Replay,
        "idle" => Part::Idle,
        _ => return Err(Error::other("no such part").into()),
    };
    let many = many.parse()?;
    // One thread: what wakes what is then always the same.
    let mut runtime = Builder::new_current_thread();
    // A clock that stands still: how many acks go together would else depend on how fast the machine is.
    let stands_still = !matches!(part, Part::Idle);
    let runtime = runtime.enable_all().start_paused(stands_still).build()?;
    let (work_ends, wait) = mpsc::channel::<()>();
    runtime.block_on(async {
        // A clock that is paused still jumps ahead where everything waits, unless some thread is busy.
        spawn_blocking(move || wait.recv());
        let done = work(url, part, many).await;
        drop(work_ends);
        done
    })
}

async fn work(url: &str, part: Part, many: u64) -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::connect(url).await?;
    let source = Source::new("orders", "billing")?;
    let builder = Processor::builder(&broker, source)
        .codec(Counted(Json::default()))
        .concurrency(256)
        .breaker(Breaker::Off);
    if matches!(part, Part::Idle) {
        let end = tokio::time::sleep(Duration::from_secs(many));
        let mut processor = builder.build(async |_: Message<Order>| {})?;
        processor.run_until(end).await?;
        return Ok(());
    }
    // Renewals go by the clock, not by the message.
    let builder = builder.lease(LEASE).foreign_lease(LEASE);
    match part {
        Part::Drain => {
            drain(builder, many, |_| Outcome::Ack).await?;
        }
        Part::Retry => {
            let builder = builder.retry(RetryPolicy::fixed(DELAY));
            let once = |attempt| match attempt {
                1 => Outcome::retry("not today"),
                _ => Outcome::Ack,
            };
            let mut processor = drain(builder, many, once).await?;
            // It is the server's clock that says what is due.
            spawn_blocking(|| std::thread::sleep(2 * DELAY)).await?;
            whole(processor.recover().await?.succeeded, many)?;
        }
        Part::Dead => {
            let builder = builder.retry(RetryPolicy::immediate().max_attempts(1));
            drain(builder, many, |_| Outcome::retry("not today")).await?;
        }
        Part::Replay => {
            let queue = broker.dead_letters("orders:dlq".parse()?);
            let report = queue
                .replay_many(&Selection::all(), &ReplayOptions::default())
                .await?;
            whole(report.replayed, many)?;
        }
        Part::Idle => {}
    }
    Ok(())
}

/// Runs until each message was handled once.
async fn drain(
    builder: ProcessorBuilder<Counted>,
    many: u64,
    answer: fn(u32) -> Outcome,
) -> Result<Processor, Box<dyn std::error::Error>> {
    let ends = Arc::new(Ends::default());
    let seen = Arc::clone(&ends);
    let mut processor = builder.build(move |order: Message<Order>| {
        seen.one_of(many);
        let outcome = answer(order.attempt());
        async move { outcome }
    })?;
    let totals = processor.run_until(ends.over.notified()).await?;
    whole(totals.succeeded + totals.failed, many)?;
    Ok(processor)
}

fn whole(done: u64, many: u64) -> Result<(), Box<dyn std::error::Error>> {
    if done == many {
        return Ok(());
    }
    Err(Error::other(format!("done: {done} of {many}")).into())
}
