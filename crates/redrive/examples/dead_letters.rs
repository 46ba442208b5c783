//! Looking at dead letters, repairing them, putting them back, removing the rest.
#![expect(clippy::print_stdout, reason = "examples say what they do")]

use redrive::{
    BoxError, Broker, Fields, Message, Page, Processor, ReplayOptions, RetryPolicy, Selection,
    Source,
};

async fn ship(parcel: Message<String>) -> Result<(), String> {
    match parcel.as_str() {
        "Norway" | "Chile" => Ok(()),
        other => Err(format!("no rate for {other:?}")),
    }
}

/// `norway` was meant to be `Norway`.
fn capitalise(fields: &Fields) -> Result<Fields, BoxError> {
    let country: String = serde_json::from_slice(fields.get("data").unwrap_or_default())?;
    let mut letters = country.chars();
    let first = letters.next().ok_or("a country without a name")?;
    let country: String = first.to_uppercase().chain(letters).collect();
    Ok(Fields::from_iter([("data", serde_json::to_vec(&country)?)]))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), redrive::Error> {
    let broker = Broker::connect("memory:").await?;
    let parcels = broker.producer("parcels".parse()?);
    let countries = ["Norway", "norway", "Chile", "Atlantis", ""].map(str::to_owned);
    parcels.send_all(&countries).await?;
    let mut processor = Processor::builder(&broker, Source::new("parcels", "shipping")?)
        .retry(RetryPolicy::immediate().max_attempts(2))
        .build(ship)?;
    let totals = processor.run_until_idle().await?;
    println!("{} shipped", totals.succeeded);

    let queue = broker.dead_letters("parcels:dlq".parse()?);
    for letter in queue.list(Page::default()).await?.dead_letters {
        println!("{}: {}", letter.id, letter.error.unwrap_or_default());
    }

    let repaired = ReplayOptions::default().migrate(capitalise);
    let report = queue.replay_many(&Selection::all(), &repaired).await?;
    for failure in &report.failures {
        println!("{} stays: {}", failure.id, failure.error);
    }
    let totals = processor.run_until_idle().await?;
    println!("{} replayed, {} shipped", report.replayed, totals.succeeded);

    let purged = queue.purge(&Selection::all()).await?.purged;
    println!("{purged} purged");
    Ok(())
}
