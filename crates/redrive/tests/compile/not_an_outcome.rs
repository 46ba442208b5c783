//! A handler that returns what is no outcome.

use redrive::{Broker, Message, Processor, Source};

async fn handle(_: Message<u32>) -> u32 {
    7
}

fn main() {
    let broker: Broker = todo!();
    let source = Source::new("orders", "billing").unwrap();
    let _ = Processor::builder(&broker, source).build(handle);
}
