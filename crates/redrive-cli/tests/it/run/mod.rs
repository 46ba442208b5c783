//! `redrive run`, on a real server, with real programs and real connections.

mod breaker;
mod commands;
mod endings;
mod http;
mod mistakes;
mod naming;
mod ordering;
mod pages;
mod stderr;
mod stopping;
mod target;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redrive_testkit::{Server, eventually, stream_name};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::Ended;

/// Enough for anything here on a machine that does something else as well.
const SOON: Duration = Duration::from_secs(30);

/// A server, a stream of the test's own and a folder for its handlers.
struct Rig {
    server: Server,
    plain: MultiplexedConnection,
    stream: String,
    folder: TempDir,
}

impl Rig {
    async fn start() -> Self {
        Self::on(Server::start().await).await
    }

    async fn on(server: Server) -> Self {
        Self {
            plain: server.connect().await,
            server,
            stream: stream_name("orders"),
            folder: tempfile::Builder::new()
                .prefix("redrive-run-")
                .tempdir_in("/tmp")
                .unwrap(),
        }
    }

    /// Asks the server, as anybody could.
    async fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query_async(&mut self.plain).await.unwrap()
    }

    /// Adds entries with one field, `n`, from 1 on.
    async fn add(&mut self, entries: usize) {
        let mut pipe = redis::pipe();
        for n in 1..=entries {
            pipe.cmd("XADD").arg(&self.stream).arg("*").arg("n").arg(n);
        }
        let _: Vec<String> = pipe.query_async(&mut self.plain).await.unwrap();
    }

    async fn add_fields(&mut self, fields: &[(&[u8], &[u8])]) -> String {
        let mut command = redis::cmd("XADD");
        command.arg(&self.stream).arg("*");
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
        command.query_async(&mut self.plain).await.unwrap()
    }

    async fn pending(&mut self) -> usize {
        let stream = self.stream.clone();
        let (pending, _, _, _): (usize, Unseen, Unseen, Unseen) =
            self.ask(&["XPENDING", &stream, "g"]).await;
        pending
    }

    async fn consumers(&mut self) -> usize {
        let stream = self.stream.clone();
        let consumers: Vec<Unseen> = self.ask(&["XINFO", "CONSUMERS", &stream, "g"]).await;
        consumers.len()
    }

    /// The fields of each dead letter, oldest first.
    async fn dead(&mut self) -> Vec<Vec<(String, String)>> {
        let dlq = format!("{}:dlq", self.stream);
        let entries: Vec<(String, Vec<(String, String)>)> =
            self.ask(&["XRANGE", &dlq, "-", "+"]).await;
        entries.into_iter().map(|(_, fields)| fields).collect()
    }

    /// One field of the only dead letter.
    async fn only_dead(&mut self) -> impl Fn(&str) -> String + use<> {
        let dead = self.dead().await;
        assert_eq!(dead.len(), 1, "{dead:?}");
        move |name| {
            let found = dead[0].iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An executable shell script.
    fn script(&self, text: &str) -> String {
        let path = self.path("handler.sh");
        write_script(&path, text);
        path.to_str().unwrap().to_owned()
    }

    /// `redrive run` on the stream with group `g`, and these arguments.
    fn run(&self, args: &[&str]) -> Running {
        let url = self.server.url();
        self.run_with(&["--url", &url], args)
    }

    fn run_with(&self, globals: &[&str], args: &[&str]) -> Running {
        let mut line = globals.to_vec();
        line.extend(["run", &self.stream, "-g", "g"]);
        line.extend(args);
        Running::start(&line)
    }

    /// The same, to its end, with a retry at once and until nothing is left.
    async fn drain(&self, args: &[&str]) -> Ended {
        let mut line = vec!["--until-idle", "--backoff", "none", "-o", "json"];
        line.extend(args);
        self.run(&line).ended().await
    }
}

/// Something that nobody looks at.
type Unseen = redis::Value;

fn write_script(path: &Path, text: &str) {
    write_program(path, &format!("#!/bin/sh\n{text}\n"));
}

pub(crate) fn write_program(path: &Path, text: &str) {
    use std::io::Write;
    // Written by another process, and moved into place: a file that this one has open for writing would be open
    // in whatever another test forks meanwhile, and could not be executed.
    let mut writing = std::process::Command::new("sh")
        .args([
            "-c",
            r#"cat >"$1.draft" && chmod 755 "$1.draft" && mv "$1.draft" "$1""#,
            "-",
        ])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writing
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(writing.wait().unwrap().success());
}

/// A `redrive` that runs; killed when dropped.
struct Running {
    child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
    said: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Running {
    fn start(line: &[&str]) -> Self {
        Self::start_with(line, &[])
    }

    fn start_with(line: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_redrive"))
            .args(line)
            .env_remove("REDRIVE_URL")
            .env_remove("REDRIVE_CONFIG")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = std::sync::Arc::default();
        let stdout = tokio::spawn(collect(child.stdout.take().unwrap(), None));
        let stderr = tokio::spawn(collect(
            child.stderr.take().unwrap(),
            Some(std::sync::Arc::clone(&said)),
        ));
        Self {
            child,
            stdout,
            stderr,
            said,
        }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Signals until it ends: what comes right after another signal is the same wish.
    async fn insist(&mut self, signal: Signal) {
        eventually(SOON, "it ends", async || match self.child.try_wait() {
            Ok(Some(_)) => true,
            _ => {
                self.signal(signal);
                false
            }
        })
        .await;
    }

    /// What it has said on stderr so far.
    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this on stderr.
    async fn says(&self, text: &str) {
        eventually(SOON, text, async || match self.said() {
            said if said.contains(text) => Ok(()),
            said => Err(said),
        })
        .await;
    }

    async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(2 * SOON, self.child.wait()).await;
        let Ok(status) = status else {
            panic!("it does not end; it said {}", self.said())
        };
        Ended {
            code: status.unwrap().code(),
            stdout: self.stdout.await.unwrap(),
            stderr: self.stderr.await.unwrap(),
        }
    }
}

async fn collect(
    mut from: impl tokio::io::AsyncRead + Unpin,
    said: Option<std::sync::Arc<std::sync::Mutex<String>>>,
) -> String {
    use tokio::io::AsyncReadExt;
    let (mut all, mut chunk) = (Vec::new(), vec![0; 65_536]);
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        all.extend_from_slice(&chunk[..read]);
        if let Some(said) = &said {
            said.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The totals at the end, by name: `succeeded failed retried deferred released dead_lettered discarded`.
#[track_caller]
fn totals(ended: &Ended) -> Vec<u64> {
    let object: Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}: {:?}, {}", ended.stdout, ended.stderr));
    let names = "succeeded failed retried deferred released dead_lettered discarded".split(' ');
    names
        .map(|name| {
            object[name]
                .as_u64()
                .unwrap_or_else(|| panic!("no {name} in {object}"))
        })
        .collect()
}

fn is_alive(pid: &str) -> bool {
    // A zombie still has a number; its state says that it is none of the living.
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z")),
        Err(_) if Path::new("/proc/self/stat").exists() => false,
        Err(_) => {
            let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
            rustix::process::test_kill_process(pid).is_ok()
        }
    }
}

/// The numbers of processes that a handler wrote into a file, a line each, once there are so many.
async fn pids(path: &Path, at_least: usize) -> Vec<String> {
    eventually(SOON, "numbers of processes", async || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= at_least && text.ends_with('\n') {
            Ok(lines)
        } else {
            Err(text)
        }
    })
    .await
}

async fn all_gone(pids: &[String]) {
    eventually(SOON, "processes that are gone", async || {
        let alive: Vec<_> = pids.iter().filter(|pid| is_alive(pid)).collect();
        if alive.is_empty() {
            Ok(())
        } else {
            Err(format!("{alive:?}"))
        }
    })
    .await;
}

fn kill(pid: &str) {
    let _ = kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL);
}
