//! What is put on a stream before a clock runs, and the work of getting it off again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use redis::aio::MultiplexedConnection;
use redis::pipe;
use tokio::sync::watch;
use tokio::time::Instant;

use super::server::failed;
use crate::failure::Failure;

/// How many bytes go into one pipeline, about.
const PIPELINE: usize = 256 * 1024;
/// The field that typed codecs read.
const FIELD: &str = "data";

/// What is in the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// So many bytes.
    Bytes(usize),
    /// An object of ten fields, as [`Order`](super::drain::Order).
    Json,
}

impl Payload {
    pub(crate) fn of(self, number: u64) -> String {
        match self {
            Self::Bytes(many) => "x".repeat(many),
            Self::Json => format!(
                r#"{{"id":{number},"customer":"customer {}","email":"somebody{}@example.com","cents":{},"currency":"EUR","paid":true,"items":{},"street":"Long Street {}","city":"Springfield","express":false}}"#,
                number % 977,
                number % 977,
                number % 50_000,
                number % 7,
                number % 120,
            ),
        }
    }
}

/// Adds so many messages to a stream.
pub(crate) async fn fill(
    to: &mut MultiplexedConnection,
    stream: &str,
    many: u64,
    payload: Payload,
) -> Result<(), Failure> {
    let mut number = 0;
    while number < many {
        let (mut load, mut size) = (pipe(), 0);
        while number < many && size < PIPELINE {
            let text = payload.of(number);
            size += text.len() + 60;
            load.cmd("XADD")
                .arg(stream)
                .arg("*")
                .arg(FIELD)
                .arg(text)
                .ignore();
            number += 1;
        }
        let added: Result<(), _> = load.query_async(to).await;
        added.map_err(failed)?;
    }
    Ok(())
}

/// So many runs of a handler, counted; who waits for the last one is told.
#[derive(Clone, Debug)]
pub(crate) struct Work(Arc<State>);

#[derive(Debug)]
struct State {
    expected: u64,
    done: AtomicU64,
    over: watch::Sender<bool>,
    over_at: OnceLock<Instant>,
}

impl Work {
    pub(crate) fn new(expected: u64) -> Self {
        Self(Arc::new(State {
            expected,
            done: AtomicU64::new(0),
            over: watch::Sender::new(false),
            over_at: OnceLock::new(),
        }))
    }

    /// One more.
    pub(crate) fn one(&self) {
        let before = self.0.done.fetch_add(1, Ordering::Relaxed);
        if before + 1 == self.0.expected {
            let _ = self.0.over_at.set(Instant::now());
            self.0.over.send_replace(true);
        }
    }

    /// Resolves when all are done.
    pub(crate) fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut over = self.0.over.subscribe();
        async move {
            // The sender lives as long as the work does; without it nothing more will come.
            let _ = over.wait_for(|over| *over).await;
        }
    }

    /// When the last one began.
    pub(crate) fn over_at(&self) -> Option<Instant> {
        self.0.over_at.get().copied()
    }

    pub(crate) fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }
}
