//! Workers in processes of their own, hurt in every way, and replaced when they are gone.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive_chaos::account::Hurt;
use redrive_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::SOON;
use crate::arena::{Arena, GROUP, STREAM};
use crate::program;
use crate::target::Target;

/// What a worker held when it was hurt: entry ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wound {
    pub(crate) consumer: String,
    pub(crate) hurt: Hurt,
    pub(crate) held: Vec<String>,
    /// Leases that it said it had lost, without saying whose.
    pub(crate) unnamed: u64,
}

/// One process, killed when dropped.
pub(crate) struct Worker {
    pub(crate) consumer: String,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    reading: JoinHandle<()>,
}

impl Worker {
    pub(crate) fn start(mut command: Command, consumer: String) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let hearing = Arc::clone(&said);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                hearing.lock().unwrap().push(line);
            }
        });
        Self {
            consumer,
            child,
            said,
            reading,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// What it has said on stderr so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Whether it has ended, and how.
    pub(crate) fn fallen(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Its end, and all that it said.
    pub(crate) async fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = tokio::time::timeout(SOON, self.child.wait()).await;
        let Ok(status) = status else {
            panic!("{} does not end; it said {:#?}", self.consumer, self.said())
        };
        self.reading.await.unwrap();
        let said = self.said.lock().unwrap().clone();
        (status.unwrap(), said)
    }

    /// SIGTERM; it ends as one that was asked to.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.signal(Signal::TERM);
        let consumer = self.consumer.clone();
        let (status, said) = self.ended().await;
        assert!(
            status.success(),
            "{consumer} ended with {status}: {said:#?}"
        );
        said
    }

    /// SIGKILL, whatever it is doing.
    pub(crate) async fn kill_now(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Kills it, and tells what it held: looked at while it could not move. And which leases it had lost before.
    pub(crate) async fn kill(mut self, arena: &Arena) -> Vec<Wound> {
        if self.fallen().is_none() {
            self.signal(Signal::STOP);
        }
        let held = arena.held_by(&self.consumer).await;
        self.child.kill().await.unwrap();
        let consumer = self.consumer.clone();
        let (_, said) = self.ended().await;
        let mut wounds = Vec::from_iter(lost_leases(&consumer, &said));
        wounds.push(Wound {
            consumer,
            hurt: Hurt::Killed,
            held,
            unnamed: 0,
        });
        wounds
    }
}

/// A few workers, of which there are always as many.
pub(crate) struct Crew {
    command: Box<dyn Fn(&str) -> Command + Send>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) wounds: Vec<Wound>,
    started: u32,
}

impl Crew {
    /// `command` starts the worker of a consumer.
    pub(crate) fn start(many: usize, command: impl Fn(&str) -> Command + Send + 'static) -> Self {
        let mut crew = Self {
            command: Box::new(command),
            workers: Vec::new(),
            wounds: Vec::new(),
            started: 0,
        };
        for _ in 0..many {
            let worker = crew.another();
            crew.workers.push(worker);
        }
        crew
    }

    /// A worker under a name that was never there before.
    pub(crate) fn another(&mut self) -> Worker {
        self.started += 1;
        let consumer = format!("worker-{}", self.started);
        Worker::start((self.command)(&consumer), consumer)
    }

    /// Puts a new worker in the place of this one.
    pub(crate) fn replace(&mut self, at: usize) -> Worker {
        let fresh = self.another();
        std::mem::replace(&mut self.workers[at], fresh)
    }

    /// SIGKILL, with a new worker in its place.
    pub(crate) async fn kill(&mut self, at: usize, arena: &Arena) {
        let wounds = self.replace(at).kill(arena).await;
        self.wounds.extend(wounds);
    }

    /// SIGSTOP, and SIGCONT after a while.
    pub(crate) async fn stall(&mut self, at: usize, time: Duration, arena: &Arena) {
        let worker = &self.workers[at];
        worker.signal(Signal::STOP);
        let held = arena.held_by(&worker.consumer).await;
        tokio::time::sleep(time).await;
        worker.signal(Signal::CONT);
        self.wounds.push(Wound {
            consumer: worker.consumer.clone(),
            hurt: Hurt::Stalled,
            held,
            unnamed: 0,
        });
    }

    /// Notes what everybody holds: all of them are about to lose their broker.
    pub(crate) async fn stalled_together(&mut self, arena: &Arena) {
        for worker in &self.workers {
            self.wounds.push(Wound {
                consumer: worker.consumer.clone(),
                hurt: Hurt::Stalled,
                held: arena.held_by(&worker.consumer).await,
                unnamed: 0,
            });
        }
    }

    /// Replaces whoever has died by itself; what it held is noted.
    pub(crate) async fn restart_the_fallen(&mut self, arena: &Arena) {
        for at in 0..self.workers.len() {
            if self.workers[at].fallen().is_some() {
                let fallen = self.replace(at);
                self.wounds.extend(fallen.kill(arena).await);
            }
        }
    }

    /// Waits until all have joined the group.
    pub(crate) async fn joined(&self, arena: &Arena) {
        let names: Vec<&String> = self.workers.iter().map(|worker| &worker.consumer).collect();
        let key = format!("HKEYS {{{STREAM}}}:redrive:{GROUP}:consumers");
        eventually(SOON, "all workers in the group", async || {
            let known: Vec<String> = arena.ask(&key).await;
            match names.iter().all(|name| known.contains(name)) {
                true => Ok(()),
                false => Err(known),
            }
        })
        .await;
    }

    /// Asks all to stop, and answers what each of those has said.
    pub(crate) async fn stop(&mut self, arena: &Arena) -> Vec<Vec<String>> {
        // Before it has begun to listen, a signal ends a process as it ends any other.
        self.joined(arena).await;
        let mut said = Vec::new();
        for worker in &self.workers {
            worker.signal(Signal::TERM);
        }
        for worker in self.workers.drain(..) {
            let consumer = worker.consumer.clone();
            let lines = worker.stop().await;
            self.wounds.extend(lost_leases(&consumer, &lines));
            said.push(lines);
        }
        said
    }
}

/// A worker that loses leases says how many: on a machine that is too busy that happens to one that nobody hurt.
fn lost_leases(consumer: &str, said: &[String]) -> Option<Wound> {
    let told = said.iter().filter(|line| line.contains("leases lost"));
    let unnamed = told.map(|line| {
        let number = line.split("leases=").nth(1);
        let number = number.and_then(|rest| rest.split(' ').next());
        number.unwrap().parse::<u64>().unwrap()
    });
    let unnamed = unnamed.sum();
    (unnamed > 0).then(|| Wound {
        consumer: consumer.to_owned(),
        hurt: Hurt::Stalled,
        held: Vec::new(),
        unnamed,
    })
}

/// A command with nothing of the environment that would change what it does.
fn clean(program: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    for name in [
        "REDRIVE_URL",
        "REDRIVE_CONFIG",
        "REDRIVE_OUTPUT",
        "REDRIVE_LOG",
    ] {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// `redrive` with these arguments, on this server.
pub(crate) fn redrive(url: &str, args: &[&str]) -> Command {
    let mut command = clean(program::redrive());
    command.args(["--url", url]).args(args);
    command
}

/// `redrive run` under this name, whose handler is the target.
pub(crate) fn redrive_run(url: &str, target: &Target, consumer: &str, options: &str) -> Command {
    let mut command = redrive(url, &["run", STREAM, "-g", GROUP, "--consumer", consumer]);
    command
        .args(["--field", "n", "--http", &target.url(consumer)])
        .args(options.split_whitespace());
    command
}

/// The library in a process of its own, with these options.
pub(crate) fn library(arena: &Arena, options: &str) -> impl Fn(&str) -> Command + Send + use<> {
    library_on(&arena.server.url(), arena, options)
}

/// The same, on the server of another URL.
pub(crate) fn library_on(
    url: &str,
    arena: &Arena,
    options: &str,
) -> impl Fn(&str) -> Command + Send + use<> {
    let (url, effects) = (url.to_owned(), arena.effects_url());
    let options = options.to_owned();
    move |consumer| {
        let mut command = clean(program::worker());
        command
            .args(["work", "--url", &url, "--effects", &effects])
            .args(["--stream", STREAM, "--group", GROUP, "--consumer", consumer])
            .args(options.split_whitespace());
        command
    }
}
