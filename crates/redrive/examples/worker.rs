//! A worker that works until it is told to stop, and stops politely.
//!
//! `cargo run --example worker -- redis://127.0.0.1:6379`; without a URL on a broker in memory.
#![expect(clippy::print_stdout, reason = "examples say what they do")]

use std::time::Duration;

use redrive::{Broker, Message, Outcome, Processor, RetryPolicy, Source};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    number: u32,
    cents: i64,
}

async fn bill(order: Message<Order>) -> Result<Outcome, std::io::Error> {
    if order.cents < 0 {
        return Ok(Outcome::dead_letter("the total is negative"));
    }
    if order.attempt() == 1 && order.number.is_multiple_of(5) {
        return Err(std::io::Error::other("the bank did not answer"));
    }
    Ok(Outcome::Ack)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("memory:".to_owned());
    let broker = Broker::connect(&url).await?;
    let source = Source::new("example:orders", "billing")?;
    let orders: Vec<Order> = (1..=20)
        .map(|number| Order {
            number,
            cents: if number == 13 { -1 } else { 250 },
        })
        .collect();
    broker
        .producer(source.stream.clone())
        .send_all(&orders)
        .await?;

    let mut processor = Processor::builder(&broker, source.clone())
        .concurrency(8)
        .retry(RetryPolicy::fixed(Duration::from_millis(100)))
        .drain(Duration::from_secs(10))
        .build(bill)?;
    // In a service: tokio::signal::ctrl_c(), or whatever else ends it.
    let stop = tokio::time::sleep(Duration::from_secs(2));
    let totals = processor.run_until(stop).await?;
    println!(
        "{} succeeded, {} retried, {} dead letters",
        totals.succeeded, totals.retried, totals.dead_lettered
    );
    Ok(())
}
