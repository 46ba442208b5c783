//! A renewal whose connection falls silent: the next try has one of its own, within the lease.

use std::sync::Arc;
use std::time::Duration;

use redrive::{Broker, Message, Totals};
use redrive_testkit::{Fault, Moment, Proxy, Target, eventually};
use tokio::sync::Semaphore;

use super::noting_worker;
use crate::SOON;
use crate::rig::{Rig, Runs, Worker, quick};

const LEASE: Duration = Duration::from_secs(2);

/// A renewal waited ten seconds for its answer, whatever the lease: one that was lost cost every message that
/// the worker held, though a new connection would have been answered at once.
async fn a_silent_renewal_costs_no_lease(label: &str, moment: Moment) {
    let rig = Rig::start().await;
    let proxy = Proxy::in_front_of(&rig.server);
    let broker = Broker::connect(proxy.url()).await.unwrap();
    let (runs, done) = (Runs::default(), Arc::new(Semaphore::new(0)));
    let (noting, waiting) = (runs.clone(), Arc::clone(&done));
    // As many slots as messages: with free ones it would claim what it holds itself, and so may be faster than others.
    rig.add(20).await;
    let holder = quick(&broker, rig.source())
        .lease(LEASE)
        .concurrency(4)
        .batch(20)
        .prefetch(16)
        .build(move |message: Message<u32>| {
            noting.note(message.id());
            let waiting = Arc::clone(&waiting);
            async move { drop(waiting.acquire().await) }
        })
        .unwrap();
    let holder = Worker::start(holder);
    eventually(SOON, "it runs some and holds all", async || {
        (!runs.all().is_empty() && rig.unsettled().await == Ok(20))
            .then_some(())
            .ok_or("not yet")
    })
    .await;
    let thief = Runs::default();
    let other = Worker::start(noting_worker(&rig, &thief));

    let lost = proxy.arm(Target::next(label), moment, Fault::BlackHole);
    eventually(SOON, "a renewal fell silent", async || lost.has_struck()).await;
    // A lease and more after that: a try every third of it.
    let then = proxy.times_seen("EVALSHA renew");
    eventually(SOON, "renewed on another connection", async || {
        proxy.times_seen("EVALSHA renew") >= then + 5 || thief.len() > 0
    })
    .await;
    done.close();
    eventually(SOON, "all done", async || rig.unsettled().await == Ok(0)).await;

    let totals = holder.stop().await;
    assert_eq!((totals.succeeded, totals.leases_lost), (20, 0));
    assert_eq!((runs.len(), thief.len()), (20, 0));
    assert_eq!(other.stop().await, Totals::default());
    assert_eq!(proxy.misunderstood(), 0);
}

#[tokio::test]
async fn a_renewal_that_never_arrives_costs_no_lease() {
    a_silent_renewal_costs_no_lease("EVALSHA renew", Moment::Arrived).await;
}

#[tokio::test]
async fn a_renewal_whose_reply_is_lost_costs_no_lease() {
    a_silent_renewal_costs_no_lease("EVALSHA renew", Moment::Executed).await;
}

/// It was sent, and waited for, before the renewal.
#[tokio::test]
async fn a_sign_of_life_that_falls_silent_costs_no_lease() {
    a_silent_renewal_costs_no_lease("EVALSHA alive", Moment::Arrived).await;
}
