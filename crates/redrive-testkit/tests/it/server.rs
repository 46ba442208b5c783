//! Starting, reaching, restarting and freezing a server.

use std::path::Path;
use std::time::Duration;

use redis::AsyncCommands;
use redrive_testkit::{Server, TlsFiles, eventually};

use crate::SOON;

#[tokio::test]
async fn a_started_server_answers_over_tcp() {
    let server = Server::start().await;
    let mut connection = server.connect().await;

    let pong: String = redis::cmd("PING")
        .query_async(&mut connection)
        .await
        .unwrap();

    assert_eq!(pong, "PONG");
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}", server.port()));
    assert_ne!(server.port(), 6379);
}

#[tokio::test]
async fn a_started_server_answers_on_its_unix_socket() {
    let server = Server::start().await;
    assert!(server.unix_url().starts_with("unix:///tmp/"));
    let client = redis::Client::open(server.unix_url()).unwrap();

    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = connection.set("key", "value").await.unwrap();

    let seen: String = server.connect().await.get("key").await.unwrap();
    assert_eq!(seen, "value");
}

#[tokio::test]
async fn the_process_id_is_the_servers_own() {
    let server = Server::start().await;

    let info: redis::InfoDict = redis::cmd("INFO")
        .arg("server")
        .query_async(&mut server.connect().await)
        .await
        .unwrap();

    assert_eq!(info.get::<u32>("process_id"), Some(server.pid()));
}

#[tokio::test]
async fn two_servers_do_not_share_anything() {
    let (one, other) = tokio::join!(Server::start(), Server::start());
    let _: () = one.connect().await.set("key", "value").await.unwrap();

    let seen: Option<String> = other.connect().await.get("key").await.unwrap();

    assert_eq!(seen, None);
    assert_ne!(one.port(), other.port());
}

#[tokio::test]
async fn a_restart_keeps_the_address_and_drops_the_data() {
    let server = Server::start().await;
    let (url, pid) = (server.url(), server.pid());
    let _: () = server.connect().await.set("key", "value").await.unwrap();

    server.restart().await;

    let seen: Option<String> = server.connect().await.get("key").await.unwrap();
    assert_eq!(seen, None);
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), pid);
}

#[tokio::test]
async fn an_append_only_server_keeps_its_data_over_restart_and_kill() {
    let server = Server::builder().appendonly().start().await;

    let _: () = server.connect().await.incr("key", 1).await.unwrap();
    server.restart().await;
    let _: () = server.connect().await.incr("key", 1).await.unwrap();
    server.kill9().await;
    server.restart().await;

    let seen: u64 = server.connect().await.get("key").await.unwrap();
    assert_eq!(seen, 2);
}

#[tokio::test]
async fn a_frozen_server_answers_only_after_the_thaw() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let ping = async move {
        redis::cmd("PING")
            .query_async::<String>(&mut connection)
            .await
    };

    server.freeze();
    let mut ping = tokio::spawn(ping);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut ping).await;
    assert!(early.is_err());
    server.thaw();

    assert_eq!(ping.await.unwrap().unwrap(), "PONG");
}

#[tokio::test]
async fn a_frozen_server_can_be_killed_and_restarted() {
    let server = Server::start().await;

    server.freeze();
    server.kill9().await;
    server.restart().await;
    server.freeze();
    server.restart().await;

    let _: () = server.connect().await.set("key", "value").await.unwrap();
}

#[tokio::test]
async fn a_killed_server_refuses_connections() {
    let server = Server::start().await;
    let url = server.url();

    server.kill9().await;

    let client = redis::Client::open(url).unwrap();
    assert!(client.get_multiplexed_async_connection().await.is_err());
}

#[tokio::test]
async fn options_password_and_users_reach_the_server() {
    let server = Server::builder()
        .arg("--maxmemory", "10mb")
        .requirepass("p@ss word/%")
        .acl("viewer on >secret ~orders* +@read")
        .start()
        .await;

    let (_, memory): (String, u64) = redis::cmd("CONFIG")
        .arg("GET")
        .arg("maxmemory")
        .query_async(&mut server.connect().await)
        .await
        .unwrap();
    assert_eq!(memory, 10 << 20);

    let by_socket = redis::Client::open(server.unix_url()).unwrap();
    by_socket.get_multiplexed_async_connection().await.unwrap();

    let viewer =
        redis::Client::open(format!("redis://viewer:secret@127.0.0.1:{}", server.port())).unwrap();
    let mut viewer = viewer.get_multiplexed_async_connection().await.unwrap();
    let _: Option<String> = viewer.get("orders").await.unwrap();
    let refused = viewer.set::<_, _, ()>("orders", "x").await.unwrap_err();
    assert_eq!(refused.code(), Some("NOPERM"));
}

#[tokio::test]
async fn debug_commands_work() {
    let server = Server::start().await;

    let reply: String = redis::cmd("DEBUG")
        .arg("SLEEP")
        .arg(0)
        .query_async(&mut server.connect().await)
        .await
        .unwrap();

    assert_eq!(reply, "OK");
}

#[tokio::test]
async fn a_server_that_cannot_start_fails_the_test_and_says_why() {
    let start = Server::builder().arg("--no-such-option", "1").start();

    let failure = tokio::spawn(start).await.unwrap_err().into_panic();

    let message = failure.downcast_ref::<String>().unwrap();
    assert!(message.contains("no-such-option"), "{message}");
}

#[tokio::test]
async fn tls_trusts_the_right_authority_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let stranger = tempfile::tempdir().unwrap();
    let files = TlsFiles::generate(directory.path());
    let other = TlsFiles::generate(stranger.path());
    let server = Server::builder().tls(files.clone()).start().await;

    let mut connection = server.connect_tls(files.trust()).await.unwrap();
    let _: () = connection.set("key", "value").await.unwrap();

    assert!(server.connect_tls(other.trust()).await.is_err());
    let url = format!("rediss://localhost:{}", port_of(&server.tls_url()));
    let by_name = redis::Client::build_with_tls(url, files.trust()).unwrap();
    by_name.get_multiplexed_async_connection().await.unwrap();
    let _: String = server.connect().await.get("key").await.unwrap();
}

#[tokio::test]
async fn tls_can_demand_a_client_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles::generate(directory.path());
    let server = Server::builder()
        .tls(files.clone())
        .arg("--tls-auth-clients", "yes")
        .start()
        .await;

    let mut connection = server.connect_tls(files.trust_as_client()).await.unwrap();

    let _: () = connection.set("key", "value").await.unwrap();
    assert!(server.connect_tls(files.trust()).await.is_err());
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process_and_no_directory() {
    let server = Server::start().await;
    let (pid, directory) = (server.pid(), server.directory().to_owned());

    drop(server);

    assert!(!exists(pid));
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_killed_server_leaves_no_process_but_its_directory() {
    let server = Server::start().await;
    let pid = server.pid();

    server.kill9().await;

    assert!(!exists(pid));
    assert!(server.directory().exists());
}

#[tokio::test]
async fn a_server_that_dies_by_itself_can_be_restarted() {
    let server = Server::start().await;
    let pid = server.pid();

    let _ = redis::cmd("SHUTDOWN")
        .arg("NOSAVE")
        .exec_async(&mut server.connect().await)
        .await;
    eventually(SOON, "the server leaves", async || !exists(pid)).await;
    server.restart().await;

    let _: () = server.connect().await.set("key", "value").await.unwrap();
}

fn exists(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed());
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

fn port_of(url: &str) -> &str {
    Path::new(url)
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|address| address.rsplit_once(':'))
        .map_or("", |(_, port)| port)
}
