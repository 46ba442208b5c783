//! Order by key on a real server: through retries, and after a worker that was killed.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive::{Message, Outcome, Processor, Raw, RetryPolicy};
use redrive_testkit::eventually;

use crate::SOON;
use crate::rig::{Rig, Runs};

type Noted = Arc<Mutex<Vec<(String, String, u32)>>>;

/// Handles messages in the order of their field `customer`, and notes customer, step and attempt;
/// the second step of `a` fails twice. It fails when two of one customer run at once.
fn ordered(rig: &Rig, noted: &Noted) -> Processor {
    let (noted, running) = (Arc::clone(noted), Arc::new(Mutex::new(Vec::new())));
    rig.builder()
        .codec(Raw)
        .retry(RetryPolicy::fixed(Duration::from_millis(100)))
        .ordered_by("customer")
        .build(move |message: Message<redrive::Fields>| {
            let (noted, running) = (Arc::clone(&noted), Arc::clone(&running));
            async move {
                let text = |name: &str| {
                    let value = message.get(name).unwrap();
                    String::from_utf8(value.to_vec()).unwrap()
                };
                let (customer, step) = (text("customer"), text("step"));
                {
                    let mut running = running.lock().unwrap();
                    assert!(!running.contains(&customer), "two of {customer} at once");
                    running.push(customer.clone());
                }
                let attempt = message.attempt();
                let seen = (customer.clone(), step.clone(), attempt);
                noted.lock().unwrap().push(seen);
                tokio::task::yield_now().await;
                running.lock().unwrap().retain(|other| *other != customer);
                match (&*customer, &*step) {
                    ("a", "2") if attempt < 3 => Outcome::retry("not yet"),
                    _ => Outcome::Ack,
                }
            }
        })
        .unwrap()
}

/// Steps from 1 on of each customer, in turns.
async fn add(rig: &Rig, steps: u32) {
    for step in 1..=steps {
        for customer in ["a", "b", "c"] {
            let step = step.to_string();
            let fields = ["customer", customer, "step", &step];
            rig.xadd("orders", &fields).await;
        }
    }
}

/// Step and attempt of the runs of one customer.
fn of(noted: &Noted, customer: &str) -> Vec<(u32, u32)> {
    let noted = noted.lock().unwrap();
    let of = noted.iter().filter(|(who, ..)| who == customer);
    of.map(|(_, step, attempt)| (step.parse().unwrap(), *attempt))
        .collect()
}

#[tokio::test]
async fn messages_of_one_key_run_in_the_order_of_the_stream_through_retries() {
    let rig = Rig::start().await;
    add(&rig, 20).await;
    let noted = Noted::default();
    let totals = ordered(&rig, &noted).run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.retried), (60, 2));
    assert_eq!((totals.failed, totals.dead_lettered), (2, 0));
    let mut of_a = vec![(1, 1), (2, 1), (2, 2), (2, 3)];
    of_a.extend((3..=20).map(|step| (step, 1)));
    assert_eq!(of(&noted, "a"), of_a);
    let in_order: Vec<(u32, u32)> = (1..=20).map(|step| (step, 1)).collect();
    assert_eq!(of(&noted, "b"), in_order);
    assert_eq!(of(&noted, "c"), in_order);
    assert!(rig.pending().await.is_empty());
    let mark = "{orders}:redrive:billing:meta";
    assert_eq!(rig.keys().await, ["orders", mark]);
}

#[tokio::test]
async fn what_a_killed_worker_kept_through_a_backoff_runs_in_order_with_its_failure() {
    let rig = Rig::start().await;
    add(&rig, 5).await;
    let runs = Runs::default();
    let noting = runs.clone();
    let mut victim = rig
        .builder()
        .codec(Raw)
        .lease(Duration::from_secs(1))
        .retry(RetryPolicy::fixed(Duration::from_secs(3_600)))
        .ordered_by("customer")
        .build(move |message: Message<redrive::Fields>| {
            let run = noting.note(message.id());
            let fails = message.get("customer") == Some(b"b") && run == 1;
            async move {
                if !fails {
                    pending::<()>().await;
                }
                Outcome::retry("not yet")
            }
        })
        .unwrap();
    let killed = tokio::spawn(async move { victim.run_until_idle().await });
    eventually(SOON, "the failure recorded", async || {
        let state: u64 = rig.ask("HLEN {orders}:redrive:billing:state").await;
        (state == 1).then_some(()).ok_or(state)
    })
    .await;
    // It waits with its holder: nobody else may have it when it is due.
    assert_eq!(
        rig.ask::<u64>("ZCARD {orders}:redrive:billing:due").await,
        0
    );
    killed.abort();

    let noted = Noted::default();
    let totals = ordered(&rig, &noted).run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.dead_lettered), (15, 0));
    let mut of_b = vec![(1, 2)];
    of_b.extend((2..=5).map(|step| (step, 1)));
    assert_eq!(of(&noted, "b"), of_b);
    let numbers: Vec<u32> = of(&noted, "c").into_iter().map(|run| run.0).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert!(rig.pending().await.is_empty());
}
