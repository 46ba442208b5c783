//! Two runs of one processor at the same time: they would be one consumer.

use redrive::Processor;

async fn twice(processor: &mut Processor) {
    let first = processor.run_until_idle();
    let second = processor.run_until_idle();
    let _ = (first.await, second.await);
}

fn main() {}
