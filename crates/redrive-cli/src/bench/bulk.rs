//! The longest that one command of redrive keeps the server from everybody else, beside a million of
//! everything: as the server's own slow log has it.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection as Connection;
use redis::{FromRedisValue, RedisError, Value, cmd, pipe};
use redrive::{
    Breaker, DeadLetterLimit, Fields, Message, Outcome, Overflow, Processor, Raw, Source,
};

use super::Bench;
use super::load::{Payload, fill};
use super::process::command;
use super::row::{Round, Row, Target, Unit, number};
use super::server::failed;
use crate::failure::Failure;

const MILLION: u64 = 1_000_000;
/// What is put back, purged, exported.
const SOME: u64 = 20_000;
const WORKED: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const TARGET_MS: f64 = 10.0;
/// From here on the server writes down what took long, in microseconds.
const SLOW_US: u64 = 500;
/// How many of these it keeps; when there are more, the phase was longer than anybody needs to know.
const KEPT: u64 = 4_096;
/// How many ids one command of the fill has.
const LOAD: u64 = 1_000;
const GROUP: &str = "bulk";
const SETTINGS: [&str; 2] = ["slowlog-log-slower-than", "slowlog-max-len"];

/// A command that the server has written down.
#[derive(Clone, Debug, PartialEq)]
struct Slow {
    ms: f64,
    name: String,
}

/// Does to a long stream and a long queue what redrive does.
pub(crate) async fn rows(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let row = |rounds| {
        let what = "the longest command, 1,000,000 pending and 1,000,000 dead letters";
        Row::of_values("bulk", what, Unit::Millis, rounds).target(Target::AtMost(TARGET_MS))
    };
    let Ok(before) = settings(&mut bench.plain).await else {
        return Ok(vec![
            row(Vec::new()).note("the server lets nobody set its slow log"),
        ]);
    };
    let measured = measured(bench).await;
    for (name, value) in SETTINGS.iter().zip(before) {
        set(&mut bench.plain, name, &value).await.map_err(failed)?;
    }
    let (slowest, phase, next) = measured?;
    let round = Round {
        redrive: slowest.ms,
        raw: None,
    };
    let row = row(vec![round]).note(format!("{} of {phase}", slowest.name));
    Ok(vec![match next {
        Some((next, phase)) => row.note(format!(
            "then {} of {phase}: {} ms",
            next.name,
            number(next.ms)
        )),
        None => row,
    }])
}

type Found = (Slow, String, Option<(Slow, String)>);

async fn measured(bench: &mut Bench) -> Result<Found, Failure> {
    let many = bench.many(MILLION);
    let some = bench.many(SOME).to_string();
    let stream = bench.server.name("bulk");
    let dlq = format!("{stream}:dlq");
    fill(&mut bench.plain, &stream, many, Payload::Bytes(100)).await?;
    let first = give(&mut bench.plain, &stream).await.map_err(failed)?;
    bury(&mut bench.plain, &stream, &dlq, many).await?;
    set(&mut bench.plain, SETTINGS[0], &SLOW_US.to_string())
        .await
        .map_err(failed)?;
    set(&mut bench.plain, SETTINGS[1], &KEPT.to_string())
        .await
        .map_err(failed)?;

    // Or there is nothing that a trim may remove.
    acknowledged(&mut bench.plain, &stream, &first)
        .await
        .map_err(failed)?;

    let mut all: Vec<(Slow, String)> = Vec::new();
    for phase in PHASES {
        let mut times = Vec::new();
        while times.is_empty() || (times.len() < phase.times() && is_over(&times)) {
            forget(&mut bench.plain).await.map_err(failed)?;
            match phase {
                Phase::Works => worked(bench, &stream, None).await?,
                Phase::Drops => worked(bench, &stream, Some(many / 2)).await?,
                Phase::Is(words) | Phase::Once(words) => {
                    let words = words.split(' ').map(|word| match word {
                        "STREAM" => &*stream,
                        "GROUP" => GROUP,
                        "SOME" => &*some,
                        word => word,
                    });
                    asked(bench, words.collect()).await?;
                }
            }
            times.push(slow(&mut bench.plain).await.map_err(failed)?);
        }
        all.extend(longest(&times).map(|slow| (slow, phase.to_string())));
    }
    all.sort_by(|(one, _), (other, _)| other.ms.total_cmp(&one.ms));
    let mut all = all.into_iter();
    let nothing = || Slow {
        ms: SLOW_US as f64 / 1e3,
        name: "nothing longer".to_owned(),
    };
    let (slowest, phase) = all.next().unwrap_or_else(|| (nothing(), "all".to_owned()));
    Ok((slowest, phase, all.next()))
}

/// What is done with them.
#[derive(Clone, Copy)]
enum Phase {
    /// A worker takes over what is pending, and lets it wait.
    Works,
    /// One buries it, in a queue that is twice as long as it may be.
    Drops,
    /// A command.
    Is(&'static str),
    /// One that finds nothing the next time.
    Once(&'static str),
}

impl Phase {
    /// How often it is done at most, until nothing takes too long.
    fn times(self) -> usize {
        match self {
            Self::Works | Self::Is(_) => 3,
            Self::Drops | Self::Once(_) => 1,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("a worker"),
            Self::Drops => f.write_str("a worker whose limit drops"),
            Self::Is(words) | Self::Once(words) => {
                let mut words = words.split(' ');
                let (first, second) = (words.next(), words.next());
                let second = second.filter(|word| *word != "STREAM");
                let both = [first, second].into_iter().flatten();
                write!(f, "`{}`", both.collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// In this order: what has removed much comes last.
const PHASES: [Phase; 22] = [
    Phase::Works,
    Phase::Is("stats STREAM -g GROUP"),
    Phase::Is("pending list STREAM -g GROUP --limit 2000"),
    Phase::Is("group list STREAM"),
    Phase::Is("group show STREAM -g GROUP"),
    Phase::Is("consumer list STREAM -g GROUP"),
    Phase::Is("consumer prune STREAM -g GROUP --yes"),
    Phase::Is("doctor STREAM -g GROUP"),
    Phase::Is("dlq stats STREAM"),
    Phase::Is("dlq list STREAM"),
    Phase::Is("dlq list STREAM --oldest --limit 2000"),
    Phase::Is("dlq groups STREAM --limit SOME"),
    Phase::Is("dlq export STREAM --limit SOME"),
    Phase::Is("dlq replay STREAM --reason rejected --limit SOME --dry-run"),
    Phase::Is("dlq replay STREAM --reason rejected --limit SOME --campaign bulk --yes"),
    Phase::Once("dlq undo bulk STREAM --yes"),
    Phase::Is("dlq replay STREAM --reason rejected --limit SOME --undo-window none --yes"),
    Phase::Is("dlq purge STREAM --reason rejected --limit SOME --dry-run"),
    Phase::Is("dlq purge STREAM --reason rejected --limit SOME --yes"),
    Phase::Once("trim STREAM --yes"),
    Phase::Drops,
    Phase::Once("group delete STREAM -g GROUP --force --yes"),
];

/// Whether the last time had something that is too long: then it is done once more, for a command that is
/// slow by itself is slow twice, and one during which the machine did something else is not.
fn is_over(times: &[Vec<Slow>]) -> bool {
    let last = times.last().into_iter().flatten();
    last.clone().any(|slow| slow.ms > TARGET_MS)
}

/// The longest of all that was as long in each of these times: by its name.
fn longest(times: &[Vec<Slow>]) -> Option<Slow> {
    let of = |time: &[Slow], name: &str| {
        let same = time.iter().filter(|slow| slow.name == name);
        same.map(|slow| slow.ms).max_by(f64::total_cmp)
    };
    let all = times.iter().flatten();
    let least = all.map(|slow| Slow {
        // What was not slow at another time was not that long by itself.
        ms: times
            .iter()
            .map(|time| of(time, &slow.name).unwrap_or(0.0))
            .fold(f64::INFINITY, f64::min),
        name: slow.name.clone(),
    });
    least.max_by(|one, other| one.ms.total_cmp(&other.ms))
}

/// Works off a part of what is pending, and lets the other part wait; or keeps the queue within a limit.
async fn worked(bench: &mut Bench, stream: &str, limit: Option<u64>) -> Result<(), Failure> {
    let buries = limit.is_some();
    let limit = limit.map(|many| DeadLetterLimit::new(many, Overflow::DropOldest));
    let mut processor = Processor::builder(&bench.broker, Source::new(stream, GROUP)?)
        .codec(Raw)
        .breaker(Breaker::Off)
        .concurrency(256)
        .lease(LEASE)
        .foreign_lease(LEASE)
        .dead_letter_limit(limit)
        .build(move |_: Message<Fields>| async move {
            if buries {
                Outcome::dead_letter("no such account")
            } else {
                Outcome::retry_after("the bank is closed", HOUR)
            }
        })?;
    let window = bench.shorter(WORKED);
    processor.run_until(tokio::time::sleep(window)).await?;
    Ok(())
}

async fn asked(bench: &Bench, args: Vec<&str>) -> Result<(), Failure> {
    let mut command = command()?;
    let status = command
        .args(&args)
        .env("REDRIVE_URL", &bench.server.url)
        .status()
        .await?;
    // 3: nothing matched, which is so where there are few; 4: the doctor has found something.
    match status.code() {
        Some(0 | 3 | 4) => Ok(()),
        _ => Err(
            Failure::new(format!("`redrive {}` has failed: {status}", args.join(" ")))
                .hint("what does it say on this server?"),
        ),
    }
}

/// Gives all of a stream to a consumer that is gone. Answers the ids of the first.
async fn give(to: &mut Connection, stream: &str) -> Result<Vec<String>, RedisError> {
    let mut create = cmd("XGROUP");
    create.arg("CREATE").arg(stream).arg(GROUP).arg(0);
    let () = create.query_async(to).await?;
    loop {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg("gone").arg("COUNT");
        read.arg(LOAD).arg("STREAMS").arg(stream).arg(">");
        if read.query_async::<Value>(to).await? == Value::Nil {
            break;
        }
    }
    let mut first = cmd("XRANGE");
    first
        .arg(stream)
        .arg("-")
        .arg("+")
        .arg("COUNT")
        .arg(10 * LOAD);
    let first: Vec<(String, Value)> = first.query_async(to).await?;
    Ok(first.into_iter().map(|(id, _)| id).collect())
}

async fn acknowledged(to: &mut Connection, stream: &str, ids: &[String]) -> Result<(), RedisError> {
    for some in ids.chunks(100) {
        let mut ack = cmd("XACK");
        let _: u64 = ack.arg(stream).arg(GROUP).arg(some).query_async(to).await?;
    }
    Ok(())
}

/// Adds dead letters as redrive writes them.
async fn bury(to: &mut Connection, stream: &str, dlq: &str, many: u64) -> Result<(), Failure> {
    let payload = Payload::Bytes(100).of(0);
    let mut number = 0;
    while number < many {
        let mut load = pipe();
        for _ in 0..LOAD.min(many - number) {
            number += 1;
            load.cmd("XADD").arg(dlq).arg("*").arg("data").arg(&payload);
            for (name, value) in [
                ("v", "1"),
                ("fields", "1"),
                ("stream", stream),
                ("group", GROUP),
                ("id", "1795324222405-0"),
                ("reason", "rejected"),
                ("error", "no such account"),
                ("fingerprint", "0123456789abcdef"),
                ("attempts", "1"),
                ("crashes", "0"),
                ("consumer", "consumer_01234567"),
                ("dead-at", "1795324222405"),
            ] {
                load.arg(format!("redrive-{name}")).arg(value);
            }
            load.ignore();
        }
        let added: Result<(), _> = load.query_async(to).await;
        added.map_err(failed)?;
    }
    Ok(())
}

/// What the settings of the slow log are.
async fn settings(to: &mut Connection) -> Result<Vec<String>, RedisError> {
    let mut values = Vec::new();
    for name in SETTINGS {
        let mut get = cmd("CONFIG");
        let told: Vec<String> = get.arg("GET").arg(name).query_async(to).await?;
        let value = told.into_iter().nth(1).unwrap_or_default();
        // Whoever may not set it finds out now.
        set(to, name, &value).await?;
        values.push(value);
    }
    Ok(values)
}

async fn set(to: &mut Connection, name: &str, value: &str) -> Result<(), RedisError> {
    let mut set = cmd("CONFIG");
    set.arg("SET").arg(name).arg(value).query_async(to).await
}

async fn forget(to: &mut Connection) -> Result<(), RedisError> {
    cmd("SLOWLOG").arg("RESET").query_async(to).await
}

async fn slow(to: &mut Connection) -> Result<Vec<Slow>, RedisError> {
    let mut get = cmd("SLOWLOG");
    let told: Vec<Vec<Value>> = get.arg("GET").arg(KEPT).query_async(to).await?;
    Ok(told.into_iter().filter_map(read).collect())
}

/// Its number, when, how many µs it took, its words, and who sent it.
fn read(entry: Vec<Value>) -> Option<Slow> {
    let mut parts = entry.into_iter().skip(2);
    let us = u64::from_redis_value(parts.next()?).ok()?;
    let words = Vec::<String>::from_redis_value(parts.next()?).ok()?;
    let mut words = words.into_iter();
    let name = words.next()?.to_uppercase();
    let name = match name.as_str() {
        "XINFO" | "XGROUP" | "MEMORY" => format!("{name} {}", words.next()?.to_uppercase()),
        // The beginning of its hash: no server tells more.
        "EVALSHA" => format!(
            "{name} {}",
            words.next()?.chars().take(8).collect::<String>()
        ),
        _ => name,
    };
    Some(Slow {
        ms: us as f64 / 1e3,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(ms: f64, name: &str) -> Slow {
        let name = name.to_owned();
        Slow { ms, name }
    }

    #[test]
    fn what_was_slow_once_and_not_again_was_not_slow_by_itself() {
        let once = vec![slow(40.0, "XRANGE"), slow(12.0, "a script")];
        assert!(is_over(std::slice::from_ref(&once)));
        assert_eq!(
            longest(std::slice::from_ref(&once)),
            Some(slow(40.0, "XRANGE"))
        );
        let twice = [once, vec![slow(11.0, "a script"), slow(3.0, "a script")]];
        assert_eq!(longest(&twice), Some(slow(11.0, "a script")));
        assert!(!is_over(&[vec![slow(10.0, "XLEN")]]));
        assert_eq!(longest(&[Vec::new()]), None);
    }

    #[test]
    fn an_entry_of_the_slow_log_tells_how_long_and_what() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let entry = |words: &[&str]| {
            let words = words.iter().map(|word| bulk(word)).collect();
            vec![
                Value::Int(7),
                Value::Int(1),
                Value::Int(12_500),
                Value::Array(words),
            ]
        };
        assert_eq!(
            read(entry(&["evalsha", "0123456789ab", "1"])),
            Some(slow(12.5, "EVALSHA 01234567"))
        );
        assert_eq!(
            read(entry(&["xgroup", "destroy"])),
            Some(slow(12.5, "XGROUP DESTROY"))
        );
        assert_eq!(read(Vec::new()), None);
    }
}
