//! How long a message takes from its send to the start of its handler, where there is little to do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use redrive::{Fields, Message, Processor, Raw, Source};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Bench;
use super::drain::late;
use super::load::Work;
use super::raw;
use super::row::{Round, Row, Target, Unit, quantile};
use super::server::failed;
use crate::failure::Failure;

/// A thousand a second.
const EVERY: Duration = Duration::from_millis(1);
/// The first ones meet a cold start, and are not looked at.
const COLD: usize = 100;
const FIELD: &str = "sent_ns";
const OVER_WITHIN: Duration = Duration::from_secs(60);

/// Half, and all but one in a hundred, of one pass; in milliseconds.
struct Pass {
    half: f64,
    most: f64,
}

/// How long each message took, in milliseconds, in the order in which they came.
type Taken = Arc<Mutex<Vec<f64>>>;

pub(crate) async fn rows(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let many = bench.many(2_000) + COLD as u64;
    let (mut half, mut most) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let raw = raw_pass(bench, many).await?;
        let redrive = redrive_pass(bench, many).await?;
        half.push(Round {
            redrive: redrive.half,
            raw: Some(raw.half),
        });
        most.push(Round {
            redrive: redrive.most,
            raw: Some(raw.most),
        });
        bench.server.clean().await?;
    }
    Ok(vec![
        Row::of_durations(
            "latency-p50",
            "send to start of handler at 1,000/s, half of all",
            Unit::Millis,
            half,
        )
        .target(Target::AtMost(1.3)),
        Row::of_durations(
            "latency-p99",
            "send to start of handler at 1,000/s, 99 of 100",
            Unit::Millis,
            most,
        )
        .target(Target::AtMost(2.0)),
    ])
}

async fn raw_pass(bench: &mut Bench, many: u64) -> Result<Pass, Failure> {
    let stream = bench.server.name("latency");
    raw::group(&mut bench.plain, &stream)
        .await
        .map_err(failed)?;
    let (began, taken) = (Instant::now(), Taken::default());
    let reader = bench.server.connect().await?;
    let seen = Arc::clone(&taken);
    let reading = raw::wait(reader, &stream, many, |fields| {
        if let Some(Value::BulkString(sent)) = fields.get(1) {
            note(&seen, began, sent);
        }
    });
    let sending = sender(bench.server.connect().await?, stream.clone(), many, began);
    let both = async { tokio::try_join!(async { reading.await.map_err(failed) }, sending) };
    timeout(OVER_WITHIN, both)
        .await
        .map_err(|_| late(&Work::new(many)))??;
    Ok(pass(&taken))
}

async fn redrive_pass(bench: &mut Bench, many: u64) -> Result<Pass, Failure> {
    let stream = bench.server.name("latency");
    let source = Source::new(stream.as_str(), bench.server.name("group"))?;
    let (began, taken, work) = (Instant::now(), Taken::default(), Work::new(many));
    let (seen, handled) = (Arc::clone(&taken), work.clone());
    let mut processor = Processor::builder(&bench.broker, source).codec(Raw).build(
        move |message: Message<Fields>| {
            if let Some(sent) = message.get(FIELD) {
                note(&seen, began, sent);
            }
            handled.one();
            async {}
        },
    )?;
    let running = processor.run_until(work.over());
    let sending = sender(bench.server.connect().await?, stream.clone(), many, began);
    let both = async { tokio::try_join!(async { running.await.map_err(Failure::from) }, sending) };
    timeout(OVER_WITHIN, both)
        .await
        .map_err(|_| late(&work))??;
    Ok(pass(&taken))
}

/// Sends as a task of its own: whoever sends is somebody else.
async fn sender(
    to: MultiplexedConnection,
    stream: String,
    many: u64,
    began: Instant,
) -> Result<(), Failure> {
    let mut task = JoinSet::new();
    task.spawn(async move { send(to, &stream, many, began).await });
    task.join_all().await.into_iter().collect()
}

/// Sends at an even pace, each with the time of its sending.
async fn send(
    mut to: MultiplexedConnection,
    stream: &str,
    many: u64,
    began: Instant,
) -> Result<(), Failure> {
    let mut pace = interval(EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..many {
        pace.tick().await;
        let mut add = cmd("XADD");
        add.arg(stream)
            .arg("*")
            .arg(FIELD)
            .arg(began.elapsed().as_nanos().to_string());
        let _: Value = add.query_async(&mut to).await.map_err(failed)?;
    }
    Ok(())
}

fn note(taken: &Taken, began: Instant, sent: &[u8]) {
    let now = began.elapsed();
    let sent = std::str::from_utf8(sent)
        .ok()
        .and_then(|sent| sent.parse().ok());
    if let Some(sent) = sent.map(Duration::from_nanos) {
        let took = now.saturating_sub(sent).as_secs_f64() * 1e3;
        taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(took);
    }
}

fn pass(taken: &Taken) -> Pass {
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let warm = taken.get_mut(COLD..).unwrap_or_default();
    Pass {
        half: quantile(warm, 0.5).unwrap_or(f64::NAN),
        most: quantile(warm, 0.99).unwrap_or(f64::NAN),
    }
}
