//! Entries of more fields than a script can add: put back in one step with their receipts, or not at all.

use redrive::{Broker, EntryId, ErrorKind, ReplayOptions};
use redrive_testkit::{Fault, Moment, Proxy, Target};
use tokio::time::timeout;

use crate::SOON;
use crate::rig::{Rig, stream};

/// Behind it a stream takes nothing more.
const LAST: &str = "18446744073709551615-18446744073709551615";

async fn large(rig: &Rig) -> EntryId {
    let names: Vec<String> = (0..4_000).map(|n| format!("f{n}")).collect();
    let fields: Vec<&str> = names.iter().flat_map(|name| [name, "v"]).collect();
    rig.xadd("orders:dlq", &fields).await.parse().unwrap()
}

/// A replay of which the commands of its one step have arrived, with the letter there when it reserved; then
/// somebody else purges the letter.
async fn purged_meanwhile(rig: &Rig, id: EntryId) -> Result<EntryId, redrive::Error> {
    let proxy = Proxy::in_front_of(&rig.server);
    let broker = Broker::connect(proxy.url()).await.unwrap();
    let queue = broker.dead_letters(stream("orders:dlq"));
    let back = ReplayOptions::default().target(stream("orders"));
    let held = proxy.arm(Target::next("EXEC"), Moment::Arrived, Fault::Hold);
    let replaying = tokio::spawn(async move { queue.replay(id, &back).await });
    timeout(SOON, held.struck()).await.unwrap();
    assert_eq!(rig.ask::<u64>(&format!("XDEL orders:dlq {id}")).await, 1);
    held.go_on();
    timeout(SOON, replaying).await.unwrap().unwrap()
}

/// The bug: what the replay had reserved when it looked whether there was anything to do was taken for the
/// reservation of its step, in which there was not: the purged one was put back as well, and counted twice.
#[tokio::test]
async fn a_large_one_that_is_purged_while_it_is_put_back_leaves_nothing() {
    let rig = Rig::start().await;
    let other = rig.xadd("orders", &["n", "1"]).await;
    let id = large(&rig).await;
    let error = purged_meanwhile(&rig, id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let entries = rig.entries("orders").await;
    assert_eq!((entries.len(), &entries[0].0), (1, &other));
    let counted: Option<u64> = rig.ask("HGET {orders:dlq}:redrive:ledger replayed").await;
    assert_eq!(counted, None);
}

/// The bug: the completion took the newest entry back off the stream. It was what the replay had added, or,
/// where the stream had refused that, a message of somebody else, which was lost.
#[tokio::test]
async fn where_the_stream_takes_nothing_either_no_message_of_others_goes() {
    let rig = Rig::start().await;
    let add = format!("XADD orders {LAST} n 1");
    assert_eq!(rig.ask::<String>(&add).await, LAST);
    let id = large(&rig).await;
    purged_meanwhile(&rig, id).await.unwrap_err();
    let entries = rig.entries("orders").await;
    assert_eq!((entries.len(), &*entries[0].0), (1, LAST));
}
