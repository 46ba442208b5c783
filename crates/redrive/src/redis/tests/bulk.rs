//! What bulk operations ask of the server: commands, counted, for time tells of the machine.

use std::collections::BTreeMap;

use redis::{Value, cmd, pipe};
use redrive_testkit::{Fault, Moment, Proxy, Server, Target};

use crate::backend::{Backend, Entry, IdRange, LIGHT_WEIGHT, PAGE_WEIGHT};
use crate::members::Deletion;
use crate::names::Source;
use crate::names::{EntryId, GroupName, StreamKey};
use crate::redis::{Redis, Tls, scripts};
use crate::selection::Order;
use crate::{Broker, ReplayOptions, Selection};

type Plain = redis::aio::MultiplexedConnection;

/// How often each command was run since the last look, those of scripts among them.
async fn ran(plain: &mut Plain) -> BTreeMap<String, u64> {
    let told: String = cmd("INFO")
        .arg("commandstats")
        .query_async(plain)
        .await
        .unwrap();
    let () = cmd("CONFIG")
        .arg("RESETSTAT")
        .query_async(plain)
        .await
        .unwrap();
    let one = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    told.lines().filter_map(one).collect()
}

async fn buried(plain: &mut Plain, many: usize) {
    let mut load = pipe();
    for _ in 0..many {
        load.cmd("XADD").arg("orders:dlq").arg("*").arg(&[
            "data",
            "1",
            "redrive-v",
            "1",
            "redrive-fields",
            "1",
            "redrive-stream",
            "orders",
            "redrive-reason",
            "rejected",
        ]);
    }
    let _: Vec<Value> = load.query_async(plain).await.unwrap();
}

/// It was ten commands a message: each was read, looked for in three hashes, looked for in the queue,
/// added, noted, made to expire, removed and counted by itself.
#[tokio::test]
async fn a_replay_is_two_commands_a_message_and_some_for_a_hundred() {
    let server = Server::start().await;
    let mut plain = server.connect().await;
    let broker = Broker::connect(&server.url()).await.unwrap();
    let queue = broker.dead_letters(StreamKey::new("orders:dlq").unwrap());
    // There is the stream, or each is looked for before it is made.
    let () = cmd("XADD")
        .arg("orders")
        .arg("*")
        .arg("a")
        .arg("1")
        .query_async(&mut plain)
        .await
        .unwrap();
    buried(&mut plain, 1_000).await;
    ran(&mut plain).await;
    let options = ReplayOptions::default();
    let report = queue
        .replay_many(&Selection::all(), &options)
        .await
        .unwrap();
    assert_eq!(report.replayed, 1_000);
    let ran = ran(&mut plain).await;
    let of = |name: &str| ran.get(name).copied().unwrap_or_default();
    // And two for the audit.
    assert_eq!((of("xadd"), of("xdel")), (1_002, 1_000), "{ran:?}");
    assert_eq!(
        (of("hmget"), of("hset"), of("expireat"), of("hincrby")),
        (30, 10, 10, 10),
        "{ran:?}"
    );
    // Only the first page is weighed entry by entry.
    assert!(of("xrange") < 130, "{ran:?}");
    let length: u64 = cmd("XLEN")
        .arg("orders")
        .query_async(&mut plain)
        .await
        .unwrap();
    assert_eq!(length, 1_001);
}

/// The bug: five calls put back what one step takes, and where the answer to one of them was lost all five were
/// asked again, six times at most. So where every second answer was lost a replay came to no end.
#[tokio::test]
async fn a_lost_answer_costs_a_replay_one_call_and_not_the_step() {
    let server = Server::start().await;
    let mut plain = server.connect().await;
    let proxy = Proxy::in_front_of(&server);
    proxy.name_script(scripts::REPLAY.text(), "replay");
    let broker = Broker::connect(proxy.url()).await.unwrap();
    let queue = broker.dead_letters(StreamKey::new("orders:dlq").unwrap());
    // The server knows the script.
    buried(&mut plain, 1).await;
    let all = Selection::all();
    let options = ReplayOptions::default();
    queue.replay_many(&all, &options).await.unwrap();
    buried(&mut plain, 1_200).await;
    let second = |nth: u64| {
        let target = Target::nth("EVALSHA replay", 2 * nth);
        proxy.arm(target, Moment::Executed, Fault::Reset)
    };
    let lost: Vec<_> = (1..=20).map(second).collect();
    let report = queue.replay_many(&all, &options).await.unwrap();
    let struck = lost.iter().filter(|lost| lost.has_struck()).count();
    assert!(struck >= 6, "{struck}");
    assert_eq!(
        (report.replayed, report.already, report.failed),
        (1_200, 0, 0)
    );
    let length: u64 = cmd("XLEN")
        .arg("orders")
        .query_async(&mut plain)
        .await
        .unwrap();
    assert_eq!(length, 1_201);
}

/// What is light is read by number; where heavy ones come behind it, they are weighed before they are read, however
/// light everything was so far.
#[tokio::test]
async fn what_is_heavy_is_weighed_before_it_is_read() {
    let server = Server::start().await;
    let mut plain = server.connect().await;
    let redis = Redis::connect(&server.url(), &Tls::default())
        .await
        .unwrap();
    let queue = StreamKey::new("orders:dlq").unwrap();
    let range = IdRange {
        low: EntryId::new(1, 0),
        high: EntryId::MAX,
        order: Order::Oldest,
        limit: 400,
    };
    let read = async |left| {
        let page = redis.page_behind(&queue, range, left).await.unwrap();
        let weight: usize = page.iter().map(Entry::weight).sum();
        (page.len(), weight)
    };
    buried(&mut plain, 3_000).await;
    assert_eq!(read(0).await.0, 400);
    assert_eq!(read(900).await.0, 150);
    // What is so far from the beginning is not weighed together.
    assert_eq!(read(1_000).await.0, 100);
    // Beyond all that is weighed together, and then in the middle of it.
    for gone in [0, 2_500] {
        let mut load = pipe();
        load.cmd("XTRIM")
            .arg("orders:dlq")
            .arg("MAXLEN")
            .arg(3_000 - gone);
        for _ in 0..100 {
            let heavy = "x".repeat(100_000);
            load.cmd("XADD")
                .arg("orders:dlq")
                .arg("*")
                .arg("data")
                .arg(heavy);
        }
        let _: Vec<Value> = load.query_async(&mut plain).await.unwrap();
        let (many, weight) = read(0).await;
        let most = PAGE_WEIGHT.max(usize::try_from(LIGHT_WEIGHT).unwrap());
        assert!(many >= 100 && weight <= most, "{many}: {weight}");
    }
    // All but the heavy ones are gone: 1 MiB holds ten.
    let () = cmd("XTRIM")
        .arg("orders:dlq")
        .arg("MAXLEN")
        .arg(100)
        .query_async(&mut plain)
        .await
        .unwrap();
    assert_eq!(read(0).await.0, 10);
}

/// The bug: a group with a million pending kept the server from everybody else while it was deleted.
#[tokio::test]
async fn what_is_pending_in_a_group_that_is_deleted_goes_a_thousand_a_call() {
    let server = Server::start().await;
    let mut plain = server.connect().await;
    let redis = Redis::connect(&server.url(), &Tls::default())
        .await
        .unwrap();
    let mut load = pipe();
    for _ in 0..2_500 {
        load.cmd("XADD")
            .arg("orders")
            .arg("*")
            .arg("a")
            .arg("1")
            .ignore();
    }
    load.cmd("XGROUP")
        .arg("CREATE")
        .arg("orders")
        .arg("billing")
        .arg("0")
        .ignore();
    load.cmd("XREADGROUP")
        .arg("GROUP")
        .arg("billing")
        .arg("gone")
        .arg("STREAMS")
        .arg("orders")
        .arg(">")
        .ignore();
    let () = load.query_async(&mut plain).await.unwrap();
    ran(&mut plain).await;
    let source = Source {
        stream: StreamKey::new("orders").unwrap(),
        group: GroupName::new("billing").unwrap(),
    };
    let deleted = redis.delete_group(&source, Deletion::Forced).await.unwrap();
    assert!(deleted.existed && deleted.removed);
    assert_eq!(deleted.pending, 2_500);
    let ran = ran(&mut plain).await;
    let of = |name: &str| ran.get(name).copied().unwrap_or_default();
    assert_eq!((of("xack"), of("xgroup|destroy")), (2, 1), "{ran:?}");
}
