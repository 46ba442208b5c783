//! The program of `docs/getting-started.md`, word for word: invoices until Ctrl-C.
#![expect(clippy::print_stdout, reason = "examples say what they do")]

use redrive::{Broker, Message, Processor, Source};
use serde::Deserialize;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Deserialize)]
struct Invoice {
    number: u32,
    currency: String,
}

async fn send(invoice: Message<Invoice>) -> Result<(), Error> {
    let known = tokio::fs::read_to_string("currencies.txt").await?;
    if !known.lines().any(|currency| currency == invoice.currency) {
        // Tried again, by the options of the processor; a dead letter after the third time.
        return Err(format!("no rate for {}", invoice.currency).into());
    }
    println!("invoice {} in {}", invoice.number, invoice.currency);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let broker = Broker::connect(&std::env::var("REDRIVE_URL")?).await?;
    let mut processor = Processor::builder(&broker, Source::new("invoices", "office")?)
        .concurrency(32)
        .build(send)?;
    // On Ctrl-C it reads no more, finishes what runs, and hands back the rest.
    let totals = processor.run_until(tokio::signal::ctrl_c()).await?;
    println!(
        "{} succeeded, {} dead letters",
        totals.succeeded, totals.dead_lettered
    );
    Ok(())
}
