//! A worker of the bench in a process of its own: to be killed, and to see how much memory it takes.

use clap::Args as ClapArgs;
use redrive::{Broker, Fields, GroupName, Message, Processor, Raw, Source, StreamKey};
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::Bench;
use super::load::Work;
use super::recorder;
use crate::failure::Failure;

/// Beyond what a worker needs to take what it is to take.
const SOON: Duration = Duration::from_secs(120);

#[derive(ClapArgs)]
pub(crate) struct WorkerArgs {
    /// The stream. The URL comes on stdin: it may hold a password.
    #[arg(long, value_name = "STREAM")]
    stream: StreamKey,
    #[arg(long, value_name = "GROUP")]
    group: GroupName,
    /// How many messages it handles, or holds.
    #[arg(long, value_name = "N")]
    many: u64,
    /// Hold them, with this lease in milliseconds, until killed; else handle them.
    #[arg(long, value_name = "MS")]
    hold: Option<u64>,
}

/// Is the worker.
pub(crate) async fn work(args: WorkerArgs) -> Result<(), Failure> {
    let mut url = String::new();
    std::io::stdin().read_line(&mut url)?;
    recorder::install()?;
    let broker = Broker::connect(url.trim()).await?;
    let source = Source {
        stream: args.stream,
        group: args.group,
    };
    let work = Work::new(args.many);
    let seen = work.clone();
    let builder = Processor::builder(&broker, source).codec(Raw);
    match args.hold {
        Some(lease) => {
            let many = usize::try_from(args.many).unwrap_or(usize::MAX);
            let mut processor = builder
                .concurrency(many)
                .lease(Duration::from_millis(lease))
                .build(move |message: Message<Fields>| {
                    seen.one();
                    async move {
                        let _held = message;
                        std::future::pending::<()>().await;
                    }
                })?;
            let telling = async {
                work.over().await;
                tell("in hand");
                end_of_stdin().await;
            };
            tokio::select! {
                ended = processor.run_until(std::future::pending::<()>()) => ended.map(drop).map_err(Failure::from),
                () = telling => Ok(()),
            }
        }
        None => {
            let mut processor = builder.concurrency(256).build(move |_: Message<Fields>| {
                seen.one();
                async {}
            })?;
            processor.run_until(work.over()).await?;
            tell(&peak().map_or_else(|| "unknown".to_owned(), |kib| kib.to_string()));
            Ok(())
        }
    }
}

fn tell(line: &str) {
    let mut out = std::io::stdout();
    // With nobody to tell, the bench is gone.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The most memory that this process has had, in KiB; known on Linux.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Nothing can end a read of stdin but stdin: it has a thread of its own.
async fn end_of_stdin() {
    let gone = Arc::new(tokio::sync::Notify::new());
    let heard = Arc::clone(&gone);
    std::thread::spawn(move || {
        // That it cannot be read any more is its end as well.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        heard.notify_one();
    });
    gone.notified().await;
}

/// The same, seen by the bench. Killed when this is dropped.
pub(crate) struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    // Open as long as the worker may live.
    _stdin: ChildStdin,
}

impl Worker {
    pub(crate) async fn start(
        bench: &Bench,
        source: &Source,
        many: u64,
        hold: Option<Duration>,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["bench-worker", "--stream", source.stream.as_str()])
            .args([
                "--group",
                source.group.as_str(),
                "--many",
                &many.to_string(),
            ]);
        if let Some(lease) = hold {
            command.args(["--hold", &lease.as_millis().to_string()]);
        }
        let mut child = command
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("a worker has no input or no output"));
        };
        stdin
            .write_all(format!("{}\n", bench.server.url).as_bytes())
            .await?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
            _stdin: stdin,
        })
    }

    /// What it tells next.
    pub(crate) async fn told(&mut self) -> Result<String, Failure> {
        let line = timeout(SOON, self.lines.next_line()).await;
        let line = line.map_err(|_| Failure::new("a worker tells nothing"))??;
        line.ok_or_else(|| Failure::new("a worker has ended by itself"))
    }

    /// SIGKILL: it hands nothing back.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }
}
