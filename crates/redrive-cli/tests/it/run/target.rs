//! A small HTTP server of a test's own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a request was: its head, line by line, and its body.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn n(&self) -> u32 {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["n"].as_str().unwrap().parse().unwrap()
    }
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Listen,
    Close,
}

/// An HTTP server that answers with what it is given, and remembers.
pub(super) struct Target {
    pub(super) port: u16,
    pub(super) connections: Arc<AtomicUsize>,
    /// How many of them were closed.
    pub(super) closed: Arc<AtomicUsize>,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Target {
    /// `answer` is given each request; what it answers is sent as it is, and nothing closes the connection.
    pub(super) async fn start(
        answer: impl Fn(&Asked) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answer)
    }

    /// One that closes each connection after an answer, without having said so.
    pub(super) async fn start_hasty(
        answer: impl Fn(&Asked) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serving(listener, answer, Then::Close)
    }

    pub(super) fn on(
        listener: TcpListener,
        answer: impl Fn(&Asked) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::serving(listener, answer, Then::Listen)
    }

    fn serving(
        listener: TcpListener,
        answer: impl Fn(&Asked) -> Option<String> + Send + Sync + 'static,
        then: Then,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let closed = Arc::new(AtomicUsize::new(0));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&asked));
        let ended = Arc::clone(&closed);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                let ended = Arc::clone(&ended);
                tokio::spawn(async move {
                    serve(connection, &*answer, &noted, then).await;
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            port,
            connections,
            closed,
            asked,
            serving,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/orders?a=b", self.port)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut connection: TcpStream,
    answer: &(dyn Fn(&Asked) -> Option<String> + Send + Sync),
    noted: &Mutex<Vec<Asked>>,
    then: Then,
) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if connection.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
        let mut asked = Asked {
            head,
            body: Vec::new(),
        };
        let length: usize = asked.header("content-length").unwrap().parse().unwrap();
        while buffer.len() < end + length {
            if connection.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        asked.body = buffer[end..end + length].to_vec();
        buffer.drain(..end + length);
        noted.lock().unwrap().push(asked.clone());
        let Some(text) = answer(&asked) else { return };
        if connection.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        if then == Then::Close {
            return;
        }
    }
}

pub(super) fn status(line: &str, headers: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {line}\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))
}
