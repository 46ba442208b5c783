//! Deadlines, names, leaks and counts.

use std::time::Duration;

use redis::AsyncCommands;
use redrive_testkit::{Server, commands, diff, eventually, leaked_keys, stream_name};

use crate::SOON;

#[tokio::test]
async fn eventually_returns_what_it_found() {
    let mut looks = 0;
    let found = eventually(SOON, "the fifth look", async || {
        looks += 1;
        (looks == 5).then_some("found")
    })
    .await;
    assert_eq!(found, "found");
    assert_eq!(looks, 5);
}

#[tokio::test]
async fn eventually_gives_up_and_says_what_it_saw() {
    let waiting = tokio::spawn(async {
        let look = async || Err::<(), _>("3 pending");
        eventually(Duration::from_millis(50), "nothing pending", look).await;
    });

    let failure = waiting.await.unwrap_err().into_panic();

    let message = failure.downcast_ref::<String>().unwrap();
    assert!(message.contains("nothing pending"), "{message}");
    assert!(message.contains("3 pending"), "{message}");
    assert!(message.contains("tools.rs:"), "{message}");
}

#[tokio::test]
async fn eventually_does_not_wait_for_a_look_that_hangs() {
    let waiting = tokio::spawn(async {
        let look = async || std::future::pending::<bool>().await;
        eventually(Duration::from_millis(50), "an answer", look).await;
    });

    let failure = waiting.await.unwrap_err().into_panic();

    let message = failure.downcast_ref::<String>().unwrap();
    assert!(message.contains("a look without an answer"), "{message}");
}

#[tokio::test]
async fn leaks_are_the_streams_keys_that_nobody_allowed() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let (mine, other) = (stream_name("orders"), stream_name("orders"));
    assert_ne!(mine, other);
    let keys = [
        mine.clone(),
        format!("{{{mine}}}:ledger"),
        format!("{{{mine}}}:lease:1"),
        format!("{{{mine}}}:lease:2"),
        other,
    ];
    for key in &keys {
        let _: () = connection.set(key, "x").await.unwrap();
    }

    let allowed = [mine.clone(), format!("{{{mine}}}:lease:*")];
    let leaked = leaked_keys(&mut connection, &mine, &allowed).await.unwrap();

    assert_eq!(leaked, [format!("{{{mine}}}:ledger")]);
}

#[tokio::test]
async fn commands_are_counted_between_two_looks() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let _: () = connection.set("key", "value").await.unwrap();

    let before = commands(&mut connection).await.unwrap();
    let _: String = connection.get("key").await.unwrap();
    let _: String = connection.get("key").await.unwrap();
    let after = commands(&mut connection).await.unwrap();

    assert_eq!(
        diff(&before, &after).into_iter().collect::<Vec<_>>(),
        [("get".to_owned(), 2)]
    );
    assert_eq!(before["set"], 1);
}
