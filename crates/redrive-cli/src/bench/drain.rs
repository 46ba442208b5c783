//! How fast a full stream is worked off: handlers that do nothing, acknowledged.

use std::time::Duration;

use redrive::{Broker, Message, Processor, Raw, Source};
use serde::Deserialize;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Bench;
use super::load::{Payload, Work, fill};
use super::meter::Spent;
use super::raw;
use super::row::{Cost, Round, Row, Target, median};
use super::server::failed;
use crate::failure::Failure;

/// More readers than this helped nowhere: the server runs one command at a time.
const MOST_READERS: usize = 3;
/// What the issue of a drain names: far more than there are cores.
const CONCURRENCY: usize = 256;
/// A drain that takes longer has lost something.
const OVER_WITHIN: Duration = Duration::from_secs(120);
/// What typed messages are decoded to.
#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded, which is the work, and not looked at")]
pub(crate) struct Order {
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

/// One pass over all that is in a stream.
struct Pass {
    rate: f64,
    spent: Spent,
}

/// One reader, then as many as help, with payloads of 100 bytes.
pub(crate) async fn small(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let many = bench.many(300_000);
    let stream = bench.server.name("drain");
    fill(&mut bench.plain, &stream, many, Payload::Bytes(100)).await?;
    let (mut one, mut busy, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    let mut beside = Vec::new();
    let mut several = vec![Vec::new(); MOST_READERS];
    // The first round warms up, and is not looked at.
    for round in 0..=bench.rounds {
        let raw_beside = raw_pass(bench, &stream, many, 1, Place::Beside).await?;
        let raw_one = raw_pass(bench, &stream, many, 1, Place::Alone).await?;
        let first = redrive_pass(bench, &stream, many, 1, Payload::Bytes(100)).await?;
        let raw_two = raw_pass(bench, &stream, many, 2, Place::Alone).await?;
        let mut rates = vec![first.rate];
        for readers in 2..=MOST_READERS {
            let pass = redrive_pass(bench, &stream, many, readers, Payload::Bytes(100)).await?;
            rates.push(pass.rate);
        }
        if round == 0 {
            continue;
        }
        beside.push(Round {
            redrive: raw_beside.rate,
            raw: Some(raw_one.rate),
        });
        one.push(Round {
            redrive: first.rate,
            raw: Some(raw_one.rate),
        });
        costs.push(first.spent.for_each(many as f64));
        busy.push(raw_two.spent.busy());
        for (rounds, redrive) in several.iter_mut().zip(rates) {
            rounds.push(Round {
                redrive,
                raw: Some(raw_two.rate),
            });
        }
    }
    let rate =
        |rounds: &Vec<Round>| median(rounds.iter().map(|round| round.redrive)).unwrap_or_default();
    let best = (0..MOST_READERS).max_by(|a, b| rate(&several[*a]).total_cmp(&rate(&several[*b])));
    let best = best.unwrap_or_default();
    let mut rows = vec![
        Row::of_rates(
            "drain-one",
            "drain, 100 bytes, one reader, concurrency 256",
            one.clone(),
        )
        .target(Target::AtLeast(0.85))
        .cost(middle(&costs)),
        Row::of_rates(
            "drain-all",
            "drain, as many readers as help; raw has two connections",
            several[best].clone(),
        )
        .target(Target::AtLeast(0.80))
        .only_with_a_full_core(&busy)
        .note(format!("readers that were fastest: {}", best + 1)),
        Row::of_rates(
            "drain-raw-two",
            "the raw loop with two connections, beside itself with one",
            both_raw(&one, &several[0]),
        ),
        Row::of_rates(
            "drain-raw-task",
            "the raw loop as a task beside others, beside itself on a thread of its own",
            beside,
        ),
    ];
    // How it grows with consumers: beside the raw loop with one connection, all of them.
    for (name, rounds) in [("drain-two", &several[1]), ("drain-three", &several[2])] {
        let sides = one.iter().zip(rounds).map(|(one, several)| Round {
            redrive: several.redrive,
            raw: one.raw,
        });
        let what = "the same, so many readers; raw has one connection";
        rows.push(Row::of_rates(name, what, sides.collect()));
    }
    Ok(rows)
}

/// Of two rows whose raw sides differ, the second beside the first.
fn both_raw(one: &[Round], two: &[Round]) -> Vec<Round> {
    let pairs = one.iter().zip(two);
    pairs
        .filter_map(|(one, two)| {
            Some(Round {
                redrive: two.raw?,
                raw: one.raw,
            })
        })
        .collect()
}

/// Larger payloads, and typed ones.
pub(crate) async fn others(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (name, what, many, payload, least) in [
        (
            "drain-1k",
            "drain, 1 KiB",
            100_000,
            Payload::Bytes(1 << 10),
            0.90,
        ),
        (
            "drain-16k",
            "drain, 16 KiB",
            15_000,
            Payload::Bytes(16 << 10),
            0.90,
        ),
        (
            "drain-json",
            "drain, JSON of 10 fields, decoded; raw decodes nothing",
            200_000,
            Payload::Json,
            0.60,
        ),
    ] {
        let many = bench.many(many);
        let stream = bench.server.name(name);
        fill(&mut bench.plain, &stream, many, payload).await?;
        let (mut rounds, mut costs) = (Vec::new(), Vec::new());
        for round in 0..=bench.rounds {
            let raw = raw_pass(bench, &stream, many, 1, Place::Alone).await?;
            let redrive = redrive_pass(bench, &stream, many, 1, payload).await?;
            if round > 0 {
                rounds.push(Round {
                    redrive: redrive.rate,
                    raw: Some(raw.rate),
                });
                costs.push(redrive.spent.for_each(many as f64));
            }
        }
        rows.push(
            Row::of_rates(name, what, rounds)
                .target(Target::AtLeast(least))
                .cost(middle(&costs)),
        );
        bench.server.clean().await?;
    }
    Ok(rows)
}

/// Where a raw loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On a thread of its own, alone with its connection: there it is fastest.
    Alone,
    /// As a task among others, as what is compared with it.
    Beside,
}

/// The raw loop over all of a stream, with so many connections.
async fn raw_pass(
    bench: &mut Bench,
    stream: &str,
    many: u64,
    connections: usize,
    place: Place,
) -> Result<Pass, Failure> {
    raw::group(&mut bench.plain, stream).await.map_err(failed)?;
    let before = bench.server.meter(&mut bench.plain).await?;
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let (door, stream) = (bench.server.door(), stream.to_owned());
        let raw = async move {
            let connection = door.connect().await?;
            let began = Instant::now();
            let done = raw::drain(connection, &stream, &format!("raw-{number}")).await;
            Ok::<_, Failure>((done.map_err(failed)?, began, Instant::now()))
        };
        match place {
            Place::Beside => tasks.spawn(raw),
            Place::Alone => tasks.spawn_blocking(|| {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(raw)
            }),
        };
    }
    let (mut done, mut began, mut ended) = (0, None, None);
    for pass in tasks.join_all().await {
        let (some, first, last) = pass?;
        done += some;
        began = Some(began.map_or(first, |began| first.min(began)));
        ended = ended.max(Some(last));
    }
    let spent = bench.server.meter(&mut bench.plain).await?.since(before);
    whole("the raw loop", done, many)?;
    let took = began.zip(ended).map(|(began, ended)| ended - began);
    Ok(Pass {
        rate: rate(many, took.unwrap_or_default()),
        spent,
    })
}

/// The same by processors with the usual options.
async fn redrive_pass(
    bench: &mut Bench,
    stream: &str,
    many: u64,
    readers: usize,
    payload: Payload,
) -> Result<Pass, Failure> {
    let source = Source::new(stream, bench.server.name("group"))?;
    let work = Work::new(many);
    let mut processors = Vec::new();
    for _ in 0..readers {
        processors.push(processor(&bench.broker, &source, &work, payload)?);
    }
    let before = bench.server.meter(&mut bench.plain).await?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for mut processor in processors {
        let over = work.over();
        tasks.spawn(async move { processor.run_until(over).await });
    }
    let mut succeeded = 0;
    let ended = timeout(OVER_WITHIN, tasks.join_all()).await;
    for totals in ended.map_err(|_| late(&work))? {
        succeeded += totals?.succeeded;
    }
    let took = began.elapsed();
    let spent = bench.server.meter(&mut bench.plain).await?.since(before);
    whole("redrive", succeeded, many)?;
    Ok(Pass {
        rate: rate(many, took),
        spent,
    })
}

fn processor(
    broker: &Broker,
    source: &Source,
    work: &Work,
    payload: Payload,
) -> Result<Processor, Failure> {
    let work = work.clone();
    let builder = Processor::builder(broker, source.clone()).concurrency(CONCURRENCY);
    Ok(match payload {
        Payload::Json => builder.build(move |_: Message<Order>| {
            work.one();
            async {}
        })?,
        Payload::Bytes(_) => builder.codec(Raw).build(move |_| {
            work.one();
            async {}
        })?,
    })
}

/// What did not end in time.
pub(crate) fn late(work: &Work) -> Failure {
    Failure::new(format!(
        "a measurement did not end, messages handled: {}",
        work.done()
    ))
    .hint("is the server in use by somebody else? -v tells more")
}

/// A measurement of less work than was meant says nothing.
pub(crate) fn whole(who: &str, done: u64, many: u64) -> Result<(), Failure> {
    if done == many {
        return Ok(());
    }
    Err(
        Failure::new(format!("{who} handled {done} of {many} messages"))
            .hint("is the server in use by somebody else?"),
    )
}

pub(crate) fn rate(many: u64, took: Duration) -> f64 {
    many as f64 / took.as_secs_f64()
}

/// The cost in the round in the middle, by the server's time.
pub(crate) fn middle(costs: &[Cost]) -> Option<Cost> {
    let time = median(costs.iter().map(|cost| cost.server_us))?;
    costs
        .iter()
        .find(|cost| cost.server_us.total_cmp(&time).is_eq())
        .copied()
}
