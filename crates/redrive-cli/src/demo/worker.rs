//! The workers of the demo.

use std::sync::Arc;
use std::time::Duration;

use redrive::{
    Broker, Message, Outcome, Processor, ProcessorBuilder, RetryPolicy, Source, StreamKey,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::orders::{self, Billing, Order};
use super::story::say;
use crate::failure::Failure;

/// How long a worker of the demo may be silent.
pub(super) const LEASE: Duration = Duration::from_secs(2);
/// How many orders a worker of the demo handles at once; the first one dies with so many in hand.
pub(super) const IN_HAND: usize = 3;
/// The first worker meets a bank that hangs from this order on.
const HANGS_FROM: u32 = 6;

pub(super) fn source(stream: &StreamKey) -> Result<Source, Failure> {
    Ok(Source::new(stream.as_str(), "billing")?)
}

fn builder(broker: &Broker, source: Source) -> ProcessorBuilder {
    Processor::builder(broker, source)
        .lease(LEASE)
        .concurrency(IN_HAND)
        .batch(10)
        .prefetch(7)
        .retry(RetryPolicy::fixed(Duration::from_millis(400)))
}

/// The worker that dies: charges a few orders, then hangs in an await with three in hand.
/// Each order in hand is reported.
pub(super) fn first(
    broker: &Broker,
    source: Source,
) -> Result<(Processor, UnboundedReceiver<u32>), Failure> {
    let (in_hand, reported) = unbounded_channel();
    let in_hand: Arc<UnboundedSender<u32>> = Arc::new(in_hand);
    let processor = builder(broker, source).build(move |order: Message<Order>| {
        let in_hand = Arc::clone(&in_hand);
        async move {
            if order.number < HANGS_FROM {
                return charged(&order, Billing::AsDeployed);
            }
            // Nobody listens any more: the demo is over.
            let _ = in_hand.send(order.number);
            std::future::pending::<Outcome>().await
        }
    })?;
    Ok((processor, reported))
}

/// The worker that takes over.
pub(super) fn second(
    broker: &Broker,
    source: Source,
    billing: Billing,
) -> Result<Processor, Failure> {
    Ok(builder(broker, source)
        .build(move |order: Message<Order>| async move { charged(&order, billing) })?)
}

fn charged(order: &Message<Order>, billing: Billing) -> Outcome {
    let outcome = orders::charge(order, billing);
    let attempt = match order.attempt() {
        1 => String::new(),
        attempt => format!(" (attempt {attempt})"),
    };
    let number = order.number;
    match &outcome {
        Outcome::Retry { failure, .. } => {
            let text = failure
                .error
                .rsplit_once(": ")
                .map_or(&*failure.error, |(_, last)| last);
            say(&format!("    order {number:>2}{attempt}: fails, {text}"));
        }
        Outcome::DeadLetter { failure } => {
            say(&format!(
                "    order {number:>2}{attempt}: rejected, {}",
                failure.error
            ));
        }
        _ => say(&format!("    order {number:>2}{attempt}: charged")),
    }
    outcome
}

/// The worker that dies, in a process of its own: reads the URL from stdin, says on stdout when it has its orders in hand.
/// It ends when stdin does, too: then its demo was killed, and nobody else would end it.
pub(super) async fn first_in_a_process(stream: StreamKey) -> Result<(), Failure> {
    let mut url = String::new();
    std::io::stdin().read_line(&mut url)?;
    let broker = Broker::connect(url.trim()).await?;
    let (mut processor, mut in_hand) = first(&broker, source(&stream)?)?;
    let working = processor.run_until(std::future::pending::<()>());
    let reporting = async {
        let mut held = 0;
        while in_hand.recv().await.is_some() {
            held += 1;
            if held == IN_HAND {
                say("in hand");
            }
        }
    };
    tokio::select! {
        ended = working => ended.map(drop).map_err(Failure::from),
        () = reporting => Ok(()),
        () = end_of_stdin() => Ok(()),
    }
}

/// On a thread of its own, for nothing can end a read of stdin but stdin: the process does not wait for it.
async fn end_of_stdin() {
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // That it cannot be read any more is its end as well.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(ended);
    });
    let _ = end.await;
}
