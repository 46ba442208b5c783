//! Messages that fail: how fast they are given up, put back, and what it costs to keep them waiting.

use std::time::Duration;

use redis::{Value, cmd};
use redrive::Fields;
use redrive::{
    Breaker, Message, Outcome, Processor, Raw, ReplayOptions, RetryPolicy, Selection, Source,
};
use tokio::time::{Instant, sleep, timeout};

use super::Bench;
use super::drain::{late, middle, rate, whole};
use super::load::{Payload, Work, fill};
use super::raw;
use super::row::{Cost, Round, Row, Target, Unit, number};
use super::server::failed;
use crate::failure::Failure;

const ATTEMPTS: u64 = 3;
const PAYLOAD: Payload = Payload::Bytes(100);
const HOUR: Duration = Duration::from_secs(3_600);
const OVER_WITHIN: Duration = Duration::from_secs(120);
/// A worker that has just come looks at more than one that has been there.
const SETTLED: Duration = Duration::from_secs(3);
/// How long the upkeep is watched: longer than the third of a lease in which leases are renewed.
const WATCHED: Duration = Duration::from_secs(15);
const WATCHED_IDLE: Duration = Duration::from_secs(3);

/// Messages that always fail, until all of them are dead letters.
pub(crate) async fn dead_lettering(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let many = bench.many(10_000);
    let (mut rounds, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let stream = bench.server.name("dead");
        fill(&mut bench.plain, &stream, many, PAYLOAD).await?;
        let copy = bench.server.name("copy");
        let began = Instant::now();
        let moved = raw::moved(&mut bench.plain, &stream, &copy)
            .await
            .map_err(failed)?;
        let raw = began.elapsed().as_secs_f64();
        whole("the raw loop", moved, many)?;

        let source = Source::new(copy.as_str(), bench.server.name("group"))?;
        let work = Work::new(many * ATTEMPTS);
        let handled = work.clone();
        let mut processor = Processor::builder(&bench.broker, source)
            .codec(Raw)
            .retry(RetryPolicy::immediate())
            // Else it would stop at the fiftieth: a drill is no outage.
            .breaker(Breaker::Off)
            .build(move |_: Message<Fields>| {
                handled.one();
                async { Outcome::retry("the bank did not answer") }
            })?;
        let running = timeout(OVER_WITHIN, processor.run_until(work.over()));
        let (ended, took, cost) = metered(bench, many, running).await?;
        let totals = ended.map_err(|_| late(&work))??;
        rounds.push(Round {
            redrive: took.as_secs_f64(),
            raw: Some(raw),
        });
        costs.push(cost);
        whole("redrive", totals.dead_lettered, many)?;
        bench.server.clean().await?;
    }
    let what = "10,000 messages fail 3 times, no backoff; raw moves them once, by a script";
    let row = Row::of_values("dead-letters", what, Unit::Seconds, rounds);
    Ok(vec![
        row.target(Target::AtMost(1.0))
            .cost(middle(&costs))
            .note("breaker off"),
    ])
}

/// Dead letters put back on their stream, of a short queue and of a long one.
pub(crate) async fn replay(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (name, what, many, target) in [
        (
            "replay",
            "replay of 10,000, same slot; raw moves entries by a script, 100 a call",
            10_000,
            Some(Target::AtLeast(0.5)),
        ),
        ("replay-100k", "the same of 100,000", 100_000, None),
    ] {
        let many = bench.many(many);
        // A long queue is there to see how the cost grows, which one comparison shows.
        let rounds_wanted = if target.is_some() { bench.rounds } else { 1 };
        let (mut rounds, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..rounds_wanted {
            let stream = bench.server.name("replay");
            fill(&mut bench.plain, &stream, many, PAYLOAD).await?;
            give_up(bench, &stream, many).await?;
            let (from, into) = (bench.server.name("raw-dead"), bench.server.name("raw-back"));
            fill(&mut bench.plain, &from, many, PAYLOAD).await?;

            let began = Instant::now();
            let moved = raw::moved(&mut bench.plain, &from, &into)
                .await
                .map_err(failed)?;
            let raw = rate(many, began.elapsed());
            whole("the raw loop", moved, many)?;
            let queue = bench.broker.dead_letters(format!("{stream}:dlq").parse()?);
            let (selection, options) = (Selection::all(), ReplayOptions::default());
            let replaying = queue.replay_many(&selection, &options);
            let (report, took, cost) = metered(bench, many, replaying).await?;
            rounds.push(Round {
                redrive: rate(many, took),
                raw: Some(raw),
            });
            costs.push(cost);
            whole("the replay", report?.replayed, many)?;
            bench.server.clean().await?;
        }
        let row = Row::of_rates(name, what, rounds).cost(middle(&costs));
        rows.push(match target {
            Some(target) => row.target(target),
            None => row,
        });
    }
    Ok(rows)
}

/// What comes of some work, how long it takes, and what the server does for each of so many messages.
async fn metered<W: Future>(
    bench: &mut Bench,
    many: u64,
    work: W,
) -> Result<(W::Output, Duration, Cost), Failure> {
    let before = bench.server.meter(&mut bench.plain).await?;
    let began = Instant::now();
    let ended = work.await;
    let took = began.elapsed();
    let spent = bench.server.meter(&mut bench.plain).await?.since(before);
    Ok((ended, took, spent.for_each(many as f64)))
}

/// Makes dead letters of all that is in the stream.
async fn give_up(bench: &mut Bench, stream: &str, many: u64) -> Result<(), Failure> {
    let source = Source::new(stream, bench.server.name("group"))?;
    let work = Work::new(many);
    let handled = work.clone();
    let mut processor = Processor::builder(&bench.broker, source)
        .codec(Raw)
        .concurrency(256)
        .build(move |_: Message<Fields>| {
            handled.one();
            async { Outcome::dead_letter("no such account") }
        })?;
    let running = timeout(OVER_WITHIN, processor.run_until(work.over()));
    let totals = running.await.map_err(|_| late(&work))??;
    whole("redrive", totals.dead_lettered, many)
}

/// A worker that has nothing to do beside many messages whose retry is far away.
pub(crate) async fn waiting(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let many = bench.many(100_000);
    let idle = watched(bench, bench.shorter(WATCHED_IDLE)).await?;
    let stream = bench.server.name("waiting");
    fill(&mut bench.plain, &stream, many, PAYLOAD).await?;
    let source = Source::new(stream.as_str(), bench.server.name("group"))?;
    let work = Work::new(many);
    let failing = work.clone();
    let mut processor = Processor::builder(&bench.broker, source.clone())
        .codec(Raw)
        .concurrency(256)
        .breaker(Breaker::Off)
        .build(move |_: Message<Fields>| {
            failing.one();
            async { Outcome::retry_after("the bank is closed", HOUR) }
        })?;
    let running = timeout(OVER_WITHIN, processor.run_until(work.over()));
    let totals = running.await.map_err(|_| late(&work))??;
    whole("redrive", totals.retried, many)?;

    let none = Work::new(1);
    let ran = none.clone();
    let mut processor =
        Processor::builder(&bench.broker, source)
            .codec(Raw)
            .build(move |_: Message<Fields>| {
                ran.one();
                async {}
            })?;
    let (settled, window) = (bench.shorter(SETTLED), bench.shorter(WATCHED));
    let watching = async {
        sleep(settled).await;
        watched(bench, window).await
    };
    // It ends with what is watched.
    let spent = tokio::select! {
        ended = processor.run_until(std::future::pending::<()>()) => {
            ended?;
            return Err(Failure::new("the worker that was watched has ended"));
        }
        spent = watching => spent?,
    };
    whole("the worker that had nothing to do", none.done(), 0)?;
    bench.server.clean().await?;
    let round = Round {
        redrive: spent.busy * 100.0,
        raw: Some(idle.busy * 100.0),
    };
    let what = "upkeep beside 100,000 messages that wait an hour; raw is a server nobody asks";
    let row = Row::of_values("waiting", what, Unit::PercentOfACore, vec![round]);
    Ok(vec![row.target(Target::AtMost(3.0)).note(format!(
        "{} commands and {} round trips a second; one look of {} s",
        number(spent.commands),
        number(spent.round_trips),
        window.as_secs()
    ))])
}

/// What the server is asked, and how busy it is, while we look on.
pub(crate) struct Watched {
    /// What part of its core it uses.
    pub(crate) busy: f64,
    /// How many commands it runs a second, those that scripts call included.
    pub(crate) commands: f64,
    /// How often a second it is asked, for one thing or several.
    pub(crate) round_trips: f64,
}

/// Looks on for so long; our own looks are not counted.
pub(crate) async fn watched(bench: &mut Bench, window: Duration) -> Result<Watched, Failure> {
    let before = bench.server.meter(&mut bench.plain).await?;
    sleep(window).await;
    // The look that ends it is not counted yet when it is answered, but read; the one that began it
    // is counted, and was read.
    let spent = bench.server.meter(&mut bench.plain).await?.since(before);
    let a_second = |count: f64| (count - 1.0).max(0.0) / spent.wall_s;
    Ok(Watched {
        busy: spent.busy(),
        commands: a_second(spent.commands),
        round_trips: a_second(spent.reads),
    })
}

/// How long the entry that was renewed last has been left alone.
pub(crate) async fn shortest_idle(bench: &mut Bench, source: &Source) -> Result<Duration, Failure> {
    let mut pending = cmd("XPENDING");
    pending
        .arg(source.stream.as_str())
        .arg(source.group.as_str())
        .arg("-")
        .arg("+")
        .arg(1_000_000);
    let all: Vec<(Value, Value, u64, Value)> = pending
        .query_async(&mut bench.plain)
        .await
        .map_err(failed)?;
    let shortest = all.iter().map(|(_, _, idle, _)| *idle).min();
    Ok(Duration::from_millis(shortest.unwrap_or_default()))
}
