//! Signals and limits of time: a polite end, an end whose time is over, an end at once.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Rig, all_gone, pids, totals};

#[tokio::test]
async fn the_first_signal_lets_what_runs_finish_and_hands_back_the_rest() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut rig = Rig::start().await;
        rig.add(50).await;
        let (started, go) = (rig.path("started"), rig.path("go"));
        let handler = rig.script(&format!(
            "echo $$ >>{}; while ! test -e {}; do sleep 0.02; done",
            started.display(),
            go.display()
        ));
        let run = rig.run(&["--concurrency", "4", "-o", "json", "--", &handler]);
        pids(&started, 4).await;
        run.signal(signal);
        run.says("processor stops").await;
        std::fs::write(go, "").unwrap();
        let ended = run.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let totals = totals(&ended);
        assert_eq!((totals[0], totals[1], totals[4]), (4, 0, 46), "{totals:?}");
        assert_eq!(rig.pending().await, 46);
        // Nobody waits for a lease: another one takes them at once, as first attempts.
        let ended = rig.drain(&["--max-attempts", "1", "--", "true"]).await;
        assert_eq!(super::totals(&ended), [46, 0, 0, 0, 0, 0, 0]);
    }
}

#[tokio::test]
async fn what_is_not_done_within_the_drain_time_is_ended_and_handed_back() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let file = rig.path("pids");
    let handler = rig.script(&format!(
        "sleep 600 & echo $! >>{0}; echo $$ >>{0}; wait",
        file.display()
    ));
    let run = rig.run(&["--drain", "200ms", "-o", "json", "--", &handler]);
    let pids = pids(&file, 2).await;
    run.signal(Signal::TERM);
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("error: the drain time was used up, handlers ended: 1")
    );
    assert!(
        ended
            .stderr
            .contains("\nhint: their messages were handed back"),
        "{}",
        ended.stderr
    );
    assert_eq!(totals(&ended), [0, 0, 0, 0, 1, 0, 0]);
    all_gone(&pids).await;
    let ended = rig.drain(&["--max-attempts", "1", "--", "true"]).await;
    assert_eq!(totals(&ended), [1, 0, 0, 0, 0, 0, 0]);
}

/// SIGTERM is ignored by the handler: it gets its five seconds, and the worker waits for them.
#[tokio::test]
async fn a_stubborn_handler_is_killed_after_the_drain_time_and_not_left_behind() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let file = rig.path("pids");
    let handler = rig.script(&format!(
        "trap '' TERM; echo $$ >>{}; while :; do sleep 600; done",
        file.display()
    ));
    let run = rig.run(&["--drain", "0s", "-o", "json", "--", &handler]);
    let pids = pids(&file, 1).await;
    let start = Instant::now();
    run.signal(Signal::TERM);
    let ended = run.ended().await;
    assert!(
        start.elapsed() >= Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(totals(&ended), [0, 0, 0, 0, 1, 0, 0], "{}", ended.stderr);
    assert!(!super::is_alive(&pids[0]));
}

#[tokio::test]
async fn the_second_signal_ends_it_at_once_and_kills_the_handlers() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut rig = Rig::start().await;
        rig.add(3).await;
        let file = rig.path("pids");
        let handler = rig.script(&format!(
            "trap '' TERM INT; sleep 600 & echo $! >>{0}; echo $$ >>{0}; while :; do sleep 600; done",
            file.display()
        ));
        let mut run = rig.run(&["-o", "json", "--lease", "1s", "--", &handler]);
        let pids = pids(&file, 6).await;
        // Twice at once is one wish: `timeout` tells a process and then its group.
        run.signal(Signal::TERM);
        run.signal(Signal::INT);
        run.says("processor stops").await;
        let start = Instant::now();
        run.insist(signal).await;
        let ended = run.ended().await;
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
        all_gone(&pids).await;
        // As after a crash: nothing is lost, the lease brings it back.
        let ended = rig.drain(&["--", "true"]).await;
        assert_eq!(totals(&ended)[0], 3, "{}", ended.stderr);
    }
}

/// The worker stands still beyond its lease, another one takes its messages: the handlers that no
/// longer count are ended, and that is one line.
#[tokio::test]
async fn a_lost_lease_ends_the_handler() {
    let mut rig = Rig::start().await;
    rig.add(5).await;
    let file = rig.path("pids");
    let handler = rig.script(&format!("echo $$ >>{}; sleep 600", file.display()));
    let run = rig.run(&["--lease", "1s", "-o", "json", "--", &handler]);
    let pids = pids(&file, 5).await;
    run.signal(Signal::STOP);
    let ended = rig.drain(&["--lease", "1s", "--", "true"]).await;
    assert_eq!(totals(&ended)[0], 5, "{}", ended.stderr);
    run.signal(Signal::CONT);
    run.says("leases lost").await;
    all_gone(&pids).await;
    run.signal(Signal::TERM);
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended), [0; 7], "{}", ended.stderr);
    assert!(
        ended.stdout.contains("\"leases_lost\": 5"),
        "{}",
        ended.stdout
    );
    assert_eq!(
        ended.stderr.matches("leases lost").count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("leases=5"), "{}", ended.stderr);
    assert!(rig.dead().await.is_empty());
}

#[tokio::test]
async fn a_run_ends_after_its_time_or_its_reads() {
    let mut rig = Rig::start().await;
    rig.add(30).await;
    let ended = rig
        .run(&["--max-time", "1s", "-o", "json", "--", "true"])
        .ended()
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended)[0], 30);

    rig.add(30).await;
    let args = [
        "--max-batches",
        "2",
        "--batch",
        "10",
        "-o",
        "json",
        "--",
        "true",
    ];
    let ended = rig.run(&args).ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended)[0], 20);

    // The time ends a run until idle as well: something stays pending.
    let args = [
        "--until-idle",
        "--max-time",
        "1s",
        "--backoff",
        "1m",
        "--",
        "false",
    ];
    let ended = rig.run(&args).ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.starts_with("0 succeeded, 0 dead-lettered; "),
        "{}",
        ended.stdout
    );
    assert_eq!(rig.pending().await, 10);
}
