//! Servers as handlers, against a small one of the test's own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redrive_testkit::{Server, TlsFiles, eventually};
use rustix::process::Signal;
use tokio::net::TcpListener;

use super::target::{Asked, Target, status};
use super::{Rig, SOON, totals};

#[tokio::test]
async fn a_server_gets_each_message_over_connections_that_are_kept() {
    let mut rig = Rig::start().await;
    rig.add(200).await;
    let target = Target::start(|_| status("200 OK", "", "thank you")).await;
    let ended = rig
        .drain(&["--concurrency", "4", "--http", &target.url()])
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended), [200, 0, 0, 0, 0, 0, 0]);
    let mut handled: Vec<u32> = target.asked().iter().map(Asked::n).collect();
    handled.sort_unstable();
    assert_eq!(handled, (1..=200).collect::<Vec<_>>());
    let connections = target.connections.load(Ordering::SeqCst);
    assert!(
        connections <= 4,
        "{connections} connections for 200 requests, 4 at once"
    );
}

/// A server may close a connection between two requests. What comes next goes over a new one: nothing fails.
#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_fails_nothing() {
    let mut rig = Rig::start().await;
    let target = Target::start_hasty(|_| status("200 OK", "", "thank you")).await;
    let run = rig.run(&["--max-attempts", "1", "-o", "json", "--http", &target.url()]);
    for n in 1..=5 {
        // The one before it is closed before this is added.
        eventually(SOON, "a connection closed", async || {
            target.closed.load(Ordering::SeqCst) == n - 1
        })
        .await;
        rig.add(1).await;
    }
    eventually(SOON, "all handled", async || target.asked().len() == 5).await;
    run.signal(Signal::TERM);
    let ended = run.ended().await;
    assert_eq!(totals(&ended), [5, 0, 0, 0, 0, 0, 0], "{}", ended.stderr);
    assert_eq!(target.connections.load(Ordering::SeqCst), 5);
}

/// However the end of an answer is told, the connection is used again, unless the server wants it closed.
#[tokio::test]
async fn a_connection_is_used_again_after_an_answer_in_chunks() {
    let chunks = "HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: chunked\r\n\r\n4\r\nno s\r\n7\r\nuch day\r\n0\r\n\r\n";
    for (answer, connections, told) in [
        (chunks.to_owned(), 1, "no such day"),
        (
            chunks.replace("\r\n\r\n4", "\r\nconnection: close\r\n\r\n4"),
            3,
            "no such day",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
            1,
            "",
        ),
    ] {
        let mut rig = Rig::start().await;
        rig.add(1).await;
        let target = Target::start(move |_| Some(answer.clone())).await;
        let args = ["--max-attempts", "3", "--http", &target.url()];
        let ended = rig.drain(&args).await;
        assert_eq!(totals(&ended)[5], 1, "{}", ended.stderr);
        let error = rig.only_dead().await("redrive-error");
        assert_eq!(
            error
                .trim_end_matches([':', ' '])
                .strip_prefix("status 500 Internal Server Error"),
            Some(
                if told.is_empty() {
                    String::new()
                } else {
                    format!(": {told}")
                }
                .as_str()
            )
        );
        assert_eq!(target.connections.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn a_request_says_what_is_known_of_its_message() {
    let mut rig = Rig::start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let first = rig
        .add_fields(&[(b"a", b"\xff"), (b"traceparent", trace.as_bytes())])
        .await;
    let second = rig
        .add_fields(&[(b"a", b"x\"y"), (b"traceparent", b"no\nheader: value")])
        .await;
    let target = Target::start(|_| status("204 No Content", "", "")).await;
    let url = format!("http://us%40er:pass@127.0.0.1:{}/a/b?c=d", target.port);
    let field = rig
        .drain(&["--concurrency", "1", "--field", "a", "--http", &url])
        .await;
    assert_eq!(totals(&field)[0], 2, "{}", field.stderr);
    let asked = target.asked();
    assert!(
        asked[0].head.starts_with("POST /a/b?c=d HTTP/1.1\r\n"),
        "{}",
        asked[0].head
    );
    let stream = rig.stream.as_str();
    let host = format!("127.0.0.1:{}", target.port);
    for (name, value) in [
        ("host", &*host),
        ("content-type", "application/octet-stream"),
        ("redrive-id", &*first),
        ("redrive-stream", stream),
        ("redrive-group", "g"),
        ("redrive-attempt", "1"),
        ("traceparent", trace),
        ("authorization", "Basic dXNAZXI6cGFzcw=="),
    ] {
        assert_eq!(asked[0].header(name), Some(value), "{name}");
    }
    assert_eq!(asked[0].body, b"\xff");
    assert_eq!(asked[1].header("redrive-id"), Some(&*second));
    assert_eq!(asked[1].header("traceparent"), None);
    assert_eq!(asked[1].header("header"), None);

    rig.add(1).await;
    let all = rig.drain(&["--http", &target.url()]).await;
    assert_eq!(totals(&all)[0], 1);
    let last = target.asked().pop().unwrap();
    assert_eq!(last.header("content-type"), Some("application/json"));
    assert_eq!(last.body, br#"{"n":"1"}"#);
}

#[tokio::test]
async fn a_status_is_a_verdict_and_the_first_line_of_the_body_its_error() {
    let mut rig = Rig::start().await;
    rig.add(4).await;
    let target = Target::start(|asked| match asked.n() {
        1 => status(
            "422 Unprocessable Content",
            "",
            "\nno such order\nat line 7",
        ),
        2 => status("500 Internal Server Error", "", ""),
        3 => status("302 Found", "location: /elsewhere\r\n", ""),
        _ => status("201 Created", "", ""),
    })
    .await;
    let ended = rig
        .drain(&["--max-attempts", "2", "--http", &target.url()])
        .await;
    assert_eq!(totals(&ended), [1, 5, 2, 0, 0, 3, 0], "{}", ended.stderr);
    let mut found: Vec<[String; 3]> = Vec::new();
    for fields in rig.dead().await {
        let field = |name: &str| {
            fields
                .iter()
                .find(|(known, _)| known == name)
                .unwrap()
                .1
                .clone()
        };
        found.push(["redrive-reason", "redrive-error", "redrive-error-kind"].map(field));
    }
    found.sort();
    assert_eq!(
        found,
        [
            ["attempts_exhausted", "status 302 Found", "http 302"],
            [
                "attempts_exhausted",
                "status 500 Internal Server Error",
                "http 500"
            ],
            [
                "rejected",
                "status 422 Unprocessable Entity: no such order",
                "http 422"
            ],
        ]
    );
    assert!(
        !target
            .asked()
            .iter()
            .any(|asked| asked.head.contains("elsewhere"))
    );
}

#[tokio::test]
async fn retry_after_is_heeded() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&times);
    let target = Target::start(move |_| {
        let mut times = noting.lock().unwrap();
        times.push(Instant::now());
        match times.len() {
            1 => status("429 Too Many Requests", "retry-after: 2\r\n", ""),
            2 => status("503 Service Unavailable", "retry-after: 0\r\n", ""),
            _ => status("200 OK", "", ""),
        }
    })
    .await;
    // The backoff says a minute: it is not what counts here.
    let args = [
        "--until-idle",
        "--backoff",
        "1m",
        "-o",
        "json",
        "--http",
        &target.url(),
    ];
    let ended = rig.run(&args).ended().await;
    assert_eq!(totals(&ended), [1, 2, 2, 0, 0, 0, 0], "{}", ended.stderr);
    let times = times.lock().unwrap();
    let waited = times[1] - times[0];
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    assert!(times[2] - times[0] < Duration::from_secs(30));
}

/// Nobody listens at the port, then somebody does: nothing was charged, one line said so.
#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let mut rig = Rig::start().await;
    rig.add(20).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("http://u:hunter2@127.0.0.1:{port}/?token=hunter2");
    let args = [
        "-v",
        "--concurrency",
        "1",
        "--max-attempts",
        "1",
        "--until-idle",
        "-o",
        "json",
        "--http",
        &url,
    ];
    let run = rig.run(&args);
    eventually(SOON, "some probes", async || {
        run.said().matches(" deferred ").count() >= 4
    })
    .await;
    assert!(rig.dead().await.is_empty());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let target = Target::on(listener, |_| status("200 OK", "", ""));
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let totals = totals(&ended);
    assert_eq!((totals[0], totals[1], totals[5]), (20, 0, 0), "{totals:?}");
    assert_eq!(target.asked().len(), 20);
    let told = format!("connecting to http://127.0.0.1:{port}");
    assert_eq!(
        ended.stderr.matches("handler cannot run").count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

/// A connection that breaks when the request was sent, and a server that is too slow: both may
/// have done the work, both are charged.
#[tokio::test]
async fn no_answer_is_a_failure() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let target = Target::start(|_| None).await;
    let ended = rig
        .drain(&["--max-attempts", "2", "--http", &target.url()])
        .await;
    assert_eq!(totals(&ended), [0, 2, 1, 0, 0, 1, 0], "{}", ended.stderr);
    assert_eq!(target.asked().len(), 2);
    let dead = rig.only_dead().await;
    assert_eq!(dead("redrive-error-kind"), "connection");
    let told = format!("no answer from http://127.0.0.1:{}: ", target.port);
    assert!(
        dead("redrive-error").starts_with(&told),
        "{}",
        dead("redrive-error")
    );

    let mut rig = Rig::start().await;
    rig.add(1).await;
    let target = Target::start(|_| Some(String::new())).await;
    let ended = rig
        .drain(&[
            "--max-attempts",
            "1",
            "--timeout",
            "400ms",
            "--http",
            &target.url(),
        ])
        .await;
    assert_eq!(totals(&ended), [0, 1, 0, 0, 0, 1, 0], "{}", ended.stderr);
    let dead = rig.only_dead().await;
    assert_eq!(dead("redrive-error-kind"), "timeout");
    assert_eq!(dead("redrive-error"), "timed out after 400ms");
}

#[tokio::test]
async fn an_answer_of_any_length_does_no_harm() {
    let mut rig = Rig::start().await;
    rig.add(2).await;
    let target = Target::start(|asked| match asked.n() {
        1 => status("200 OK", "", &"x".repeat(1 << 20)),
        // Less than it promised: the status has said it all.
        _ => Some(
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 999\r\n\r\nbad ".to_owned()
                + &"y".repeat(100),
        ),
    })
    .await;
    let ended = rig.drain(&["--http", &target.url()]).await;
    assert_eq!(totals(&ended), [1, 1, 0, 0, 0, 1, 0], "{}", ended.stderr);
    let error = rig.only_dead().await("redrive-error");
    assert_eq!(
        error,
        format!("status 400 Bad Request: bad {}", "y".repeat(100))
    );
}

#[tokio::test]
async fn the_drain_time_ends_a_request() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let target = Target::start(|_| Some(String::new())).await;
    let run = rig.run(&["--drain", "200ms", "-o", "json", "--http", &target.url()]);
    eventually(SOON, "a request", async || !target.asked().is_empty()).await;
    run.signal(Signal::TERM);
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert_eq!(totals(&ended), [0, 0, 0, 0, 1, 0, 0]);
}

/// The environment names a proxy, which is not asked.
#[tokio::test]
async fn no_proxy_is_taken_from_the_environment() {
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let target = Target::start(|_| status("200 OK", "", "")).await;
    let (stream, url, server) = (rig.stream.clone(), target.url(), rig.server.url());
    let line = [
        "--url",
        &server,
        "run",
        &stream,
        "-g",
        "g",
        "--until-idle",
        "-o",
        "json",
        "--http",
        &url,
    ];
    let proxy = "http://127.0.0.1:1";
    let environment = [
        ("HTTP_PROXY", proxy),
        ("http_proxy", proxy),
        ("ALL_PROXY", proxy),
    ];
    let ended = super::Running::start_with(&line, &environment)
        .ended()
        .await;
    assert_eq!(totals(&ended)[0], 1, "{}", ended.stderr);
}

/// The TLS port of a Redis server does for a handshake: with an authority that is not trusted
/// nothing is charged; with one that is, the request is sent and gets no HTTP answer.
#[tokio::test]
async fn tls_is_verified_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles::generate(folder.path());
    let peer = Server::builder().tls(files.clone()).start().await;
    let url = peer.tls_url().replace("rediss://", "https://");
    let mut rig = Rig::start().await;
    rig.add(1).await;
    let (server, stream) = (rig.server.url(), rig.stream.clone());
    let line = [
        "--url",
        &server,
        "run",
        &stream,
        "-g",
        "g",
        "--max-attempts",
        "1",
        "--until-idle",
        "-o",
        "json",
        "--http",
        &url,
    ];
    let run = super::Running::start(&line);
    run.says("handler cannot run").await;
    assert!(
        run.said().contains("invalid peer certificate"),
        "{}",
        run.said()
    );
    run.signal(Signal::TERM);
    let ended = run.ended().await;
    let unsent = totals(&ended);
    assert_eq!((unsent[1], unsent[5]), (0, 0), "{}", ended.stderr);

    let trust = [("SSL_CERT_FILE", files.ca().to_str().unwrap())];
    let ended = super::Running::start_with(&line, &trust).ended().await;
    assert_eq!(totals(&ended)[1], 1, "{}", ended.stderr);
    assert_eq!(rig.only_dead().await("redrive-error-kind"), "connection");
}
