//! One server process and the watchdog that sees to it that it never outlives the test.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to answer its first `PING`; usually it is 20 to 50 ms.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long a server may take to leave after SIGTERM before it is killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// The shell is the server's parent and holds the read end of a pipe whose write end only the test process has.
///
/// A line on the pipe, or its end, kills the server: the end comes also when the test process is killed with
/// SIGKILL, and then nobody else is left to remove the directory. The subshell ignores SIGUSR1 once it is at work,
/// so that the outer shell's `kill`, meant for a subshell still reading, does not stop it half-way. SIGHUP has to be
/// ignored: when the test process dies while the server is stopped, the kernel sends it to the whole orphaned group,
/// and would take the watchdog away from the server that it watches.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
directory=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- >"$directory/server.log" 2>&1 &
server=$!
(
    read -r line <&3
    ended=$?
    trap '' USR1
    kill -9 "$server"
    [ "$ended" -eq 0 ] || rm -rf "$directory"
) >/dev/null 2>&1 &
echo "$server"
exec >/dev/null
wait "$server"
kill -USR1 "$!"
"#;

/// What to start: a binary, its options, and the directory that holds its socket and its log.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) ports: Ports,
    pub(crate) options: Vec<String>,
    /// A file that the server reads first, and may rewrite: a sentinel keeps in it what it knows.
    pub(crate) config: Option<PathBuf>,
    pub(crate) debug_command: DebugCommand,
}

/// The two ports of a server; `tls` is bound only when the server has certificates.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) plain: u16,
    pub(crate) tls: Option<u16>,
}

/// Whether the server knows `enable-debug-command`: 7.0 refuses `DEBUG` without it, 6.2 refuses to start with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DebugCommand {
    Enable,
    Unknown,
}

/// Why a server did not start.
pub(crate) enum Refused {
    /// Somebody else took the port between our choice and the server's bind.
    PortTaken,
    /// This server does not know `enable-debug-command`.
    DebugCommandUnknown,
    /// Anything else, told with the end of the server's log.
    Failed(String),
}

/// A running server. Dropping it kills the server and waits until it is gone.
pub(crate) struct Process {
    pid: Pid,
    watchdog: Child,
    pipe: Option<ChildStdin>,
}

impl Launch {
    /// The path of the server's unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("redis.sock")
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = [
            ("--bind", "127.0.0.1"),
            ("--port", &self.ports.plain.to_string()),
            ("--unixsocket", &self.socket().to_string_lossy()),
            ("--unixsocketperm", "700"),
            ("--dir", &self.directory.to_string_lossy()),
            ("--daemonize", "no"),
            ("--save", ""),
        ]
        .iter()
        .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
        .collect();
        if self.debug_command == DebugCommand::Enable {
            arguments.extend(["--enable-debug-command".to_owned(), "yes".to_owned()]);
        }
        arguments.extend(self.options.iter().cloned());
        arguments
    }

    fn log(&self) -> String {
        fs::read(self.directory.join("server.log")).map_or_else(
            |error| format!("(no log: {error})"),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    fn refusal(&self, what: &str) -> Refused {
        let log = self.log();
        if log.contains("Address already in use") {
            return Refused::PortTaken;
        }
        // Only a server that stumbled over the option prints its name.
        if self.debug_command == DebugCommand::Enable && log.contains("enable-debug-command") {
            return Refused::DebugCommandUnknown;
        }
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(20)..].join("\n  ");
        let binary = self.binary.display();
        Refused::Failed(format!("{binary} {what}; its last words:\n  {end}"))
    }
}

impl Process {
    /// Starts the server and returns when it answers on its own unix socket: a port alone could be somebody else's.
    pub(crate) fn start(launch: &Launch) -> Result<Self, Refused> {
        let mut process = Self::spawn(launch).map_err(|error| {
            let binary = launch.binary.display();
            Refused::Failed(format!("cannot start {binary} through sh: {error}"))
        })?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if process.has_exited() {
                return Err(launch.refusal("exited at start"));
            }
            if answers(&launch.socket()) {
                return Ok(process);
            }
            if Instant::now() > deadline {
                return Err(launch.refusal("did not answer in time"));
            }
            thread::sleep(POLL);
        }
    }

    fn spawn(launch: &Launch) -> io::Result<Self> {
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "redrive-testkit-watchdog"])
            .arg(&launch.directory)
            .arg(&launch.binary)
            .args(&launch.config)
            .args(launch.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C and a test runner's kill reach the test's process group; the watchdog must survive them.
            .process_group(0)
            .spawn()?;
        let pipe = watchdog.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = watchdog.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| {
                io::Error::new(ErrorKind::InvalidData, format!("no process id in {line:?}"))
            })?;
        Ok(Self {
            pid,
            watchdog,
            pipe,
        })
    }

    /// The process id of the server itself, not of its watchdog.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// SIGTERM, as an operator would; SIGKILL if the server does not leave within ten seconds.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOPPED_WITHIN;
        while !self.has_exited() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }

    /// SIGSTOP, and back only when the kernel has stopped it: until then it could still answer.
    pub(crate) fn freeze(&mut self) {
        self.signal(Signal::STOP);
        let deadline = Instant::now() + STOPPED_WITHIN;
        while is_running(self.pid()) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
    }

    /// SIGCONT.
    pub(crate) fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        // The watchdog reaps the server and leaves; while it is there, the id is the server's and nobody else's.
        if !self.has_exited() {
            // Gone in the meantime: then there is nothing left to signal.
            let _ = kill_process(self.pid, signal);
        }
    }

    fn has_exited(&mut self) -> bool {
        matches!(self.watchdog.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // A broken pipe means that the server and its watchdog are gone already.
            let _ = pipe.write_all(b"stop\n");
        }
        let _ = self.watchdog.wait();
    }
}

/// Finds the server that tests run on: `REDRIVE_TEST_SERVER`, else `redis-server`, else `valkey-server`.
pub(crate) fn server_binary() -> Result<PathBuf, String> {
    if let Some(chosen) = env::var_os("REDRIVE_TEST_SERVER").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(chosen);
        return if path.is_file() {
            Ok(path)
        } else {
            let path = path.display();
            Err(format!("REDRIVE_TEST_SERVER={path} is not a file"))
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |directory| directory.join(name)))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            "neither redis-server nor valkey-server is in PATH: run scripts/install-test-needs.sh, \
             or set REDRIVE_TEST_SERVER to the path of a server"
                .to_owned()
        })
}

/// Whether the server behind this socket serves commands; one that is still loading its files does not.
fn answers(socket: &Path) -> bool {
    let reply = || -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(READY_WITHIN))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 64];
        let length = stream.read(&mut reply)?;
        Ok(reply[..length].to_vec())
    };
    // Any other error reply, such as NOAUTH, comes from a server that is up.
    reply().is_ok_and(|reply| !reply.is_empty() && !reply.starts_with(b"-LOADING"))
}

/// Whether Linux still schedules this process; elsewhere there is no such file and the signal has to be trusted.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(") ")
                .map(|(_, rest)| !rest.starts_with(['T', 'Z']))
        })
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn launch(directory: &Path, binary: PathBuf, port: u16) -> Launch {
        Launch {
            binary,
            directory: directory.to_owned(),
            ports: Ports {
                plain: port,
                tls: None,
            },
            options: Vec::new(),
            config: None,
            debug_command: DebugCommand::Enable,
        }
    }

    #[test]
    fn a_port_that_somebody_took_is_told_from_other_failures() {
        let directory = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut launch = launch(directory.path(), server_binary().unwrap(), port);
        // An old server would stumble over the option before it comes to the port.
        launch.debug_command = DebugCommand::Unknown;

        let refused = Process::start(&launch).err();

        assert!(matches!(refused, Some(Refused::PortTaken)));
    }

    /// Redis 6.2 does not know `enable-debug-command` and calls it a fatal error in its configuration.
    #[test]
    fn an_old_server_that_stumbles_over_the_debug_option_is_recognised() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("old-server");
        let script = "#!/bin/sh\n\
            echo '*** FATAL CONFIG FILE ERROR (Redis 6.2.14) ***'\n\
            echo '>>> enable-debug-command \"yes\"'\n\
            echo 'Bad directive or wrong number of arguments'\n\
            exit 1\n";
        fs::write(&old, script).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();

        let refused = Process::start(&launch(directory.path(), old, 1)).err();

        assert!(matches!(refused, Some(Refused::DebugCommandUnknown)));
    }
}
