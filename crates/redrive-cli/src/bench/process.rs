//! What the binary itself takes: a core while it idles, memory, time to start, room on a disk.

use std::process::Stdio;
use std::time::Duration;

use redrive::Source;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::Bench;
use super::dead::watched;
use super::load::{Payload, fill};
use super::row::{Round, Row, Target, Unit, number};
use super::server::sent;
use super::worker::Worker;
use crate::failure::Failure;

const SETTLED: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(12);
const STARTS: u64 = 21;
const MIB: f64 = 1024.0 * 1024.0;

/// A worker with nothing to do.
pub(crate) async fn idle(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let stream = bench.server.name("idle");
    let mut child = command()?
        .args(["run", &stream, "-g", "idle", "--", "true"])
        .env("REDRIVE_URL", &bench.server.url)
        .spawn()?;
    sleep(bench.shorter(SETTLED)).await;
    let before = processor_time(&child);
    let began = Instant::now();
    let (door, window) = (bench.server.door(), bench.shorter(WATCHED));
    let (sent, seen) = tokio::try_join!(sent(&door, window), watched(bench, window))?;
    let part = match (before, processor_time(&child)) {
        (Some(before), Some(after)) => Some((after - before) / began.elapsed().as_secs_f64()),
        _ => None,
    };
    if child.try_wait()?.is_some() {
        return Err(Failure::new("the idle worker has ended by itself")
            .hint("what says `redrive run` on this server?"));
    }
    child.kill().await?;
    bench.server.clean().await?;
    let rounds = part.map(|part| Round {
        redrive: part * 100.0,
        raw: None,
    });
    let core = Row::of_values(
        "idle-core",
        "an idle `redrive run`",
        Unit::PercentOfACore,
        rounds.into_iter().collect(),
    );
    let core = if part.is_some() {
        core
    } else {
        core.note("the system does not tell: no /proc")
    };
    let asked = Round {
        redrive: sent as f64 / window.as_secs_f64(),
        raw: None,
    };
    Ok(vec![
        core.target(Target::AtMost(0.5))
            .note(format!("one look of {} s", window.as_secs())),
        Row::of_values(
            "idle-commands",
            "the same, the commands that it sends",
            Unit::CommandsPerSecond,
            vec![asked],
        )
        .target(Target::AtMost(2.0))
        .note(format!(
            "{} with those that its scripts call, in {} round trips",
            number(seen.commands),
            number(seen.round_trips)
        )),
    ])
}

/// The most memory that a worker has had after a long drain.
pub(crate) async fn memory(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let many = bench.many(1_000_000);
    let stream = bench.server.name("memory");
    fill(&mut bench.plain, &stream, many, Payload::Bytes(100)).await?;
    let source = Source::new(stream, bench.server.name("group"))?;
    let mut worker = Worker::start(bench, &source, many, None).await?;
    let kib: Option<f64> = worker.told().await?.parse().ok();
    worker.kill().await?;
    bench.server.clean().await?;
    let rounds = kib.map(|kib| Round {
        redrive: kib / 1024.0,
        raw: None,
    });
    let row = Row::of_values(
        "memory",
        "peak memory of a worker that drained 1,000,000",
        Unit::MiB,
        rounds.into_iter().collect(),
    );
    Ok(vec![row.target(Target::AtMost(32.0))])
}

/// How long it takes to say its version, and how large it is.
pub(crate) async fn binary(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let mut rounds = Vec::new();
    for _ in 0..bench.many(STARTS) {
        let raw = started(Command::new("true").stdin(Stdio::null())).await?;
        let redrive = started(command()?.arg("--version")).await?;
        rounds.push(Round {
            redrive,
            raw: Some(raw),
        });
    }
    let bytes = std::fs::metadata(std::env::current_exe()?)?.len();
    let size = Round {
        redrive: bytes as f64 / MIB,
        raw: None,
    };
    Ok(vec![
        Row::of_values(
            "version",
            "`redrive --version`; raw is `true`",
            Unit::Millis,
            rounds,
        )
        .target(Target::AtMost(10.0)),
        Row::of_values("size", "the binary", Unit::MiB, vec![size]).target(Target::AtMost(15.0)),
    ])
}

/// In milliseconds.
async fn started(command: &mut Command) -> Result<f64, Failure> {
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).status().await?;
    if !status.success() {
        return Err(Failure::new("a program that was only to start has failed"));
    }
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// This binary again, with nothing of whoever runs the bench but where programs are.
pub(crate) fn command() -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

/// The seconds of processor time that a child has used, all its threads together; known on Linux.
fn processor_time(child: &Child) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()?)).ok()?;
    // Behind the name, which may hold anything: state is the first, user and system time are the
    // twelfth and the thirteenth.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut times = rest
        .split_whitespace()
        .skip(11)
        .map(|ticks| ticks.parse::<f64>().ok());
    let ticks = times.next()?? + times.next()??;
    Some(ticks / rustix::param::clock_ticks_per_second() as f64)
}
