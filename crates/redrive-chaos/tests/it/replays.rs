//! Dead letters put back by operators that are killed, and by many at once: each comes back once.

use std::time::Duration;

use redrive_testkit::eventually;
use serde_json::Value;

use crate::SOON;
use crate::arena::Arena;
use crate::crew::{Worker, redrive};
use crate::dead::{each_is_back_once, left, letters};
use crate::size::size;

const REPLAY: [&str; 5] = ["dlq", "replay", "orders", "--all", "--yes"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn replay_of_dead_letters_killed_again_and_again_puts_each_back_once() {
    let (many, kills): (u64, u64) = size((10_000, 20), (100_000, 100));
    let mut arena = Arena::start().await;
    letters(&mut arena, many).await;
    let url = arena.server.url();
    let operator = || Worker::start(redrive(&url, &REPLAY), "operator".to_owned());
    // Somewhere in its work, wherever that is: so many are left when it is killed, at most.
    for kill in 1..=kills {
        let before = left(&arena).await;
        let share = many * (kills + 1 - kill) / (kills + 1);
        let at_most = fastrand::u64(share..before.max(share + 1));
        let mut replaying = operator();
        eventually(SOON, "some are put back", async || {
            match left(&arena).await {
                left if left <= at_most || replaying.fallen().is_some() => Ok(()),
                left => Err(left),
            }
        })
        .await;
        assert!(
            replaying.fallen().is_none(),
            "it ended before kill {kill}: {:?}",
            replaying.said()
        );
        replaying.kill_now().await;
    }
    let before = left(&arena).await;
    assert!(
        before > 0,
        "nothing left after the last kill: this shows less than it says"
    );
    println!("replays: {before} of {many} left after {kills} kills");
    let (status, said) = operator().ended().await;
    assert!(status.success(), "{said:#?}");
    each_is_back_once("replays killed", &arena, many).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn eight_operators_replay_the_same_dead_letters_at_once_and_each_comes_back_once() {
    let many = size(10_000, 100_000);
    let mut arena = Arena::start().await;
    letters(&mut arena, many).await;
    let url = arena.server.url();
    let mut operators = Vec::new();
    for _ in 0..8 {
        let mut command = redrive(&url, &REPLAY);
        command.args(["-o", "json"]).kill_on_drop(true);
        operators.push(tokio::spawn(async move { command.output().await.unwrap() }));
    }
    let (mut replayed, mut already, mut busy) = (0, 0, 0);
    for operator in operators {
        let ended = tokio::time::timeout(Duration::from_secs(300), operator).await;
        let ended = ended.unwrap().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        // 3: the others were done before it had looked.
        assert!(matches!(ended.status.code(), Some(0 | 3)), "{said}");
        let Ok(report) = serde_json::from_slice::<Value>(&ended.stdout) else {
            continue;
        };
        assert_eq!(report["failed"], 0, "{report}");
        let own = report["replayed"].as_u64().unwrap();
        busy += u64::from(own > 0);
        replayed += own;
        already += report["already"].as_u64().unwrap();
    }
    println!("operators: replayed={replayed} already={already} by {busy} of 8");
    assert!(busy >= 2, "one did it all: this shows nothing");
    each_is_back_once("eight operators", &arena, many).await;
    assert_eq!(replayed, many);
}
