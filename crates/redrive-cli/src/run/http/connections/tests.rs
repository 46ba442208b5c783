//! Against servers that do one thing each.

use std::net::SocketAddr;

use hyper::StatusCode;
use hyper::header::HOST;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

fn connections(to: SocketAddr) -> Connections {
    let to = format!("http://{to}/").parse().unwrap();
    Connections::new(Connector::Plain(HttpConnector::new()), to)
}

fn request() -> Request<Full<Bytes>> {
    let request = Request::post("/").header(HOST, "here");
    request.body(Full::new(Bytes::from_static(b"x"))).unwrap()
}

/// Asks, and keeps the connection.
async fn ask(connections: &Connections) -> Result<StatusCode, Lost> {
    let (answer, open) = connections.send(request()).await?;
    connections.keep(open);
    Ok(answer.status())
}

/// Reads one request; whether there was one.
async fn is_asked(connection: &mut TcpStream) -> bool {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\nx") {
        if connection.read_buf(&mut got).await.unwrap() == 0 {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_connection_is_kept_for_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connections = connections(listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut asked = 0;
        while is_asked(&mut connection).await {
            asked += 1;
            connection.write_all(ANSWER).await.unwrap();
        }
        asked
    });
    for _ in 0..3 {
        assert_eq!(ask(&connections).await, Ok(StatusCode::NO_CONTENT));
    }
    assert_eq!(connections.kept.inside().open.len(), 1);
    tokio::time::pause();
    tokio::time::advance(KEPT).await;
    // Closed, or the server would wait for another request.
    assert_eq!(serving.await.unwrap(), 3);
    let inside = connections.kept.inside();
    assert!(inside.open.is_empty() && !inside.is_watched);
}

#[tokio::test]
async fn one_that_is_too_old_is_not_used() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connections = connections(listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut open = Vec::new();
        for _ in 0..2 {
            let (mut connection, _) = listener.accept().await.unwrap();
            assert!(is_asked(&mut connection).await);
            connection.write_all(ANSWER).await.unwrap();
            open.push(connection);
        }
        open
    });
    assert_eq!(ask(&connections).await, Ok(StatusCode::NO_CONTENT));
    // As if the task that closes them had not had its turn yet.
    let back = Instant::now().checked_sub(KEPT).unwrap();
    connections.kept.inside().open[0].0 = back;
    assert_eq!(ask(&connections).await, Ok(StatusCode::NO_CONTENT));
    serving.await.unwrap();
}

/// Of several, that which was used last: the others grow old.
#[tokio::test]
async fn as_many_connections_as_there_are_requests_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connections = connections(listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut one, _) = listener.accept().await.unwrap();
        let (mut two, _) = listener.accept().await.unwrap();
        for connection in [&mut one, &mut two] {
            assert!(is_asked(connection).await);
        }
        for connection in [&mut one, &mut two] {
            connection.write_all(ANSWER).await.unwrap();
        }
        (one, two)
    });
    let (one, two) = tokio::join!(ask(&connections), ask(&connections));
    assert_eq!(
        (one, two),
        (Ok(StatusCode::NO_CONTENT), Ok(StatusCode::NO_CONTENT))
    );
    assert_eq!(connections.kept.inside().open.len(), 2);
    let last = Arc::as_ptr(&connections.kept.inside().open[1].1.driver.bell);
    let taken = connections.kept.take().unwrap();
    assert_eq!(Arc::as_ptr(&taken.driver.bell), last);
    serving.await.unwrap();
}

/// A request that ends before its answer takes its connection with it: the answer must not be taken for that of
/// the next one.
#[tokio::test]
async fn a_request_that_is_given_up_is_not_followed_on_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connections = connections(listener.local_addr().unwrap());
    let (tell, told) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(async move {
        let (mut one, _) = listener.accept().await.unwrap();
        assert!(is_asked(&mut one).await);
        tell.send(()).unwrap();
        // Whoever asked is gone.
        assert!(!matches!(one.read(&mut [0]).await, Ok(1..)));
        let (mut two, _) = listener.accept().await.unwrap();
        assert!(is_asked(&mut two).await);
        two.write_all(ANSWER).await.unwrap();
    });
    tokio::select! {
        _ = ask(&connections) => panic!("nobody answers"),
        asked = told => asked.unwrap(),
    }
    assert_eq!(ask(&connections).await, Ok(StatusCode::NO_CONTENT));
    serving.await.unwrap();
}

#[tokio::test]
async fn nothing_was_sent_where_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connections = connections(listener.local_addr().unwrap());
    drop(listener);
    let lost = ask(&connections).await.unwrap_err();
    assert!(matches!(lost, Lost::Unconnected(_)), "{lost:?}");
}
