//! How soon what a killed worker held is running again.

use std::time::Duration;

use redrive::{Fields, Message, Processor, Raw, Source};
use tokio::time::{Instant, timeout};

use super::Bench;
use super::dead::shortest_idle;
use super::drain::{late, middle, whole};
use super::load::{Payload, Work, fill};
use super::raw;
use super::row::{Round, Row, Target, Unit};
use super::server::failed;
use super::worker::Worker;
use crate::failure::Failure;

/// Shorter than the usual one, so that the bench ends: it is not part of what is measured.
const LEASE: Duration = Duration::from_secs(3);
const OVER_WITHIN: Duration = Duration::from_secs(120);

pub(crate) async fn rows(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (name, what, many, seconds) in [
        (
            "recovery-10k",
            "10,000 messages of a killed worker run again, after the lease; raw claims and acks",
            10_000,
            0.5,
        ),
        ("recovery-100k", "the same of 100,000", 100_000, 5.0),
    ] {
        let many = bench.many(many);
        let (mut rounds, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            let stream = bench.server.name("recovery");
            fill(&mut bench.plain, &stream, many, Payload::Bytes(100)).await?;
            raw::group(&mut bench.plain, &stream)
                .await
                .map_err(failed)?;
            let (taken, raw) = raw::take_over(&mut bench.plain, &stream)
                .await
                .map_err(failed)?;
            whole("the raw loop", taken, many)?;
            let (redrive, cost) = recovered(bench, &stream, many).await?;
            rounds.push(Round {
                redrive,
                raw: Some(raw),
            });
            costs.push(cost);
            bench.server.clean().await?;
        }
        let row = Row::of_values(name, what, Unit::Seconds, rounds);
        rows.push(row.target(Target::AtMost(seconds)).cost(middle(&costs)));
    }
    Ok(rows)
}

/// Kills a worker that holds all of a stream, beside one that waits. Answers how long after the last
/// lease had run out the last message was running again.
async fn recovered(
    bench: &mut Bench,
    stream: &str,
    many: u64,
) -> Result<(f64, super::row::Cost), Failure> {
    let source = Source::new(stream, bench.server.name("group"))?;
    let mut first = Worker::start(bench, &source, many, Some(LEASE)).await?;
    first.told().await?;
    let work = Work::new(many);
    let handled = work.clone();
    let mut second = Processor::builder(&bench.broker, source.clone())
        .codec(Raw)
        .lease(LEASE)
        .build(move |_: Message<Fields>| {
            handled.one();
            async {}
        })?;
    let over = work.over();
    let watching = async {
        first.kill().await?;
        let killed = Instant::now();
        let silent = shortest_idle(bench, &source).await?;
        let over_at = killed + LEASE.saturating_sub(silent);
        let before = bench.server.meter(&mut bench.plain).await?;
        over.await;
        let spent = bench.server.meter(&mut bench.plain).await?.since(before);
        Ok::<_, Failure>((over_at, spent.for_each(many as f64)))
    };
    let both = async {
        tokio::try_join!(
            async { second.run_until(work.over()).await.map_err(Failure::from) },
            watching
        )
    };
    let (totals, (lease_over, cost)) = timeout(OVER_WITHIN, both)
        .await
        .map_err(|_| late(&work))??;
    whole("the worker that takes over", totals.succeeded, many)?;
    let took = work
        .over_at()
        .map(|at| at.saturating_duration_since(lease_over));
    Ok((took.unwrap_or_default().as_secs_f64(), cost))
}
