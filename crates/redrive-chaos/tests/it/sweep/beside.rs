//! What happens beside a process of a scenario while it runs.

use std::path::PathBuf;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redrive_testkit::{library_scripts, scripts};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::handler::{lines, starts};
use super::step::During;
use super::world::{DLQ, GROUP, LEASE, STREAM, ask};

/// When this many runs have failed, nearly all of the last fifty have.
const MANY: usize = 50;

pub(super) struct Beside {
    pub(super) during: During,
    pub(super) plain: MultiplexedConnection,
    /// What has run.
    pub(super) runs: PathBuf,
    /// How many runs had started before the process did.
    pub(super) before: usize,
    /// The file whose being there lets what waits go on.
    pub(super) go: PathBuf,
}

impl Beside {
    pub(super) async fn happens(&mut self, pid: Pid) {
        if self.during == During::Nothing {
            return;
        }
        let more = match self.during {
            During::Outage => MANY,
            _ => 1,
        };
        let id = loop {
            match starts(&lines(&self.runs)).get(self.before + more - 1) {
                Some(id) => break id.clone(),
                None => sleep(Duration::from_millis(5)).await,
            }
        };
        let plain = &mut self.plain;
        match self.during {
            During::Nothing => {}
            During::Term => {
                let _ = kill_process(pid, Signal::TERM);
            }
            During::Trim => {
                let _: u64 = ask(plain, &["XDEL", STREAM, &id]).await;
                // Until somebody has noticed; a fault may be that nobody does.
                let end = Instant::now() + LEASE * 4;
                while ask::<u64>(plain, &["XLEN", DLQ]).await == 0 && Instant::now() < end {
                    sleep(Duration::from_millis(5)).await;
                }
            }
            During::Ack => {
                let _: u64 = ask(plain, &["XACK", STREAM, GROUP, &id]).await;
            }
            During::DestroyGroup => {
                let _: u64 = ask(plain, &["XGROUP", "DESTROY", STREAM, GROUP]).await;
            }
            During::FlushScripts => {
                let () = ask(plain, &["SCRIPT", "FLUSH"]).await;
                // Until a renewal has found that out; a fault may be that none does.
                let hashes = renewals();
                let mut words = vec!["SCRIPT", "EXISTS"];
                words.extend(hashes.iter().map(String::as_str));
                let end = Instant::now() + LEASE * 4;
                while !ask::<Vec<bool>>(plain, &words).await.contains(&true) && Instant::now() < end
                {
                    sleep(Duration::from_millis(5)).await;
                }
            }
            During::NoMemory => {
                let () = ask(plain, &["CONFIG", "SET", "maxmemory", "1"]).await;
                // It is looked at once a second, whatever the lease.
                sleep(Duration::from_millis(1_500)).await;
            }
            During::Outage => sleep(LEASE * 2).await,
        }
        self.is_over().await;
        std::fs::write(&self.go, "").unwrap();
    }

    /// The server is as it was, also where the process did not live to see it.
    pub(super) async fn is_over(&mut self) {
        if self.during == During::NoMemory {
            let words = ["CONFIG", "SET", "maxmemory", "0"];
            let () = ask(&mut self.plain, &words).await;
        }
    }
}

/// The hashes that the script of renewals may have.
fn renewals() -> Vec<String> {
    let all = scripts(library_scripts()).unwrap().into_iter();
    all.filter(|(name, _)| name == "renew")
        .map(|(_, text)| redis::Script::new(&text).get_hash().to_owned())
        .collect()
}
