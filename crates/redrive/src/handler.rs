//! What runs for each message.

use std::future::Future;

use crate::message::Message;
use crate::outcome::{IntoOutcome, Outcome};

/// What runs for each message: an async function or closure that takes a [`Message`] and returns
/// anything that is [`IntoOutcome`], or a type of your own.
///
/// ```
/// use redrive::{Broker, Message, Processor, Source};
/// async fn bill(cents: Message<u32>) -> Result<(), std::num::TryFromIntError> {
///     let _charged = u8::try_from(*cents)?;
///     Ok(())
/// }
/// # async fn example(broker: &Broker) -> Result<(), redrive::Error> {
/// let processor = Processor::builder(broker, Source::new("orders", "billing")?).build(bill)?;
/// # Ok(()) }
/// ```
///
/// A number is no outcome, and the compiler says what is:
///
/// ```compile_fail,E0277
/// # use redrive::{Broker, Message, Processor, Source};
/// async fn bill(cents: Message<u32>) -> u32 {
///     *cents
/// }
/// # async fn example(broker: &Broker) -> Result<(), redrive::Error> {
/// let processor = Processor::builder(broker, Source::new("orders", "billing")?).build(bill)?;
/// # Ok(()) }
/// ```
///
/// A closure that keeps state gives each run a share of its own, since runs go on at the same time:
///
/// ```
/// # use std::sync::Arc;
/// # use std::sync::atomic::{AtomicU64, Ordering};
/// # use redrive::{Broker, Message, Processor, Source};
/// # async fn example(broker: &Broker) -> Result<(), redrive::Error> {
/// let total = Arc::new(AtomicU64::new(0));
/// let processor = Processor::builder(broker, Source::new("orders", "totals")?).build(
///     move |cents: Message<u64>| {
///         let total = Arc::clone(&total);
///         async move {
///             total.fetch_add(*cents, Ordering::Relaxed);
///         }
///     },
/// )?;
/// # Ok(()) }
/// ```
///
/// A handler that panics fails this one message. A handler that blocks its thread holds up the
/// others on that thread: use `tokio::task::spawn_blocking` for blocking work.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of `{T}`",
    label = "not a handler",
    note = "a handler is an `async fn(Message<T>)`, or a closure like it, that returns `()`, \
            `bool`, `Outcome`, or a `Result` of one of these with any error",
    note = "for a handler that keeps state, implement `Handler<T>` for a struct of yours"
)]
pub trait Handler<T>: Send + Sync + 'static {
    /// Runs for one message.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at an await when its time-out is over, or when the drain time and the
    /// [grace](crate::ProcessorOptions::grace) after it are: keep nothing half done across an await that a second run cannot finish.
    fn handle(&self, message: Message<T>) -> impl Future<Output = Outcome> + Send;
}

impl<T, F, Fut> Handler<T> for F
where
    T: Send + 'static,
    F: Fn(Message<T>) -> Fut + Send + Sync + 'static,
    Fut: Future + Send,
    Fut::Output: IntoOutcome,
{
    async fn handle(&self, message: Message<T>) -> Outcome {
        self(message).await.into_outcome()
    }
}
