//! A server of the test's own, the binary on it, and plain commands to look.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, ToRedisArgs};
use redrive::{Broker, Message, Outcome, Processor, Source};
use redrive_testkit::{Builder, Proxy, Server, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::super::Ended;
use super::users;

/// Enough for anything here on a machine that does something else as well.
pub(super) const SOON: Duration = Duration::from_secs(60);

pub(crate) const FLAT: &[u8] = include_bytes!("../../../../redrive/tests/interop/flat.resp");
pub(crate) const ENVELOPE: &[u8] =
    include_bytes!("../../../../redrive/tests/interop/envelope.resp");

/// Entries as `XRANGE` answers them: the id, then names and values in turn.
pub(super) type Entries = Vec<(String, Vec<Vec<u8>>)>;

pub(crate) struct Rig {
    pub(crate) server: Server,
    /// Whether it lets those in for whom [`Rig::url_for`] is.
    users: bool,
    plain: MultiplexedConnection,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(Server::builder()).await
    }

    /// On a server like this, with the users of the page.
    pub(super) async fn with(mut server: Builder) -> Self {
        for user in users::users() {
            server = server.acl(&user);
        }
        let server = server.start().await;
        Self {
            plain: server.connect().await,
            users: true,
            server,
        }
    }

    pub(crate) async fn on(server: Server) -> Self {
        Self {
            plain: server.connect().await,
            users: false,
            server,
        }
    }

    /// Where it is, as the user of `SECURITY.md` that this is for, unless it is a server of its own kind.
    pub(super) fn url_for(&self, args: &[&str]) -> String {
        if self.users {
            users::url_for(args, self.server.port())
        } else {
            self.server.url()
        }
    }

    /// The same behind a proxy of it.
    pub(super) fn through(&self, proxy: &Proxy, args: &[&str]) -> String {
        assert!(self.users, "a proxy is put in front of servers with users");
        users::url_for(args, proxy.port())
    }

    /// A server that holds what one of the two Python systems left.
    pub(crate) async fn loaded(dump: &[u8]) -> Self {
        let rig = Self::start().await;
        let mut socket = TcpStream::connect(("127.0.0.1", rig.server.port()))
            .await
            .unwrap();
        socket.write_all(dump).await.unwrap();
        socket.write_all(b"*1\r\n$4\r\nPING\r\n").await.unwrap();
        let mut answers = Vec::new();
        while !answers.ends_with(b"+PONG\r\n") {
            let read = socket.read_buf(&mut answers).await.unwrap();
            assert_ne!(read, 0, "closed before the end");
        }
        let answers = String::from_utf8_lossy(&answers);
        let refused = answers.lines().any(|line| line.starts_with('-'));
        assert!(!refused, "{answers}");
        rig
    }

    /// The answer of the server to a command.
    pub(crate) async fn ask<T: FromRedisValue>(&self, parts: &[impl ToRedisArgs]) -> T {
        ask(&mut self.plain.clone(), parts).await
    }

    pub(super) async fn length(&self, key: &str) -> u64 {
        self.ask(&["XLEN", key]).await
    }

    pub(super) async fn entries(&self, key: &str) -> Entries {
        self.ask(&["XRANGE", key, "-", "+"]).await
    }

    /// The newest entry.
    pub(super) async fn last(&self, key: &str) -> (String, Vec<Vec<u8>>) {
        self.entries(key).await.pop().unwrap()
    }

    /// All that the server holds, byte for byte.
    pub(crate) async fn everything(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all = BTreeMap::new();
        for key in self.ask::<Vec<Vec<u8>>>(&["KEYS", "*"]).await {
            let dump = self.ask(&[&b"DUMP"[..], &key]).await;
            all.insert(key, dump);
        }
        all
    }

    /// Adds a dead letter of this id in the native layout: its own fields, and the metadata, with
    /// these in the place of the usual ones.
    pub(crate) async fn dies(&self, queue: &str, id: &str, own: &[&[u8]], said: &[(&str, &str)]) {
        let count = (own.len() / 2).to_string();
        let usual = [
            ("redrive-v", "1"),
            ("redrive-fields", count.as_str()),
            ("redrive-stream", "orders"),
            ("redrive-group", "billing"),
            ("redrive-id", "999999999000-0"),
            ("redrive-reason", "attempts_exhausted"),
            ("redrive-error", "card declined"),
            ("redrive-error-kind", "timeout"),
            ("redrive-fingerprint", "0123456789abcdef"),
            ("redrive-attempts", "3"),
            ("redrive-crashes", "0"),
            ("redrive-consumer", "consumer_0a1b2c3d"),
            ("redrive-first-at", "999999999000"),
            ("redrive-dead-at", "1000000000000"),
        ];
        let mut parts: Vec<&[u8]> = vec![b"XADD", queue.as_bytes(), id.as_bytes()];
        parts.extend(own);
        for (name, value) in usual {
            let other = said.iter().find(|(said, _)| *said == name);
            parts.extend([
                name.as_bytes(),
                other.map_or(value, |other| other.1).as_bytes(),
            ]);
        }
        for (name, value) in said {
            if !usual.iter().any(|(usual, _)| usual == name) {
                parts.extend([name.as_bytes(), value.as_bytes()]);
            }
        }
        let _: String = self.ask(&parts).await;
    }

    /// Lets redrive itself give up so many messages, `data` of each its number as JSON: `{"n":0}`.
    pub(crate) async fn reject(&self, many: u32) {
        let broker = Broker::connect(&self.url_for(&["run"])).await.unwrap();
        let messages: Vec<Value> = (0..many).map(|n| serde_json::json!({ "n": n })).collect();
        let producer = broker.producer("orders".parse().unwrap());
        producer.send_all(&messages).await.unwrap();
        let mut processor = Processor::builder(&broker, Source::new("orders", "billing").unwrap())
            .block(Duration::from_millis(100))
            .build(async |_: Message<Value>| Outcome::dead_letter("no"))
            .unwrap();
        let totals = processor.run_until_idle().await.unwrap();
        assert_eq!(totals.dead_lettered, u64::from(many));
    }

    /// The binary on this server, with nothing of the environment of whoever runs the tests.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command.env("REDRIVE_URL", self.url_for(args));
        command
    }

    pub(crate) async fn redrive(&self, args: &[&str]) -> Ended {
        ended(&mut self.command(args)).await
    }

    /// What it answers as JSON, where it ends well.
    #[track_caller]
    pub(super) fn json(&self, args: &[&str]) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        let mut command = self.command(&[&["-o", "json"], args].concat());
        async move {
            let ended = ended(&mut command).await;
            assert_eq!(ended.code, Some(0), "{caller}: {}", ended.stderr);
            serde_json::from_str(&ended.stdout)
                .unwrap_or_else(|error| panic!("{caller}: {error}: {}", ended.stdout))
        }
    }

    pub(super) fn start_redrive(&self, args: &[&str]) -> Running {
        Running::start(self.command(args))
    }
}

pub(super) async fn ask<T: FromRedisValue>(
    plain: &mut MultiplexedConnection,
    parts: &[impl ToRedisArgs],
) -> T {
    let mut command = redis::Cmd::new();
    for part in parts {
        command.arg(part);
    }
    command.query_async(plain).await.unwrap()
}

pub(super) fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command.env_clear();
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

pub(super) async fn ended(command: &mut Command) -> Ended {
    let output = tokio::time::timeout(2 * SOON, command.output()).await;
    told(
        output
            .unwrap_or_else(|_| panic!("{command:?} does not end"))
            .unwrap(),
    )
}

fn told(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// That it failed like this: the code, the error and the hint, and nothing else on stderr.
#[track_caller]
pub(super) fn assert_fails(ended: &Ended, code: i32, error: &str, hint: &str) {
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(code), &*format!("error: {error}\nhint: {hint}\n"))
    );
}

/// The keys of an object, in their order.
#[track_caller]
pub(super) fn keys(object: &Value) -> Vec<&str> {
    let object = object.as_object().unwrap_or_else(|| panic!("{object}"));
    object.keys().map(String::as_str).collect()
}

/// These words, sorted: what [`keys`] answers.
pub(super) fn sorted(words: &str) -> Vec<&str> {
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.sort_unstable();
    words
}

pub(super) fn bytes(parts: &[&str]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.as_bytes().to_vec()).collect()
}

/// The binary while it runs; killed when dropped.
pub(super) struct Running {
    child: Child,
    stdout: JoinHandle<()>,
    stderr: JoinHandle<()>,
    said: [Arc<Mutex<Vec<u8>>>; 2],
}

impl Running {
    pub(super) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said: [Arc<Mutex<Vec<u8>>>; 2] = Default::default();
        Self {
            stdout: tokio::spawn(collect(child.stdout.take().unwrap(), Arc::clone(&said[0]))),
            stderr: tokio::spawn(collect(child.stderr.take().unwrap(), Arc::clone(&said[1]))),
            child,
            said,
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stdout.is_finished() && self.stderr.is_finished()
    }

    /// Signals until it ends: what comes right after another signal is the same wish.
    pub(super) async fn insist(&mut self, signal: Signal) {
        eventually(SOON, "it ends", async || match self.child.try_wait() {
            Ok(Some(_)) => true,
            _ => {
                self.signal(signal);
                false
            }
        })
        .await;
    }

    /// Waits until this stands on stdout or stderr.
    pub(super) async fn says(&self, text: &str) {
        eventually(SOON, text, async || {
            let said = self
                .said
                .each_ref()
                .map(|said| said.lock().unwrap().clone());
            let said = String::from_utf8_lossy(&said.concat()).into_owned();
            if said.contains(text) {
                Ok(())
            } else {
                Err(said)
            }
        })
        .await;
    }

    pub(super) async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(2 * SOON, self.child.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("it does not end"))
            .unwrap();
        self.stdout.await.unwrap();
        self.stderr.await.unwrap();
        let [stdout, stderr] = self.said.map(|said| said.lock().unwrap().clone());
        told(Output {
            status,
            stdout,
            stderr,
        })
    }
}

async fn collect(mut from: impl tokio::io::AsyncRead + Unpin, said: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = vec![0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        said.lock().unwrap().extend_from_slice(&chunk[..read]);
    }
}
