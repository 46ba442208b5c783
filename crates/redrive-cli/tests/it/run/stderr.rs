//! A stderr that nobody reads, or that takes nothing: the worker works on, and ends when it is told to.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redrive_testkit::eventually;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use super::{Rig, SOON, all_gone, pids, totals};
use crate::{Ended, command};

/// A pipe that is full already, and that nobody reads.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while writer.write(&[b'.'; 4096][..size]).is_ok() {}
    }
    let error = writer.write(b".").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // For all who hold it: the child must meet an ordinary pipe.
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// A worker with a stderr of the test's choice; killed when dropped.
struct Worker(std::process::Child);

impl Worker {
    fn start(rig: &Rig, args: &[&str], stderr: impl Into<Stdio>) -> Self {
        let mut command = worker(rig, args);
        Self(
            command
                .stderr(stderr)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// How it ended, with nothing known of its stderr.
    async fn ended(&mut self) -> Ended {
        let status = eventually(SOON, "the end of the worker", async || {
            self.0.try_wait().unwrap()
        })
        .await;
        let mut stdout = String::new();
        if let Some(mut told) = self.0.stdout.take() {
            told.read_to_string(&mut stdout).unwrap();
        }
        Ended {
            code: status.code(),
            stdout,
            stderr: String::new(),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn worker(rig: &Rig, args: &[&str]) -> Command {
    let url = rig.server.url();
    let mut line = vec!["--url", &url, "-o", "json", "run", &rig.stream, "-g", "g"];
    line.extend(args);
    let mut command = command(&line);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command
}

async fn dead(rig: &mut Rig, wanted: usize) {
    let dlq = format!("{}:dlq", rig.stream);
    let plain = rig.plain.clone();
    eventually(SOON, "dead letters", async || {
        let length: usize = redis::cmd("XLEN")
            .arg(&dlq)
            .query_async(&mut plain.clone())
            .await
            .unwrap();
        if length == wanted {
            Ok(())
        } else {
            Err(length)
        }
    })
    .await;
}

/// The reader of stderr stood still: the threads of the runtime were blocked in their writes, one
/// after another, and no signal was heard any more, while the leases were renewed.
#[tokio::test]
async fn a_stderr_that_nobody_reads_stops_nothing() {
    let mut rig = Rig::start().await;
    rig.add(300).await;
    let (reader, writer) = full();
    let args = "--concurrency 8 --lease 2s --breaker off --max-attempts 1 -- sh -c".split(' ');
    let mut args: Vec<&str> = args.collect();
    args.push("echo no >&2; exit 1");
    let mut run = Worker::start(&rig, &args, writer);
    dead(&mut rig, 300).await;
    run.signal(Signal::TERM);
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(0));
    assert_eq!(totals(&ended), [0, 300, 0, 0, 0, 300, 0]);
    drop(reader);
}

/// What it had to say is there when the reader comes back, each line whole.
#[tokio::test]
async fn a_reader_that_comes_back_gets_what_was_kept() {
    let mut rig = Rig::start().await;
    rig.add(300).await;
    let (mut reader, writer) = full();
    let args = "--breaker off --max-attempts 1 -- sh -c".split(' ');
    let mut args: Vec<&str> = args.collect();
    args.push("echo this is $REDRIVE_ID >&2; exit 1");
    let mut run = Worker::start(&rig, &args, writer);
    dead(&mut rig, 300).await;
    let reading = std::thread::spawn(move || {
        let mut said = Vec::new();
        reader.read_to_end(&mut said).unwrap();
        String::from_utf8(said).unwrap()
    });
    run.signal(Signal::TERM);
    assert_eq!(run.ended().await.code, Some(0));
    let said = reading.join().unwrap();
    let said = said.trim_start_matches('.');
    let lines = |what: &str| said.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines(" WARN dead letter source="), 300, "{said}");
    let by_handlers = said.lines().filter(|line| line.starts_with("this is "));
    assert_eq!(by_handlers.count(), 300, "{said}");
    let last = said.lines().last();
    assert!(
        last.is_some_and(|line| line.contains("processor stopped")),
        "{last:?}"
    );
}

/// Only the handler that prints waits: its time-out ends it, and the messages of others are handled.
#[tokio::test]
async fn a_handler_that_nobody_listens_to_is_ended_by_its_time_out() {
    let mut rig = Rig::start().await;
    rig.add(2).await;
    let (reader, writer) = full();
    let args = ["--timeout", "1s", "--max-attempts", "1", "--", "yes"];
    let mut run = Worker::start(&rig, &args, writer);
    dead(&mut rig, 2).await;
    for letter in rig.dead().await {
        let kind = letter.iter().find(|(name, _)| name == "redrive-error-kind");
        assert!(
            kind.is_some_and(|(_, kind)| kind == "timeout"),
            "{letter:?}"
        );
    }
    run.signal(Signal::TERM);
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(0));
    assert_eq!(totals(&ended), [0, 2, 0, 0, 0, 2, 0]);
    drop(reader);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_with_a_stderr_that_nobody_reads() {
    let mut rig = Rig::start().await;
    rig.add(4).await;
    let (reader, writer) = full();
    let file = rig.path("pids");
    let handler = rig.script(&format!("echo $$ >>{}; exec yes", file.display()));
    let mut run = Worker::start(&rig, &["--", &handler], writer);
    let pids = pids(&file, 4).await;
    let start = Instant::now();
    run.signal(Signal::INT);
    // What comes right after it is the same wish.
    eventually(SOON, "the end of the worker", async || {
        run.signal(Signal::TERM);
        run.0.try_wait().unwrap().is_some()
    })
    .await;
    let ended = run.ended().await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert!(matches!(ended.code, Some(130 | 143)), "{:?}", ended.code);
    all_gone(&pids).await;
    drop(reader);
}

/// `redrive run … 2>&1 | a reader that stands still`: what it did cannot be told, and that is no
/// reason to stay.
#[tokio::test]
async fn a_second_signal_ends_it_where_stdout_takes_nothing_either() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let (reader, writer) = full();
    let args = ["--max-attempts", "1", "--", "false"];
    let mut command = worker(&rig, &args);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut run = Worker(command.spawn().unwrap());
    drop(command);
    dead(&mut rig, 1).await;
    run.signal(Signal::TERM);
    let status = eventually(SOON, "the end of the worker", async || {
        run.signal(Signal::INT);
        run.0.try_wait().unwrap()
    });
    assert!(matches!(status.await.code(), Some(130 | 143)));
    drop(reader);
}

/// What cannot be written made the log itself panic, and the worker ended with 101.
#[tokio::test]
async fn a_stderr_that_takes_nothing_fails_nothing() {
    let full_disk = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let nobody = || Stdio::from(pipe().unwrap().1);
    let stderrs: [&dyn Fn() -> Stdio; 2] = [&full_disk, &nobody];
    for stderr in stderrs {
        let mut rig = Rig::start().await;
        rig.add(20).await;
        let args = "--until-idle --max-attempts 1 -- sh -c".split(' ');
        let mut args: Vec<&str> = args.collect();
        args.push("seq 20000; exit 1");
        let mut run = Worker::start(&rig, &args, stderr());
        let ended = run.ended().await;
        assert_eq!(ended.code, Some(0));
        assert_eq!(totals(&ended), [0, 20, 0, 0, 0, 20, 0]);
    }
}

#[tokio::test]
async fn a_stderr_that_is_closed_fails_nothing() {
    let mut rig = Rig::start().await;
    rig.add(20).await;
    let args = ["--until-idle", "--max-attempts", "1", "--", "false"];
    let worker = worker(&rig, &args);
    let mut closed = Command::new("sh");
    closed.args(["-c", r#"exec "$@" 2>&-"#, "-"]);
    closed.arg(worker.get_program()).args(worker.get_args());
    closed
        .env_remove("REDRIVE_URL")
        .env_remove("REDRIVE_CONFIG");
    closed.env("XDG_CONFIG_HOME", "/nonexistent");
    let mut run = Worker(closed.stdout(Stdio::piped()).spawn().unwrap());
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(0));
    assert_eq!(totals(&ended), [0, 20, 0, 0, 0, 20, 0]);
}

/// Nobody hears why, and the exit code is the same.
#[tokio::test]
async fn a_mistake_that_nobody_hears_of_ends_as_it_would() {
    let (reader, writer) = full();
    let mut wrong = command(&["run", "orders", "-g", "g"]);
    let mut run = Worker(wrong.stderr(writer).spawn().unwrap());
    assert_eq!(run.ended().await.code, Some(2));
    drop(reader);
}
