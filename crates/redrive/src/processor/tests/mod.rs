//! The engine on the memory backend, under tokio's paused clock: no test waits for real time.

mod breaking;
mod counting;
mod diary;
mod doubles;
mod faults;
mod gate;
mod limits;
mod logs;
mod naming;
mod ordering;
mod outcomes;
mod pausing;
mod quarantine;
mod reading;
mod recovery;
mod refusing;
mod spilling;
mod stopping;
mod trimming;

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{Processor, ProcessorBuilder};
use crate::backend::IdRange;
use crate::broker::Broker;
use crate::dead_letter::{self, DeadLetter};
use crate::handler::Handler;
use crate::message::Message;
use crate::names::{EntryId, Source};
use crate::producer::Producer;
use crate::selection::Order;

const SECOND: Duration = Duration::from_secs(1);

/// A stream of numbers on a broker of its own.
struct Lab {
    broker: Broker,
    source: Source,
    producer: Producer,
}

impl Lab {
    async fn new() -> Self {
        Self::over(Broker::connect("memory:").await.unwrap())
    }

    fn over(broker: Broker) -> Self {
        let source = Source::new("orders", "billing").unwrap();
        Self {
            producer: broker.producer(source.stream.clone()),
            source,
            broker,
        }
    }

    async fn with(messages: u32) -> Self {
        let lab = Self::new().await;
        lab.send(messages).await;
        lab
    }

    async fn send(&self, messages: u32) {
        let numbers: Vec<u32> = (0..messages).collect();
        self.producer.send_all(&numbers).await.unwrap();
    }

    fn worker(&self) -> ProcessorBuilder {
        Processor::builder(&self.broker, self.source.clone())
    }

    async fn pending(&self) -> u64 {
        let stats = self.broker.stats(&self.source).await.unwrap();
        stats.pending_messages.unwrap()
    }

    async fn dead_letters(&self) -> Vec<DeadLetter> {
        let dlq = self.source.stream.default_dead_letters();
        let range = IdRange {
            low: EntryId::MIN,
            high: EntryId::MAX,
            order: Order::Oldest,
            limit: 10_000,
        };
        let entries = self.broker.backend().entries(&dlq, range).await.unwrap();
        entries
            .into_iter()
            .map(|entry| dead_letter::read(entry.id, entry.fields))
            .collect()
    }
}

/// A run that a handler saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    number: u32,
    attempt: u32,
    at: Duration,
}

/// What handlers saw, in order.
#[derive(Clone)]
struct Log {
    start: Instant,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Log {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            seen: Arc::default(),
        }
    }

    fn note(&self, message: &Message<u32>) {
        self.seen.lock().unwrap().push(Seen {
            number: **message,
            attempt: message.attempt(),
            at: self.start.elapsed(),
        });
    }

    /// A handler that does nothing else.
    fn noting(&self) -> impl Handler<u32> {
        let log = self.clone();
        move |message: Message<u32>| {
            log.note(&message);
            ready(())
        }
    }

    fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn attempts(&self) -> Vec<u32> {
        self.all().iter().map(|seen| seen.attempt).collect()
    }

    fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.all().iter().map(|seen| seen.number).collect();
        numbers.sort_unstable();
        numbers
    }
}
