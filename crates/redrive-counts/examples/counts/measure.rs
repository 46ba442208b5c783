//! Measuring: servers, messages, and the program that works them off.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::aio::MultiplexedConnection;
use redrive_testkit::{Proxy, Server, commands, diff};
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::baseline::Counts;
use super::instructions;

/// Messages of a run under callgrind, and of the one beside it.
const FEWER: u64 = 5_000;
const MORE: u64 = 20_000;
/// The same where commands are counted, without callgrind.
const FEWER_COMMANDS: u64 = 1_000;
const MORE_COMMANDS: u64 = 4_000;
/// Commands are counted so often, and the lowest count is taken: what waits for a clock can only add some.
const ROUNDS: usize = 3;
/// How long a worker is left to itself before its commands are counted, and how long that is.
const SETTLED: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(20);
/// How often it is looked whether commands have passed, and within what time those of one occasion have.
const LOOK: Duration = Duration::from_millis(10);
const FOLLOW: Duration = Duration::from_millis(200);
/// Far more than a run takes.
const LONGEST: Duration = Duration::from_secs(60);

/// What commands a part took.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// By the client: each is asked and answered by itself.
    sent: u64,
    /// By the server: with those that scripts call.
    run: u64,
}

pub(crate) async fn all(program: &Path, instructions: bool) -> Result<Counts> {
    let program = std::path::absolute(program)?;
    // It waits most of the time: beside the others it costs nothing.
    let idle = tokio::spawn(idle(program.clone()));
    let mut counts = commands_of_all(&program).await?;
    if instructions {
        counts.extend(instructions_of_a_drain(&program).await?);
    }
    counts.extend(idle.await??);
    Ok(counts)
}

async fn instructions_of_a_drain(program: &Path) -> Result<Counts> {
    let server = Server::start().await;
    let mut redis = server.connect().await;
    let mut runs = Vec::new();
    for many in [FEWER, MORE] {
        fill(&mut redis, many).await?;
        let (program, url) = (program.to_owned(), server.url());
        runs.push(spawn_blocking(move || instructions::count(&program, &url, many)).await??);
    }
    Ok(instructions::for_each(&runs[0], &runs[1], MORE - FEWER))
}

/// An empty server with so many messages.
async fn fill(redis: &mut MultiplexedConnection, many: u64) -> Result<()> {
    let mut load = redis::pipe();
    load.cmd("FLUSHALL").ignore();
    for number in 0..many {
        let order = format!(
            r#"{{"id":{number},"customer":"customer {0}","email":"somebody{0}@example.com","cents":{1},"currency":"EUR","paid":true,"items":{2},"street":"Long Street {3}","city":"Springfield","express":false}}"#,
            number % 977,
            number % 50_000,
            number % 7,
            number % 120,
        );
        load.cmd("XADD")
            .arg("orders")
            .arg("*")
            .arg("data")
            .arg(order)
            .ignore();
    }
    Ok(load.query_async(redis).await?)
}

async fn commands_of_all(program: &Path) -> Result<Counts> {
    let server = Server::start().await;
    let proxy = Proxy::in_front_of(&server);
    let mut redis = server.connect().await;
    let mut counts = Counts::new();
    for part in ["drain", "retry", "dead", "replay"] {
        let mut lowest: Option<(f64, f64)> = None;
        for _ in 0..ROUNDS {
            let mut both = Vec::new();
            for many in [FEWER_COMMANDS, MORE_COMMANDS] {
                fill(&mut redis, many).await?;
                if part == "replay" {
                    work(program, &server.url(), "dead", many).await?;
                }
                both.push(commands_of(program, &proxy, &mut redis, part, many).await?);
            }
            let more = (MORE_COMMANDS - FEWER_COMMANDS) as f64;
            let each = |fewer: u64, many: u64| many.saturating_sub(fewer) as f64 / more;
            let sent = each(both[0].sent, both[1].sent);
            let run = each(both[0].run, both[1].run);
            let (least_sent, least_run) = lowest.unwrap_or((sent, run));
            lowest = Some((sent.min(least_sent), run.min(least_run)));
        }
        let (sent, run) = lowest.context("no round")?;
        counts.insert(format!("commands/{part}/sent"), sent);
        // How many retries come due together is a question of speed, and so is what their scripts call.
        if part != "retry" {
            counts.insert(format!("commands/{part}/run"), run);
        }
    }
    if proxy.misunderstood() > 0 {
        bail!("the proxy did not understand what passed: commands are not counted right");
    }
    Ok(counts)
}

async fn commands_of(
    program: &Path,
    proxy: &Proxy,
    redis: &mut MultiplexedConnection,
    part: &str,
    many: u64,
) -> Result<Sent> {
    proxy.forget_seen();
    let before = commands(redis).await?;
    work(program, proxy.url(), part, many).await?;
    let run = diff(&before, &commands(redis).await?).values().sum();
    let sent = proxy.seen().values().sum();
    Ok(Sent { sent, run })
}

async fn work(program: &Path, url: &str, part: &str, many: u64) -> Result<()> {
    let running = Command::new(program)
        .args([url, part, &many.to_string()])
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .output();
    let output = timeout(LONGEST, running).await;
    let output = output.with_context(|| format!("{part} of {many} messages does not end"))?;
    let output = output.with_context(|| format!("running {}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{part} of {many} messages: {}\n{said}", output.status);
    }
    Ok(())
}

/// Commands in a second of a worker with nothing to do, from just behind some to just behind others.
async fn idle(program: PathBuf) -> Result<Counts> {
    let server = Server::start().await;
    let proxy = Proxy::in_front_of(&server);
    let mut redis = server.connect().await;
    let mut worker = Command::new(&program)
        .args([proxy.url(), "idle", "3600"])
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("running {}", program.display()))?;
    sleep(SETTLED).await;
    let (sent_before, began) = behind_some(&proxy).await?;
    let before = commands(&mut redis).await?;
    sleep(IDLE).await;
    let (sent, ended) = behind_some(&proxy).await?;
    let run: u64 = diff(&before, &commands(&mut redis).await?).values().sum();
    if let Some(status) = worker.try_wait()? {
        bail!("a worker with nothing to do has ended: {status}");
    }
    worker.kill().await?;
    let a_second = |count: u64| count as f64 / (ended - began).as_secs_f64();
    Ok(Counts::from([
        (
            "commands/idle-second/sent".to_owned(),
            a_second(sent - sent_before),
        ),
        ("commands/idle-second/run".to_owned(), a_second(run)),
    ]))
}

/// Waits until more commands have passed, and those that follow at once: how many have, and when.
async fn behind_some(proxy: &Proxy) -> Result<(u64, Instant)> {
    let seen = || -> u64 { proxy.seen().values().sum() };
    let (before, end) = (seen(), Instant::now() + LONGEST);
    while seen() == before {
        if Instant::now() > end {
            bail!("a worker with nothing to do sends nothing");
        }
        sleep(LOOK).await;
    }
    let at = Instant::now();
    sleep(FOLLOW).await;
    Ok((seen(), at))
}
