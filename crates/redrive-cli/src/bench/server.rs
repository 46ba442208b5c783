//! The server that is measured: one of the bench's own, or the empty one that was named.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisError, cmd};
use tokio::time::{Instant, timeout_at};

use super::meter::Meter;
use crate::failure::Failure;

const CONNECT: Duration = Duration::from_secs(5);
/// Beyond anything that is waited for: a busy machine is slow, not broken.
const ANSWER: Duration = Duration::from_secs(60);
const READY_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
/// The port where a server of somebody's may be.
const USUAL: u16 = 6379;
/// What every key of the bench has in its name.
const MARK: &str = "redrive-bench";

/// The shell outlives a bench that is killed, and ends the server then: its stdin has come to an end.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
"$@" </dev/null >/dev/null 2>&1 &
echo "$!"
exec >/dev/null
read -r line
kill -9 "$!"
"#;

/// A server, how to reach it, and what was made on it.
pub(crate) struct Server {
    pub(crate) url: String,
    door: Door,
    run: String,
    made: usize,
    own: Option<Own>,
}

/// A process of ours: gone when this is dropped, and when we are killed.
struct Own {
    watchdog: Child,
    pipe: Option<ChildStdin>,
    pid: u64,
}

impl Drop for Own {
    fn drop(&mut self) {
        // Its end is the sign.
        drop(self.pipe.take());
        let _ = self.watchdog.wait();
    }
}

impl Server {
    /// Starts one that keeps nothing on disk, on a free port of this machine.
    pub(crate) async fn start(binary: Option<&Path>) -> Result<Self, Failure> {
        let binary = match binary {
            Some(path) if !path.is_file() => {
                let text = format!("--server {} is not a file", path.display());
                return Err(Failure::usage(text).hint("name the path of a redis-server"));
            }
            Some(path) => path.to_owned(),
            None => found()?,
        };
        let mut port = USUAL;
        while port == USUAL {
            port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        }
        let own = Own::start(&binary, port)
            .map_err(|error| Failure::new(format!("starting {}: {error}", binary.display())))?;
        let url = format!("redis://127.0.0.1:{port}");
        let server = Self::at(&url, Some(own))?;
        let began = Instant::now();
        // Its own number: somebody else may have taken the port meanwhile.
        while !server.is_ours().await {
            if began.elapsed() > READY_WITHIN {
                let text = format!("{} does not answer on port {port}", binary.display());
                return Err(Failure::new(text)
                    .hint("does it start by itself? --server names another, --url a running one"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(server)
    }

    /// The server that was named, if nothing is in its database.
    pub(crate) async fn named(url: &str, force: Force) -> Result<Self, Failure> {
        let server = Self::at(url, None)?;
        let mut to = server.connect().await?;
        let keys: u64 = cmd("DBSIZE").query_async(&mut to).await.map_err(failed)?;
        if keys > 0 && force == Force::No {
            return Err(Failure::new(format!("the database holds keys: {keys}")).hint(
                "the bench loads a server to its limit: name one that nobody uses, or do without --url; --force goes on",
            ));
        }
        Ok(server)
    }

    fn at(url: &str, own: Option<Own>) -> Result<Self, Failure> {
        let unfit = |what: &str| {
            Failure::usage(format!("the bench cannot use this URL: {what}"))
                .hint("it takes redis://HOST:PORT/DB and unix:///PATH, where nothing stands between it and the server")
        };
        // What the client says of it may quote a password.
        let info = url
            .into_connection_info()
            .map_err(|_| unfit("it is no URL of a server"))?;
        if !matches!(
            info.addr(),
            ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(..)
        ) {
            return Err(unfit("TLS and sentinels are not measured"));
        }
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(Self {
            url: url.to_owned(),
            door: Door(Client::open(info).map_err(|_| unfit("it is no URL of a server"))?),
            run: format!("{:08x}", std::process::id()),
            made: 0,
            own,
        })
    }

    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        self.door.connect().await
    }

    /// For connections on another runtime.
    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// A name that nobody had before, for a stream or a group.
    pub(crate) fn name(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{MARK}:{}:{what}:{}", self.run, self.made)
    }

    /// What the server has counted until now.
    pub(crate) async fn meter(&self, to: &mut MultiplexedConnection) -> Result<Meter, Failure> {
        let told: String = cmd("INFO")
            .arg("all")
            .query_async(to)
            .await
            .map_err(failed)?;
        Ok(Meter::read(&told, Instant::now()))
    }

    /// Removes every key that this run of the bench has made.
    pub(crate) async fn clean(&self) -> Result<(), Failure> {
        let mut to = self.connect().await?;
        let pattern = format!("*{MARK}:{}:*", self.run);
        let mut cursor = 0_u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(1_000);
            let (next, keys): (u64, Vec<Vec<u8>>) =
                scan.query_async(&mut to).await.map_err(failed)?;
            if !keys.is_empty() {
                // Not UNLINK: what is freed in the background slows down whatever is measured next.
                let _: u64 = cmd("DEL")
                    .arg(&keys)
                    .query_async(&mut to)
                    .await
                    .map_err(failed)?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn is_ours(&self) -> bool {
        let Ok(mut to) = self.connect().await else {
            return false;
        };
        let told: Result<String, _> = cmd("INFO").arg("server").query_async(&mut to).await;
        let pid = told
            .ok()
            .and_then(|told| Meter::number(&told, "process_id"));
        pid == self.own.as_ref().map(|own| own.pid)
    }
}

/// Where connections come from.
#[derive(Clone)]
pub(crate) struct Door(Client);

impl Door {
    /// A connection that lives on the runtime of the caller.
    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let connecting = self.0.get_multiplexed_async_connection_with_config(&config);
        connecting
            .await
            .map_err(|error| failed(error).hint("is the server running, and is this its address?"))
    }
}

/// How many commands are sent to the server in this time, those that scripts call and our own looks
/// not among them.
pub(crate) async fn sent(door: &Door, window: Duration) -> Result<u64, Failure> {
    let mut monitor = door.0.get_async_monitor().await.map_err(failed)?;
    let mut told = std::pin::pin!(monitor.on_message::<String>());
    let (end, mut sent) = (Instant::now() + window, 0);
    while let Ok(Some(line)) = timeout_at(end, told.next()).await {
        sent += u64::from(is_sent(&line));
    }
    Ok(sent)
}

/// Whether a line of `MONITOR`, `1712.5 [0 127.0.0.1:5000] "PING"`, is of a command that somebody sent.
fn is_sent(line: &str) -> bool {
    line.split_once("] ")
        .is_some_and(|(from, command)| !from.ends_with(" lua") && !command.starts_with("\"INFO\""))
}

/// Whether a database may hold something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    Yes,
    No,
}

impl Own {
    fn start(binary: &Path, port: u16) -> std::io::Result<Self> {
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "redrive-bench-watchdog"])
            .arg(binary)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C is for us alone: what is measured ends when we say so.
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = watchdog.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line
            .trim()
            .parse()
            .map_err(|_| std::io::Error::other("the shell that starts it told no process id"))?;
        let pipe = watchdog.stdin.take();
        Ok(Self {
            watchdog,
            pipe,
            pid,
        })
    }
}

fn found() -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)));
    candidates.find(|candidate| candidate.is_file()).ok_or_else(|| {
        Failure::new("neither redis-server nor valkey-server is in PATH")
            .hint("install one, name it with --server PATH, or name a running, empty server with --url")
    })
}

/// What the server or the connection to it failed with.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` gives it"
)]
pub(crate) fn failed(error: RedisError) -> Failure {
    Failure::new(format!("asking the server: {error}"))
        .hint("is the server still there, and is nobody else using it?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_calls_and_our_own_looks_were_not_sent() {
        for (line, expected) in [
            (r#"1712.5 [0 127.0.0.1:5000] "PING""#, true),
            (
                r#"1712.5 [0 unix:/tmp/x.sock] "XREADGROUP" "GROUP" "] " "lua""#,
                true,
            ),
            (r#"1712.5 [0 lua] "XPENDING" "a" "b""#, false),
            (r#"1712.5 [0 127.0.0.1:5000] "INFO" "all""#, false),
            ("OK", false),
        ] {
            assert_eq!(is_sent(line), expected, "{line}");
        }
    }
}
