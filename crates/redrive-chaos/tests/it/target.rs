//! An HTTP server that counts effects: the handler of workers that may be killed at any time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redrive_chaos::account::Number;
use redrive_chaos::effects::Effects;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What the server makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 204.
    Done,
    /// 500: a failure.
    Failed,
    /// 422: a dead letter at once.
    Refused,
}

/// A message as it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) number: Number,
    pub(crate) attempt: u32,
}

/// The server; its handlers take `takes`, and then answer as they are told.
pub(crate) struct Target {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

struct Serving<F> {
    effects: Effects,
    takes: Duration,
    answer: F,
}

impl Target {
    /// Every message succeeds.
    pub(crate) async fn start(effects: &Effects, takes: Duration) -> Self {
        Self::answering(effects, takes, |_| Answer::Done).await
    }

    pub(crate) async fn answering(
        effects: &Effects,
        takes: Duration,
        answer: impl Fn(Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::new(Serving {
            effects: effects.clone(),
            takes,
            answer,
        });
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let _ = connection.set_nodelay(true);
                let serving = Arc::clone(&serving);
                connections.spawn(async move { serving.serve(connection).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, serving }
    }

    /// The URL for one consumer: whoever asks there is that consumer.
    pub(crate) fn url(&self, consumer: &str) -> String {
        format!("http://{}/{consumer}", self.address)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl<F: Fn(Asked) -> Answer> Serving<F> {
    /// Requests of one connection, one after the other, until it is closed.
    async fn serve(&self, mut connection: TcpStream) {
        let mut buffer = Vec::new();
        while let Some((consumer, asked)) = read(&mut connection, &mut buffer).await {
            self.effects.started(asked.number, &consumer).await.unwrap();
            // The run goes on whether or not somebody waits for the answer: as with any server.
            if !self.takes.is_zero() {
                tokio::time::sleep(self.takes).await;
            }
            let line = match (self.answer)(asked) {
                Answer::Done => {
                    self.effects.succeeded(asked.number).await.unwrap();
                    "204 No Content"
                }
                Answer::Failed => "500 Internal Server Error",
                Answer::Refused => "422 Unprocessable Content",
            };
            let answer = format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n");
            if connection.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// One request: who asks, and for what. `None` where the connection ends, or was cut in the middle of one.
async fn read(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Asked)> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if connection.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    };
    let length: usize = header("content-length").unwrap().parse().unwrap();
    while buffer.len() < end + length {
        if connection.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    let body = std::str::from_utf8(&buffer[end..end + length]).unwrap();
    let asked = Asked {
        number: body.parse().unwrap(),
        attempt: header("redrive-attempt").unwrap().parse().unwrap(),
    };
    let path = head.split(' ').nth(1).unwrap();
    let consumer = path.trim_start_matches('/').to_owned();
    buffer.drain(..end + length);
    Some((consumer, asked))
}
