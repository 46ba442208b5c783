//! The server killed, frozen, emptied, without its group, its scripts, its memory: redrive heals by itself, loses
//! nothing that Redis kept, and says little.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redrive::EntryId;
use redrive_chaos::account::{Account, Number};
use redrive_chaos::deed::Deed;
use redrive_testkit::{Server, eventually};
use tokio::sync::oneshot;

use crate::SOON;
use crate::arena::{Arena, Pairs, STREAM, judge};
use crate::crew::{Crew, redrive_run};
use crate::size::size;
use crate::target::{Answer, Target};

const WORKERS: usize = 3;
const A_SECOND: u64 = 300;
const LEASE: Duration = Duration::from_secs(2);
/// What one worker may say about one event: two hands.
const LINES: usize = 10;
/// From the end of an outage to the next message handled.
const HEALS: Duration = Duration::from_secs(5);

/// One in ten: what is done about failures has to go through as well.
fn fails_once(number: Number) -> bool {
    number % 10 == 1
}

fn number_of(fields: &Pairs) -> Option<Number> {
    let (_, number) = fields.iter().find(|(name, _)| name == b"n")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// What was said of what happened, beside the failures that handlers asked for.
pub(crate) fn of_the_event(said: Vec<String>) -> Vec<String> {
    let of_the_event = |line: &String| !line.contains("failed, will be run again");
    said.into_iter().filter(of_the_event).collect()
}

/// Three of the real binary's workers, under load.
struct Stage {
    arena: Arena,
    crew: Crew,
    /// What each had said when the event began.
    said: Vec<usize>,
}

impl Stage {
    async fn set(server: Server) -> Self {
        let arena = Arena::on(server).await;
        let takes = Duration::from_millis(2);
        let target = Target::answering(&arena.effects, takes, |asked| {
            match fails_once(asked.number) && asked.attempt == 1 {
                true => Answer::Failed,
                false => Answer::Done,
            }
        })
        .await;
        let url = arena.server.url();
        let options = "--lease 2s --concurrency 8 --batch 32 --block 1s --backoff none";
        let crew = Crew::start(WORKERS, move |consumer| {
            redrive_run(&url, &target, consumer, options)
        });
        crew.joined(&arena).await;
        Self {
            arena,
            crew,
            said: vec![0; WORKERS],
        }
    }

    /// Pours messages in, while all of this happens: a moment of work, the event, and until messages that were sent
    /// after it are handled.
    async fn through(&mut self, event: impl AsyncFnOnce(&mut Arena, &mut Crew)) -> Duration {
        let mut load = std::mem::take(&mut self.arena.load);
        let from = load.attempted.len() as u64;
        let (stop, stopped) = oneshot::channel::<()>();
        let url = self.arena.server.url();
        let pouring = tokio::spawn(async move {
            let until = async {
                let _ = stopped.await;
            };
            load.pour(&url, from, A_SECOND, |_| Deed::Succeed, until)
                .await;
            load
        });
        self.more_handled(100).await;
        self.said = self
            .crew
            .workers
            .iter()
            .map(|worker| of_the_event(worker.said()).len())
            .collect();
        event(&mut self.arena, &mut self.crew).await;
        let over = Instant::now();
        self.more_handled(100).await;
        let healed = over.elapsed();
        let _ = stop.send(());
        self.arena.load.merge(pouring.await.unwrap());
        healed
    }

    async fn more_handled(&self, more: u64) {
        let before = self.arena.effects.handled().await.unwrap();
        eventually(SOON, "more messages handled", async || {
            let handled = self.arena.effects.handled().await.unwrap();
            if handled >= before + more {
                Ok(())
            } else {
                Err(handled)
            }
        })
        .await;
    }

    /// Everything is done, nobody has ended, nobody has said much; answers the account.
    async fn ended(mut self, what: &str, healed: Duration) -> Account {
        self.arena.settled(SOON).await;
        let mut most = 0;
        for (at, worker) in self.crew.workers.iter_mut().enumerate() {
            assert_eq!(worker.fallen(), None, "{:#?}", worker.said());
            let lines = of_the_event(worker.said()).split_off(self.said[at]);
            assert!(lines.len() <= LINES, "{}: {lines:#?}", lines.len());
            most = most.max(lines.len());
        }
        self.crew.stop(&self.arena).await;
        println!("{what}: healed after {healed:?}, {most} lines at most by one worker");
        assert!(healed <= HEALS, "{what}: healed after {healed:?}");
        let wounds = std::mem::take(&mut self.crew.wounds);
        let mut account = self.arena.account(wounds).await;
        let failing = account
            .attempted
            .iter()
            .filter(|number| fails_once(**number));
        account.planned = failing.map(|number| (*number, 2)).collect();
        account
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn a_server_killed_under_load_and_restarted_with_its_append_only_file() {
    let gone = size(Duration::from_secs(8), Duration::from_secs(30));
    let mut stage = Stage::set(Server::builder().appendonly().start().await).await;
    let healed = stage
        .through(async |arena, crew| {
            crew.stalled_together(arena).await;
            arena.server.kill9().await;
            tokio::time::sleep(gone).await;
            arena.server.restart().await;
            arena.reconnect().await;
            crew.stalled_together(arena).await;
        })
        .await;
    let verdict = judge("server killed", &stage.ended("server killed", healed).await);
    assert_eq!(verdict.dead, 0);
    assert!(
        verdict.attempted > verdict.acknowledged,
        "no send failed: it was not gone"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn a_server_frozen_for_longer_than_a_lease() {
    let mut stage = Stage::set(Server::start().await).await;
    let healed = stage
        .through(async |arena, crew| {
            crew.stalled_together(arena).await;
            arena.server.freeze();
            tokio::time::sleep(size(3, 15) * LEASE).await;
            arena.server.thaw();
            crew.stalled_together(arena).await;
        })
        .await;
    let verdict = judge("server frozen", &stage.ended("server frozen", healed).await);
    assert_eq!(verdict.dead, 0);
}

/// What was in Redis is gone with it; what is sent afterwards is handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn flushall_under_load() {
    let mut stage = Stage::set(Server::start().await).await;
    let mut last = None;
    let healed = stage
        .through(async |arena, crew| {
            crew.stalled_together(arena).await;
            // In one step, so that it is known which messages went.
            let mut flush = redis::pipe();
            flush.atomic().cmd("XINFO").arg(&["STREAM", STREAM]);
            flush.cmd("FLUSHALL").ignore();
            type Answer = (BTreeMap<String, redis::Value>,);
            let (stream,): Answer = flush.query_async(&mut arena.redis).await.unwrap();
            let id: String = redis::from_redis_value(stream["last-generated-id"].clone()).unwrap();
            last = Some(id.parse::<EntryId>().unwrap());
        })
        .await;
    let last = last.unwrap();
    let numbers = stage.arena.load.acknowledged.clone();
    let mut account = stage.ended("FLUSHALL", healed).await;
    for (id, number) in numbers {
        let handled = account
            .runs
            .get(&number)
            .is_some_and(|runs| runs.succeeded > 0);
        if id.parse::<EntryId>().unwrap() <= last && !handled {
            account.acknowledged.remove(&number);
        }
    }
    judge("FLUSHALL", &account);
}

/// Created again where it is safe: repeats rather than losses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn a_group_destroyed_under_load() {
    let mut stage = Stage::set(Server::start().await).await;
    let healed = stage
        .through(async |arena, crew| {
            crew.stalled_together(arena).await;
            let _: () = arena.ask(&format!("XGROUP DESTROY {STREAM} billing")).await;
            // What is after the low-water mark comes again, at most once for each message that was there; and what fails
            // at first does so again, for its failures went with the group.
            let entries = arena.entries(STREAM).await;
            let fails = |fields: &Pairs| number_of(fields).is_some_and(fails_once);
            let failing = entries.iter().filter(|(_, fields)| fails(fields)).count();
            crew.wounds.push(crate::crew::Wound {
                consumer: "all".to_owned(),
                hurt: redrive_chaos::account::Hurt::Stalled,
                held: entries.into_iter().map(|(id, _)| id).collect(),
                unnamed: failing as u64,
            });
        })
        .await;
    let verdict = judge(
        "group destroyed",
        &stage.ended("group destroyed", healed).await,
    );
    assert_eq!(verdict.dead, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn script_flush_every_ten_milliseconds() {
    let mut stage = Stage::set(Server::start().await).await;
    let healed = stage
        .through(async |arena, _| {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            let end = Instant::now() + size(Duration::from_secs(5), Duration::from_secs(60));
            while Instant::now() < end {
                tick.tick().await;
                let _: () = arena.ask("SCRIPT FLUSH").await;
            }
        })
        .await;
    let verdict = judge("SCRIPT FLUSH", &stage.ended("SCRIPT FLUSH", healed).await);
    assert_eq!(verdict.dead, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn maxmemory_1_for_many_leases() {
    let mut stage = Stage::set(Server::start().await).await;
    let healed = stage
        .through(async |arena, _| {
            // Nothing can be sent meanwhile: this is what there is to do.
            let mut redis = arena.redis.clone();
            let backlog = 1_000_000..1_000_500;
            arena.load.add(&mut redis, backlog, |_| Deed::Succeed).await;
            let _: () = arena.ask("CONFIG SET maxmemory 1").await;
            tokio::time::sleep(size(3, 15) * LEASE).await;
            let _: () = arena.ask("CONFIG SET maxmemory 0").await;
        })
        .await;
    let verdict = judge("maxmemory 1", &stage.ended("maxmemory 1", healed).await);
    assert_eq!(verdict.dead, 0);
    assert!(
        verdict.attempted > verdict.acknowledged,
        "no send failed: it had memory"
    );
}
