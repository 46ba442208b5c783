//! Commands on a service that sentinels watch.

use redrive_testkit::{SERVICE, Server, sentinel_of};

use crate::redrive;

#[tokio::test]
async fn a_url_of_sentinels_does_for_every_command() {
    let server = Server::start().await;
    let sentinel = sentinel_of(&server).await;
    let hosts = format!("127.0.0.1:{}", sentinel.port());
    let url = format!("redis+sentinel://{hosts}/{SERVICE}");
    let sent = redrive(&["--url", &url, "send", "orders", "-f", "data=1"]);
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let stats = redrive(&["--url", &url, "stats", "orders", "-o", "json"]);
    assert_eq!(stats.code, Some(0), "{}", stats.stderr);
    assert!(
        stats.stdout.contains("\"stream_length\":1,"),
        "{}",
        stats.stdout
    );

    let url = format!("redis+sentinel://:secret@{hosts}/others");
    let wrong = redrive(&["--url", &url, "stats", "orders"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    let said = &wrong.stderr;
    assert!(said.contains("service not found: others"), "{said}");
    assert!(
        said.contains("hint: ") && !said.contains("secret"),
        "{said}"
    );
    let demo = redrive(&["--url", &url, "demo"]);
    assert_eq!(demo.code, Some(2), "{}", demo.stderr);
}

#[tokio::test]
async fn a_sentinel_given_as_a_server_is_told_from_an_old_server() {
    let server = Server::start().await;
    let sentinel = sentinel_of(&server).await;
    let url = format!("redis://127.0.0.1:{}", sentinel.port());
    let wrong = redrive(&["--url", &url, "stats", "orders"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    let hint = "hint: that is a sentinel: name the service it watches, redis+sentinel://";
    assert!(wrong.stderr.contains(hint), "{}", wrong.stderr);
}
