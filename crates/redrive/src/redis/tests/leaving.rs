//! Leaving a group while a renewal is still under way.

use std::time::Duration;

use redis::{Value, cmd};
use redrive_testkit::{Fault, Moment, Proxy, Server, Target};

use super::membership;
use crate::backend::Backend;
use crate::conformance::seated;
use crate::names::Source;
use crate::redis::{Redis, Tls};

const SOON: Duration = Duration::from_secs(60);

/// The bug, found by the sweep on a busy machine: leaving takes the sign of life back, then removes the consumer if there is
/// none. A renewal on its own connection, sent before, was executed between the two. Its consumer was taken for alive, and
/// left behind for the next worker, which might never come.
#[tokio::test]
async fn a_renewal_that_was_under_way_leaves_no_consumer_behind() {
    let server = Server::start().await;
    let proxy = Proxy::in_front_of(&server);
    let redis = Redis::connect(proxy.url(), &Tls::default()).await.unwrap();
    let source = Source::new("orders", "billing").unwrap();
    let joined = redis.join(membership(&source, "me")).await;
    let seat = seated(joined);
    let mut plain = server.connect().await;
    let alive = "{orders}:redrive:billing:alive:me";
    let token: String = cmd("GET").arg(alive).query_async(&mut plain).await.unwrap();

    // What a renewal does that was sent before: it comes when the sign of life was taken back.
    let between = proxy.arm(Target::next("EVALSHA reap"), Moment::Arrived, Fault::Hold);
    let leaving = tokio::spawn(async move { seat.leave().await });
    tokio::time::timeout(SOON, between.struck()).await.unwrap();
    let mut renewal = cmd("SET");
    renewal.arg(alive).arg(token).arg("PX").arg(60_000);
    let () = renewal.query_async(&mut plain).await.unwrap();
    between.go_on();

    leaving.await.unwrap().unwrap();
    let mut consumers = cmd("XINFO");
    consumers.arg("CONSUMERS").arg("orders").arg("billing");
    let consumers: Vec<Value> = consumers.query_async(&mut plain).await.unwrap();
    assert_eq!(consumers, []);
    let there: bool = cmd("EXISTS")
        .arg(alive)
        .query_async(&mut plain)
        .await
        .unwrap();
    assert!(!there, "a sign of life of who has left");
}
