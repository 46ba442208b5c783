//! Dead letters put back by operators that are killed, and by many at once: each comes back once.

use std::time::Duration;

use redrive_testkit::{Proxy, eventually};
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
    let done = eight_operators(&arena.server.url(), "operators").await;
    assert_eq!(done.again, 0, "one gave up on a server that was there");
    each_is_back_once("eight operators", &arena, many).await;
    assert_eq!(done.replayed, many);
}

/// Requests and replies are lost at random: what an operator is not told was done all the same, or
/// was not. It asks again, or gives up and is started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn eight_operators_whose_replies_are_lost_put_each_back_once() {
    let many = size(10_000, 100_000);
    let mut arena = Arena::start().await;
    letters(&mut arena, many).await;
    let proxy = Proxy::in_front_of(&arena.server);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    proxy.reset_at_random(8, seed);
    let done = eight_operators(proxy.url(), "operators with lost replies").await;
    proxy.reset_at_random(0, seed);
    let resets = proxy.random_resets();
    println!("{resets} resets, {} started again", done.again);
    assert!(resets > 20, "{resets} resets: this shows nothing");
    each_is_back_once("eight operators, lost replies", &arena, many).await;
    // Their reports need not add up: who is told "already" after a reply was lost cannot know
    // whether that was its own doing, and what a run had done when it gave up is in no report.
}

/// What eight operators say that they did.
struct Done {
    replayed: u64,
    /// How many runs ended before all was done.
    again: u64,
}

/// Eight at once, each until nothing is left for it.
async fn eight_operators(url: &str, what: &str) -> Done {
    let mut operators = Vec::new();
    for _ in 0..8 {
        let url = url.to_owned();
        operators.push(tokio::spawn(async move {
            let (mut replayed, mut already, mut again) = (0, 0, 0);
            loop {
                let mut command = redrive(&url, &REPLAY);
                command.args(["-o", "json"]).kill_on_drop(true);
                let ended = command.output().await.unwrap();
                if let Ok(report) = serde_json::from_slice::<Value>(&ended.stdout) {
                    assert_eq!(report["failed"], 0, "{report}");
                    replayed += report["replayed"].as_u64().unwrap();
                    already += report["already"].as_u64().unwrap();
                }
                match ended.status.code() {
                    // 3: the others were done before it had looked.
                    Some(0 | 3) => return (replayed, already, again),
                    Some(1 | 4) => again += 1,
                    _ => panic!("{}", String::from_utf8_lossy(&ended.stderr)),
                }
            }
        }));
    }
    let (mut replayed, mut already, mut busy) = (0, 0, 0);
    let mut again = 0;
    for operator in operators {
        let ended = tokio::time::timeout(Duration::from_secs(300), operator).await;
        let own = ended.unwrap().unwrap();
        busy += u64::from(own.0 > 0);
        replayed += own.0;
        already += own.1;
        again += own.2;
    }
    println!("{what}: replayed={replayed} already={already} by {busy} of 8");
    assert!(busy >= 2, "one did it all: this shows nothing");
    Done { replayed, again }
}
