//! A handler that keeps state: a client, a pool, a counter. Two ways to write it.
#![expect(clippy::print_stdout, reason = "examples say what they do")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redrive::{Broker, Handler, Message, Outcome, Processor, Source};

/// A struct of yours may be the handler.
struct Totalling {
    total: Arc<AtomicU64>,
}

impl Handler<u64> for Totalling {
    async fn handle(&self, cents: Message<u64>) -> Outcome {
        self.total.fetch_add(*cents, Ordering::Relaxed);
        Outcome::Ack
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), redrive::Error> {
    let broker = Broker::connect("memory:").await?;
    let cents = broker.producer("cents".parse()?);
    cents.send_all(&[100, 20, 3]).await?;

    let total = Arc::new(AtomicU64::new(0));
    let handler = Totalling {
        total: Arc::clone(&total),
    };
    let source = Source::new("cents", "as a struct")?;
    Processor::builder(&broker, source)
        .build(handler)?
        .run_until_idle()
        .await?;
    println!("{} by a struct", total.load(Ordering::Relaxed));

    // A closure hands each run its own share of the state.
    let shared = Arc::clone(&total);
    let closure = move |cents: Message<u64>| {
        let total = Arc::clone(&shared);
        async move {
            total.fetch_add(*cents, Ordering::Relaxed);
        }
    };
    let source = Source::new("cents", "as a closure")?;
    Processor::builder(&broker, source)
        .build(closure)?
        .run_until_idle()
        .await?;
    println!("{} by both", total.load(Ordering::Relaxed));
    Ok(())
}
