//! What is no handler at all.

use redrive::{Broker, Processor, Source};

struct Billing;

fn main() {
    let broker: Broker = todo!();
    let source = Source::new("orders", "billing").unwrap();
    let _ = Processor::builder(&broker, source).build::<u32, _>(Billing);
}
