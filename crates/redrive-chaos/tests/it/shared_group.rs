//! A group shared with plain workers, the loop that everybody writes: nothing lost, nothing doubled beyond what kills
//! explain.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redrive_chaos::account::Hurt;
use redrive_chaos::deed::Deed;
use redrive_chaos::effects::Effects;
use tokio::task::JoinHandle;

use crate::SOON;
use crate::arena::{Arena, GROUP, STREAM, judge};
use crate::crew::{Crew, Wound, redrive_run};
use crate::size::size;
use crate::target::Target;

/// After so long a plain worker takes what is pending on another one.
const STALE_MS: u64 = 2_000;

type Rows = Vec<(String, Vec<Vec<u8>>)>;

/// XREADGROUP, the work, one XACK each; now and then XPENDING and XCLAIM. Knows nothing of redrive.
struct Plain {
    redis: MultiplexedConnection,
    effects: Effects,
    consumer: String,
}

impl Plain {
    async fn start(arena: &Arena, consumer: String) -> (String, JoinHandle<()>) {
        let mut plain = Self {
            redis: arena.server.connect().await,
            effects: arena.effects.clone(),
            consumer: consumer.clone(),
        };
        let working = tokio::spawn(async move {
            loop {
                plain.round().await.unwrap();
            }
        });
        (consumer, working)
    }

    async fn round(&mut self) -> redis::RedisResult<()> {
        let stale: Vec<(String, String, u64, u64)> = redis::cmd("XPENDING")
            .arg(&[STREAM, GROUP, "IDLE"])
            .arg(STALE_MS)
            .arg(&["-", "+", "10"])
            .query_async(&mut self.redis)
            .await?;
        if !stale.is_empty() {
            let mut claim = redis::cmd("XCLAIM");
            claim.arg(&[STREAM, GROUP, &self.consumer]).arg(STALE_MS);
            for (id, ..) in &stale {
                claim.arg(id);
            }
            let claimed: Rows = claim.query_async(&mut self.redis).await?;
            self.work(claimed).await?;
        }
        let read: Option<Vec<(String, Rows)>> = redis::cmd("XREADGROUP")
            .arg(&[
                "GROUP",
                GROUP,
                &self.consumer,
                "COUNT",
                "10",
                "BLOCK",
                "100",
            ])
            .arg(&["STREAMS", STREAM, ">"])
            .query_async(&mut self.redis)
            .await?;
        for (_, rows) in read.unwrap_or_default() {
            self.work(rows).await?;
        }
        Ok(())
    }

    async fn work(&mut self, rows: Rows) -> redis::RedisResult<()> {
        for (id, flat) in rows {
            let number = std::str::from_utf8(&flat[1]).unwrap().parse().unwrap();
            self.effects.started(number, &self.consumer).await?;
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.effects.succeeded(number).await?;
            let mut ack = redis::cmd("XACK");
            ack.arg(&[STREAM, GROUP, &id])
                .exec_async(&mut self.redis)
                .await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn a_group_shared_with_plain_workers_loses_nothing_and_doubles_only_what_kills_explain() {
    let (kills, each) = (size(10, 100), 300);
    let mut arena = Arena::start().await;
    let target = Target::start(&arena.effects, Duration::from_millis(2)).await;
    let url = arena.server.url();
    let options = "--lease 500ms --foreign-lease 3s --concurrency 4 --batch 16 --block 200ms";
    let mut crew = Crew::start(2, move |consumer| {
        redrive_run(&url, &target, consumer, options)
    });
    crew.joined(&arena).await;
    let mut plain = vec![
        Plain::start(&arena, "plain-0".to_owned()).await,
        Plain::start(&arena, "plain-1".to_owned()).await,
    ];
    let mut redis = arena.redis.clone();
    for kill in 0..kills {
        let numbers = kill * each..(kill + 1) * each;
        arena.load.add(&mut redis, numbers, |_| Deed::Succeed).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..1_000))).await;
        let at = fastrand::usize(..2);
        crew.kill(at, &arena).await;
        let fresh = Plain::start(&arena, format!("plain-{}", kill + 2)).await;
        let (consumer, working) = std::mem::replace(&mut plain[at], fresh);
        // An await of it is cut off: as dead as a process, for whoever looks from outside.
        working.abort();
        assert!(working.await.unwrap_err().is_cancelled());
        crew.wounds.push(Wound {
            held: arena.held_by(&consumer).await,
            consumer,
            hurt: Hurt::Killed,
            unnamed: 0,
        });
    }
    arena.settled(SOON).await;
    for (_, working) in plain {
        assert!(!working.is_finished(), "a plain worker failed");
        working.abort();
    }
    crew.stop(&arena).await;
    let verdict = judge(
        "shared group",
        &arena.account(std::mem::take(&mut crew.wounds)).await,
    );
    assert_eq!((verdict.handled, verdict.dead), (kills * each, 0));
}
