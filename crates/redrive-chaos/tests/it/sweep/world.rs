//! What one case happens in: a server, a folder, processes that reach the server through a proxy each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redrive_testkit::{Armed, Server, Target};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::beside::Beside;
use super::case::{Case, Place};
use super::check::Fate;
use super::entrance::Entrance;
use super::handler::{HANDLER, lines, starts};
use super::step::{During, Ended, Name, Program, Repeat, Step};

/// How long a worker of the sweep may be silent.
pub(super) const LEASE: Duration = Duration::from_millis(400);
/// How long one process may take, whatever is done to it: reconnecting, a lease or two, its work.
const IN_TIME: Duration = Duration::from_secs(25);
/// How often a process is started again that was killed, or said that it failed.
const STARTS: usize = 4;
/// The same where a message ends it a few times itself.
const STARTS_WITH_CRASHES: usize = 10;
pub(super) const STREAM: &str = "orders";
pub(super) const DLQ: &str = "orders:dlq";
pub(super) const GROUP: &str = "g";

/// What was seen of a step.
#[derive(Default)]
struct Record {
    seen: BTreeMap<Place, u64>,
    struck: Vec<usize>,
    wrong: Vec<String>,
}

/// One case under way.
pub(super) struct World<'a> {
    pub(super) server: &'a Server,
    pub(super) plain: MultiplexedConnection,
    folder: TempDir,
    pub(super) case: &'a Case,
    steps: AtomicUsize,
    pub(super) seen: BTreeMap<Place, u64>,
    pub(super) struck: Vec<usize>,
    pub(super) wrong: Vec<String>,
    pub(super) fates: BTreeMap<String, Fate>,
    pub(super) extra_runs: usize,
    pub(super) deaths: usize,
}

impl<'a> World<'a> {
    /// A server as if it were new, but for the scripts, which a server in use knows.
    pub(super) async fn new(server: &'a Server, case: &'a Case) -> World<'a> {
        let mut world = Self {
            plain: server.connect().await,
            server,
            folder: tempfile::Builder::new()
                .prefix("redrive-sweep-")
                .tempdir_in("/tmp")
                .unwrap(),
            case,
            steps: AtomicUsize::new(0),
            seen: BTreeMap::new(),
            struck: Vec::new(),
            wrong: Vec::new(),
            fates: BTreeMap::new(),
            extra_runs: 0,
            deaths: 0,
        };
        let () = world.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
        let () = world.ask(&["FLUSHALL"]).await;
        let () = world.ask(&["SCRIPT", "FLUSH"]).await;
        world
    }

    /// Lets the server know the library's scripts, as one does that is in use.
    pub(super) async fn load_scripts(&mut self) {
        for text in super::scripts::texts() {
            let _: String = self.ask(&["SCRIPT", "LOAD", text]).await;
        }
    }

    /// Asks the server, as anybody could.
    pub(super) async fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        ask(&mut self.plain, words).await
    }

    /// Adds a message whose payload says how it is handled, and what is to become of it.
    pub(super) async fn add(&mut self, payload: &str, fate: Fate) -> String {
        let words = ["XADD", STREAM, "*", "data", payload];
        self.add_entry(&words, fate).await
    }

    /// The same of a message with a key.
    pub(super) async fn add_of(&mut self, key: &str, payload: &str, fate: Fate) -> String {
        let words = ["XADD", STREAM, "*", "key", key, "data", payload];
        self.add_entry(&words, fate).await
    }

    async fn add_entry(&mut self, words: &[&str], fate: Fate) -> String {
        let id: String = self.ask(words).await;
        self.fates.insert(id.clone(), fate);
        id
    }

    pub(super) fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    /// What has been written down of runs, a line each.
    pub(super) fn run_lines(&self) -> Vec<String> {
        lines(&self.runs())
    }

    /// Lets what waits go on.
    pub(super) fn let_go(&self) {
        std::fs::write(self.folder.path().join("go"), "").unwrap();
    }

    /// What happens beside a process of this case.
    fn neighbour(&self, during: During) -> Beside {
        Beside {
            during,
            plain: self.plain.clone(),
            runs: self.runs(),
            before: self.starts().len(),
            go: self.folder.path().join("go"),
        }
    }

    /// `redrive run` with these options and the handler.
    pub(super) fn worker(&self, options: &[&str]) -> Step {
        let mut args = vec!["run", STREAM, "-g", GROUP, "--lease", "400ms"];
        args.extend(["--foreign-lease", "500ms", "--block", "100ms"]);
        args.extend(["--field", "data", "-o", "json"]);
        if !options.contains(&"--backoff") {
            args.extend(["--backoff", "20ms"]);
        }
        args.extend(options);
        let (runs, go) = (self.runs(), self.folder.path().join("go"));
        let paths = [runs.to_str().unwrap(), go.to_str().unwrap()];
        args.extend(["--", "sh", "-c", HANDLER]);
        args.extend(paths);
        Step::redrive(&args)
    }

    /// The worker of the library.
    pub(super) fn library_worker(&self, how_many: &str) -> Step {
        let runs = self.runs();
        let lease = LEASE.as_millis().to_string();
        let args = [STREAM, GROUP, runs.to_str().unwrap(), &lease, how_many];
        Step {
            program: Program::SweepWorker,
            ..Step::redrive(&args)
        }
    }

    /// Runs a process to its end, through a proxy that does what the case says; again if it was killed, or failed because of
    /// it.
    pub(super) async fn step(&mut self, step: Step) -> Ended {
        let (ended, record) = self.run(&step).await;
        self.keep(record);
        ended
    }

    /// The same for two at once.
    pub(super) async fn both(&mut self, one: Step, other: Step) {
        let (one, other) = tokio::join!(self.run(&one), self.run(&other));
        self.keep(one.1);
        self.keep(other.1);
    }

    /// The same for two under one name: the second one comes when the first one is at work, which goes on when one of them
    /// has ended.
    pub(super) async fn namesakes(&mut self, first: Step, second: Step) -> (Ended, Ended) {
        let here = &*self;
        let one = async {
            let ran = here.run(&first).await;
            here.let_go();
            ran
        };
        let other = async {
            let end = Instant::now() + IN_TIME;
            while here.starts().is_empty() && Instant::now() < end {
                sleep(Duration::from_millis(5)).await;
            }
            let ran = here.run(&second).await;
            here.let_go();
            ran
        };
        let (one, other) = tokio::join!(one, other);
        self.keep(one.1);
        self.keep(other.1);
        (one.0, other.0)
    }

    fn keep(&mut self, record: Record) {
        self.seen.extend(record.seen);
        self.struck.extend(record.struck);
        self.wrong.extend(record.wrong);
    }

    async fn run(&self, step: &Step) -> (Ended, Record) {
        let at = self.steps.fetch_add(1, Ordering::Relaxed);
        let mut record = Record::default();
        let mut again = 0;
        loop {
            let struck = record.struck.len();
            let ended = self.once(step, at, again, &mut record).await;
            again += 1;
            let is_hurt = record.struck.len() > struck;
            if ended.stderr.contains("panicked") {
                record.wrong.push(format!("it panicked: {}", ended.stderr));
            }
            match ended.code {
                Some(0) => return (ended, record),
                // What was to be done had been done before its answer was lost.
                Some(3) if again > 1 => return (ended, record),
                None if is_hurt || step.repeat == Repeat::AfterCrashes => {}
                Some(1) if step.name == Name::MayBeTaken && ended.was_refused() => {
                    return (ended, record);
                }
                Some(1 | 4) if is_hurt && ended.says_why() => {}
                code => {
                    let what = format!("step {at} ended with {code:?}: {}", ended.stderr.trim());
                    record.wrong.push(what);
                    return (ended, record);
                }
            }
            let starts = match step.repeat {
                Repeat::No => 1,
                Repeat::Yes => STARTS,
                Repeat::AfterCrashes => STARTS_WITH_CRASHES,
            };
            if again == starts {
                let is_killed = ended.code.is_none() && step.repeat != Repeat::No;
                if is_killed && !is_hurt {
                    let what = format!("step {at} ended itself {starts} times");
                    record.wrong.push(what);
                }
                return (ended, record);
            }
        }
    }

    async fn once(&self, step: &Step, at: usize, again: usize, record: &mut Record) -> Ended {
        let entrance = Entrance::of(self.server, step.door).await;
        let proxy = &entrance.proxy;
        let here = |place: &Place| place.step == at && place.again == again;
        let armed: Vec<(usize, bool, Armed)> = (self.case.strikes.iter().enumerate())
            .filter(|(_, strike)| here(&strike.place))
            .map(|(index, strike)| {
                let (moment, fault) = strike.harm.fault(LEASE);
                let target = Target::nth(strike.place.label.clone(), strike.nth);
                let armed = proxy.arm(target, moment, fault);
                (index, strike.harm.is_kill(), armed)
            })
            .collect();
        let mut neighbour = self.neighbour(step.during);
        let mut command = self.command(step, &entrance.url);
        let child = command.spawn().unwrap();
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.unwrap();
        let mut ending = Box::pin(child.wait_with_output());
        let killing = async {
            let kill = armed.iter().find(|(_, is_kill, _)| *is_kill);
            match kill {
                None => std::future::pending().await,
                Some((_, _, armed)) => {
                    armed.struck().await;
                    // Gone by itself: then there is nobody left to be killed.
                    let _ = kill_process(pid, Signal::KILL);
                    armed.cut();
                    // What it had in hand would wait for ever for what happens beside it.
                    if step.during != During::Nothing {
                        self.let_go();
                    }
                }
            }
        };
        let beside = async {
            tokio::join!(killing, neighbour.happens(pid));
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = timeout(IN_TIME, &mut ending) => ended.ok(),
            () = beside => None,
        };
        let ended = match ended {
            Some(ended) => ended.unwrap(),
            None => {
                record
                    .wrong
                    .push(format!("step {at} did not end in {IN_TIME:?}"));
                let _ = kill_process(pid, Signal::KILL);
                match timeout(IN_TIME, ending).await {
                    Ok(ended) => ended.unwrap(),
                    Err(_) => {
                        let what = format!("what step {at} started outlives it");
                        record.wrong.push(what);
                        return Ended::default();
                    }
                }
            }
        };
        self.neighbour(step.during).is_over().await;
        let struck = armed.iter().filter(|(_, _, armed)| armed.has_struck());
        record.struck.extend(struck.map(|(index, _, _)| *index));
        for (label, count) in proxy.seen() {
            let step = at;
            record.seen.insert(Place { step, again, label }, count);
        }
        if proxy.misunderstood() > 0 {
            record.wrong.push("the proxy lost track".to_owned());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended {
            code: ended.status.code(),
            stdout: text(&ended.stdout),
            stderr: text(&ended.stderr),
        }
    }

    fn command(&self, step: &Step, url: &str) -> Command {
        let mut command = match step.program {
            Program::Redrive => {
                let mut command = Command::new(super::binary::redrive());
                command.args(["--url", url]);
                command
            }
            Program::SweepWorker => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_sweep-worker"));
                command.arg(url);
                command
            }
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(&step.args).env_clear().env("PATH", path);
        command
            .stdin(match &step.stdin {
                Some(file) => Stdio::from(std::fs::File::open(file).unwrap()),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// The ids of the runs that have started, in order.
    pub(super) fn starts(&self) -> Vec<String> {
        starts(&self.run_lines())
    }

    /// Runs a process past the proxy, to finish what is left.
    pub(super) async fn finish(&mut self, step: Step) {
        let mut command = self.command(&step, &self.server.url());
        let output = timeout(IN_TIME, command.output()).await;
        match output {
            Ok(output) => {
                let output = output.unwrap();
                if !output.status.success() {
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    self.wrong.push(format!("what finishes failed: {said}"));
                }
            }
            Err(_) => {
                let what = format!("what is left is stuck: not finished in {IN_TIME:?}");
                self.wrong.push(what);
            }
        }
    }

    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path: &Path = self.folder.path();
        let path = path.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

pub(super) async fn ask<T: redis::FromRedisValue>(
    plain: &mut MultiplexedConnection,
    words: &[&str],
) -> T {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command.query_async(plain).await.unwrap()
}
