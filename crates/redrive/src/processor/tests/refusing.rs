//! A broker that refuses writes and takes acks: nothing new is read, what is held goes on.

use std::future::ready;

use tokio::time::sleep;

use super::doubles::{Faults, Verb, Wrong};
use super::faults::labs;
use super::logs::logged;
use super::{Log, SECOND};
use crate::error::ErrorKind;
use crate::message::Message;
use crate::outcome::Outcome;
use crate::retry::RetryPolicy;

const NO_MEMORY: Wrong = Wrong::Fatal(ErrorKind::WritesRefused);

fn reads(faults: &Faults) -> u64 {
    faults.calls(Verb::Receive)
}

#[tokio::test(start_paused = true)]
async fn while_writes_are_refused_nothing_new_is_read_and_what_is_held_goes_on() {
    let (_, _, lab, faults) = labs();
    lab.send(1_000).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .concurrency(2)
        .batch(10)
        .lease(30 * SECOND)
        .retry(RetryPolicy::fixed(60 * SECOND))
        .build(move |message: Message<u32>| {
            seen.note(&message);
            async move {
                sleep(SECOND).await;
                match (*message, message.attempt()) {
                    (0..5, 1) => Outcome::retry("comes due while writes are refused"),
                    _ => Outcome::Ack,
                }
            }
        })
        .unwrap();
    let outage = async {
        sleep(15 * SECOND).await;
        faults.always(Verb::Probe, NO_MEMORY);
        // Noticed with the next look, a third of a lease after the last.
        sleep(11 * SECOND).await;
        let before = reads(&faults);
        sleep(89 * SECOND).await;
        let runs = log.all();
        let asked = (reads(&faults) - before, faults.calls(Verb::Probe));
        let held = lab.pending().await;
        faults.heal();
        sleep(5 * SECOND).await;
        (runs, asked, held, reads(&faults) - before)
    };
    let (totals, (runs, asked, held, after)) = tokio::join!(worker.run_until_idle(), outage);
    let totals = totals.unwrap();
    assert_eq!((totals.succeeded, totals.failed), (1_000, 5));
    assert_eq!(totals.leases_lost, 0);
    assert_eq!(asked.0, 0, "reads");
    // Two a third of a lease, and then one in one to three seconds.
    assert!((40..150).contains(&asked.1), "{} looks", asked.1);
    // All of it was brought to its end, retries too.
    assert_eq!(held, 0);
    let retries = runs.iter().filter(|run| run.attempt == 2).count();
    assert_eq!(retries, 5);
    assert!(after > 0, "it reads again within five seconds");
}

#[tokio::test(start_paused = true)]
async fn any_call_that_is_refused_stops_the_reading_and_a_look_resumes_it() {
    let (_, _, lab, faults) = labs();
    lab.send(500).await;
    let told = faults.clone();
    let mut worker = lab
        .worker()
        .concurrency(1)
        .batch(1)
        .prefetch(0)
        .build(move |message: Message<u32>| {
            if *message == 7 {
                told.always(Verb::Probe, NO_MEMORY);
                told.next(Verb::Settle, [NO_MEMORY]);
            }
            ready(Outcome::Ack)
        })
        .unwrap();
    let outage = async {
        sleep(5 * SECOND).await;
        let before = reads(&faults);
        faults.heal();
        sleep(5 * SECOND).await;
        (before, reads(&faults))
    };
    let (totals, (before, after)) = tokio::join!(worker.run_until_idle(), outage);
    assert_eq!(totals.unwrap().succeeded, 500);
    assert!(before <= 9, "{before} reads");
    assert!(after > 500, "{after} reads");
}

#[tokio::test(start_paused = true)]
async fn rounds_wait_and_a_sweep_takes_what_there_is() {
    let (_, _, lab, faults) = labs();
    lab.send(30).await;
    let mut worker = lab
        .worker()
        .batch(10)
        .retry(RetryPolicy::fixed(SECOND))
        .build(|message: Message<u32>| {
            ready(match message.attempt() {
                1 => Outcome::retry("once"),
                _ => Outcome::Ack,
            })
        })
        .unwrap();
    let refusing = || {
        faults.always(Verb::Probe, NO_MEMORY);
        faults.next(Verb::Join, [NO_MEMORY]);
    };
    refusing();
    let healing = async {
        sleep(60 * SECOND).await;
        faults.heal();
    };
    // Joining it learns of it, and joins in the end.
    let (succeeded, ()) = tokio::join!(worker.run_batches(1), healing);
    assert_eq!(succeeded.unwrap(), 0);
    assert_eq!(worker.totals().failed, 10);
    sleep(2 * SECOND).await;
    refusing();
    let recovered = worker.recover().await.unwrap();
    assert_eq!((recovered.taken, recovered.succeeded), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn refused_writes_are_one_line_for_a_person_and_one_when_it_is_over() {
    let lines = logged(async || {
        let (_, _, lab, faults) = labs();
        lab.send(50).await;
        let mut worker = lab
            .worker()
            .retry(RetryPolicy::immediate().max_attempts(1))
            .build(|_: Message<u32>| ready(Outcome::Ack))
            .unwrap();
        for verb in [Verb::Probe, Verb::Join, Verb::Settle, Verb::Renew] {
            faults.always(verb, NO_MEMORY);
        }
        let healing = async {
            sleep(300 * SECOND).await;
            faults.heal();
        };
        let (totals, ()) = tokio::join!(worker.run_until_idle(), healing);
        assert_eq!(totals.unwrap().succeeded, 50);
    })
    .await;
    assert!(lines[0].starts_with("ERROR"), "{lines:#?}");
    assert!(lines[0].contains("refuses writes"), "{lines:#?}");
    // While it joins it does not run: its writes are taken with the one that lets it in.
    assert!(lines[1].starts_with("INFO"), "{lines:#?}");
    assert!(lines[1].contains("takes writes again"), "{lines:#?}");
    // With the start and the end of the run.
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

/// At the edge of its memory a server refuses one write and takes the next.
#[tokio::test(start_paused = true)]
async fn a_broker_that_changes_its_mind_all_the_time_is_said_ever_more_seldom() {
    let lines = logged(async || {
        let (_, _, lab, faults) = labs();
        lab.send(50).await;
        let mut worker = lab
            .worker()
            .concurrency(1)
            .build(|_: Message<u32>| ready(Outcome::Ack))
            .unwrap();
        // Acks are what it refuses, and looks are what it takes.
        let edge = async {
            sleep(SECOND / 1_000).await;
            faults.always(Verb::Settle, NO_MEMORY);
            sleep(60 * SECOND).await;
            faults.heal();
        };
        faults.next(Verb::Receive, [Wrong::NeverArrives]);
        let (totals, ()) = tokio::join!(worker.run_until_idle(), edge);
        assert_eq!(totals.unwrap().succeeded, 50);
    })
    .await;
    let said = lines.iter().filter(|line| line.contains("refuses writes"));
    let said = said.count();
    assert!((1..=15).contains(&said), "{said}: {lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn leases_lost_together_are_counted_and_said_in_one_line() {
    let lines = logged(async || {
        let (_, healthy, lab, faults) = labs();
        healthy.send(116).await;
        let mut frozen = lab
            .worker()
            .timeout(None)
            .batch(116)
            .build(|message: Message<u32>| async move {
                message.cancelled().await;
                Outcome::retry("interrupted")
            })
            .unwrap();
        let mut other = healthy
            .worker()
            .concurrency(200)
            .batch(200)
            .build(|_: Message<u32>| sleep(20 * SECOND))
            .unwrap();
        let freeze = async {
            sleep(SECOND).await;
            faults.always(Verb::Renew, Wrong::NeverArrives);
            faults.always(Verb::Tend, Wrong::NeverArrives);
            sleep(45 * SECOND).await;
            faults.heal();
        };
        let second = async {
            sleep(2 * SECOND).await;
            other.run_until_idle().await.unwrap()
        };
        let (one, two, ()) = tokio::join!(frozen.run_until_idle(), second, freeze);
        let one = one.unwrap();
        assert_eq!((one.leases_lost, one.failed, one.retried), (116, 0, 0));
        assert_eq!((two.succeeded, two.leases_lost), (116, 0));
    })
    .await;
    let lost: Vec<_> = lines.iter().filter(|line| line.contains("lost")).collect();
    assert_eq!(lost.len(), 1, "{lines:#?}");
    assert!(lost[0].starts_with("WARN"), "{lost:?}");
    assert!(lost[0].contains("leases=116"), "{lost:?}");
    // Start and end of two runs, the outage of one of them.
    assert!(lines.len() <= 4 + 2 + 1, "{lines:#?}");
}
