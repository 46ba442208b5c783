//! What runs for each message.

use std::future::Future;

use crate::message::Message;
use crate::outcome::{IntoOutcome, Outcome};

/// What runs for each message: an async function or closure that takes a [`Message`] and returns
/// anything that is [`IntoOutcome`], or a type of your own.
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
    /// The future is dropped at an await when its time-out is over or the drain time is used up:
    /// keep nothing half done across an await that a second run cannot finish.
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
