//! What only Redis can show: the real server, its bytes and its commands.

mod bulk;
mod leaving;
mod reading;
mod sentinel;
mod simulation;

use std::sync::Arc;
use std::time::Duration;

use redrive_testkit::{Server, eventually};

use super::{Redis, Tls};
use crate::backend::*;
use crate::conformance::seated;
use crate::dead_letter::{Layout, Reason};
use crate::message::Fields;
use crate::names::{ConsumerName, GroupStart, ProcessToken, Source, StreamKey};
use crate::selection::Order;

fn membership(source: &Source, consumer: &str) -> Membership {
    Membership {
        source: source.clone(),
        consumer: ConsumerName::new(consumer).unwrap(),
        token: ProcessToken::random(),
        start: GroupStart::First,
        lease: Duration::from_secs(30),
        foreign_lease: Duration::from_secs(300),
        max_attempts: 3,
        max_crashes: 3,
        dead_letters: source.stream.default_dead_letters(),
        layout: Layout::Native,
        limit: None,
        on_ack: OnAck::Keep,
    }
}

async fn connect(server: &Server) -> Arc<dyn Backend> {
    Arc::new(
        Redis::connect(&server.url(), &Tls::default())
            .await
            .unwrap(),
    )
}

#[test]
fn a_load_is_bounded_in_entries_and_in_bytes_and_never_empty() {
    let of = |sizes: &[usize]| {
        let entries: Vec<Fields> = sizes
            .iter()
            .map(|size| Fields::from_iter([("n", vec![b'x'; size - 1])]))
            .collect();
        super::load(&entries)
    };
    assert_eq!(of(&[10; 2_500]), 1_000);
    assert_eq!(of(&[1 << 19; 3]), 2);
    assert_eq!(of(&[(1 << 20) + 1, 10]), 1);
    assert_eq!(of(&[10, 1 << 20, 10]), 1);
}

#[tokio::test]
async fn one_message_is_read_retried_dead_lettered_and_replayed() {
    let server = Server::start().await;
    let backend = connect(&server).await;
    let source = Source::new("orders", "billing").unwrap();
    let dlq = source.stream.default_dead_letters();
    let seat = seated(backend.join(membership(&source, "a")).await);
    let fields = Fields::from_iter([("a", "1"), ("a", ""), ("redrive-v", "1")]);
    backend
        .append(&source.stream, std::slice::from_ref(&fields))
        .await
        .unwrap();

    let delivery = seat.receive(10, None).await.unwrap().pop().unwrap();
    assert_eq!(delivery.fields, fields);
    let fault = Box::new(Fault {
        error: "no\nway".into(),
        kind: Some("E".into()),
        fingerprint: "0".repeat(16),
    });
    let how = How::Retry {
        delay: Duration::ZERO,
        fault: fault.clone(),
        waits: Waits::InTheGroup,
    };
    let settlement = Settlement {
        lease: delivery.lease,
        fields: fields.clone(),
        how,
    };
    let settled = seat
        .settle(std::slice::from_ref(&settlement))
        .await
        .unwrap();
    assert!(matches!(settled[0], Settled::Done), "{settled:?}");
    let again = seat
        .settle(std::slice::from_ref(&settlement))
        .await
        .unwrap();
    assert!(matches!(again[0], Settled::Done), "{again:?}");

    let tended = seat.tend(10, Cursor::START).await.unwrap();
    assert_eq!((tended.taken.len(), tended.cursor), (1, None));
    let taken = tended.taken.into_iter().next().unwrap();
    assert_eq!((taken.failures, taken.crashes), (1, 0));
    let begun = seat
        .begin(&[taken.lease.fence], Beside::Others, "n")
        .await
        .unwrap();
    assert!(
        matches!(
            begun[0],
            Begun::Started {
                token: 2,
                failures: 1,
                crashes: 0
            }
        ),
        "{begun:?}"
    );
    let renewed = seat
        .renew(&[Fence {
            token: 2,
            charge: Charge::Begun,
            ..taken.lease.fence
        }])
        .await
        .unwrap();
    assert!(matches!(renewed[0], Renewed::Held), "{renewed:?}");
    let how = How::DeadLetter {
        reason: Reason::Rejected,
        fault,
        failed: Failed::Yes,
    };
    let lease = Lease::new(taken.lease.fence.id, 2, Charge::Begun);
    let settled = seat
        .settle(&[Settlement {
            lease,
            fields: fields.clone(),
            how,
        }])
        .await
        .unwrap();
    let Settled::Died(died) = &settled[0] else {
        panic!("{settled:?}")
    };
    let range = IdRange {
        low: crate::EntryId::MIN,
        high: crate::EntryId::MAX,
        order: Order::Newest,
        limit: 5,
    };
    let letters = backend.entries(&dlq, range).await.unwrap();
    assert_eq!(letters[0].id, died.dead_letter);
    let stats = backend
        .stats(&source.stream, Some(&source.group), &dlq)
        .await
        .unwrap();
    assert_eq!(
        (
            stats.pending_messages,
            stats.waiting,
            stats.dlq_length,
            stats.dlq_arrivals
        ),
        (Some(0), Some(0), 1, 1)
    );
    assert_eq!((stats.lag, stats.lag_exact), (Some(0), true));

    let order = Replay {
        dead_letter: died.dead_letter,
        target: StreamKey::new("other").unwrap(),
        fields,
        keep: Keep::Remove,
        campaign: None,
    };
    let replayed = backend
        .replay(&dlq, std::slice::from_ref(&order))
        .await
        .unwrap();
    assert!(matches!(replayed[0], Replayed::Added(_)), "{replayed:?}");
    let replayed = backend.replay(&dlq, &[order]).await.unwrap();
    assert!(matches!(replayed[0], Replayed::Already(_)), "{replayed:?}");
    seat.leave().await.unwrap();
    assert_eq!(
        backend
            .stats(&source.stream, Some(&source.group), &dlq)
            .await
            .unwrap()
            .consumers,
        Some(0)
    );
}

/// The bug: leases were renewed only while something was held, and with them the sign of life. An
/// idle worker was taken for dead after one lease and removed by the next one that looked.
#[tokio::test]
async fn an_idle_worker_gives_a_sign_of_life() {
    let server = Server::start().await;
    let broker = crate::Broker::connect(&server.url()).await.unwrap();
    let source = Source::new("orders", "billing").unwrap();
    let mut processor = crate::Processor::builder(&broker, source)
        .consumer(ConsumerName::new("idle").unwrap())
        .lease(Duration::from_millis(600))
        .build(async |_: crate::Message<u8>| {})
        .unwrap();
    let worker =
        tokio::spawn(async move { processor.run_until(std::future::pending::<()>()).await });
    let mut plain = server.connect().await;
    let mut least = i64::MAX;
    eventually(
        Duration::from_secs(20),
        "the sign of life to be renewed",
        async || {
            let mut left = redis::cmd("PTTL");
            left.arg("{orders}:redrive:billing:alive:idle");
            let left: i64 = left.query_async(&mut plain).await.unwrap();
            if left > 0 && left > least {
                return true;
            }
            // It has begun once and must not end: below 0 it is no more.
            assert!(least == i64::MAX || left > 0, "the sign of life ended");
            if left > 0 {
                least = least.min(left);
            }
            false
        },
    )
    .await;
    worker.abort();
}

/// The bug: the look for dead consumers, once a lease, met a stream that was gone with an answer
/// that nobody knew, and ended the processor for good.
#[tokio::test]
async fn a_stream_that_is_gone_is_a_group_to_create_again() {
    let server = Server::start().await;
    let backend = connect(&server).await;
    let source = Source::new("orders", "billing").unwrap();
    let mut short = membership(&source, "a");
    short.lease = Duration::from_millis(1);
    let seat = seated(backend.join(short).await);
    let mut plain = server.connect().await;
    eventually(
        Duration::from_secs(20),
        "the time to look for the dead again",
        async || {
            let gone = redis::cmd("DEL")
                .arg("orders")
                .query_async::<i64>(&mut plain)
                .await;
            gone.unwrap();
            let error = seat.tend(0, Cursor::START).await.unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::NoGroup, "{error}");
            // Said by the look for dead consumers, not by the claim behind it.
            std::error::Error::source(&error)
                .is_some_and(|cause| cause.to_string().contains("no such key"))
        },
    )
    .await;
    seat.restore().await.unwrap();
    assert!(seat.tend(10, Cursor::START).await.unwrap().taken.is_empty());
}

/// The bug: one member of the sorted set that is no id failed every claim of every worker.
#[tokio::test]
async fn what_is_no_id_among_the_hints_ends_nobody() {
    let server = Server::start().await;
    let backend = connect(&server).await;
    let source = Source::new("orders", "billing").unwrap();
    let seat = seated(backend.join(membership(&source, "a")).await);
    let fields = Fields::from_iter([("data", "1")]);
    backend.append(&source.stream, &[fields]).await.unwrap();
    assert_eq!(seat.receive(1, None).await.unwrap().len(), 1);
    let mut plain = server.connect().await;
    let mut spoil = redis::pipe();
    spoil.zadd("{orders}:redrive:billing:due", "notanid", 1);
    spoil.hset("{orders}:redrive:billing:state", "neither", "nonsense");
    let _: () = spoil.query_async(&mut plain).await.unwrap();
    assert!(seat.tend(10, Cursor::START).await.unwrap().taken.is_empty());
    let left = redis::cmd("EXISTS")
        .arg("{orders}:redrive:billing:due")
        .arg("{orders}:redrive:billing:state")
        .query_async::<i64>(&mut plain)
        .await;
    assert_eq!(left.unwrap(), 0);
}
