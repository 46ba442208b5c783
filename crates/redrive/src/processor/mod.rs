//! The processor: reads, runs the handler, and ends every message one way or another.

mod asking;
mod breaker;
mod crew;
mod drain;
mod ending;
mod execution;
mod health;
mod held;
mod intake;
mod joining;
mod keeping;
mod leases;
mod losses;
mod options;
mod overflow;
mod quarantine;
mod readiness;
mod receipt;
mod run;
mod settler;
mod spilling;
mod start;
#[cfg(test)]
#[cfg(not(fuzzing_libfuzzer))]
mod tests;
mod totals;
mod turns;
mod writes;

use std::future::{Future, pending};
use std::sync::Arc;

pub use self::breaker::Breaker;
pub use self::intake::Extent;
pub use self::options::{ProcessorBuilder, ProcessorOptions};
pub use self::totals::{Recovered, Totals};

pub(crate) use self::ending::fault;
pub(crate) use self::execution::{Ran, Runner, Work, envelope, run as run_handler};

use self::run::Plan;
use self::totals::Summary;
use crate::backend::Backend;
use crate::error::Error;
use crate::names::Source;

/// Runs a handler on the messages of a stream, as one consumer of a group: reads, decodes,
/// handles, and then acknowledges, retries or dead-letters; renews what it holds, and takes over
/// what others left behind.
///
/// A message is run again after a crash, and after a failure until its attempts are used up: at
/// least once, so the handler's work should bear being done twice.
///
/// ```
/// use redrive::{Broker, Message, Processor, Source};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let broker = Broker::connect("memory:").await?;
/// broker.producer("orders".parse()?).send(&7).await?;
///
/// async fn bill(total: Message<u32>) -> Result<(), std::num::TryFromIntError> {
///     let _charged = u8::try_from(*total)?;
///     Ok(())
/// }
/// let mut processor = Processor::builder(&broker, Source::new("orders", "billing")?).build(bill)?;
/// let totals = processor.run_until_idle().await?;
/// assert_eq!(totals.succeeded, 1);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// One processor is one consumer: two runs of it at the same time do not compile.
///
/// ```compile_fail,E0499
/// # async fn example(processor: &mut redrive::Processor) -> Result<(), redrive::Error> {
/// let first = processor.run_until_idle();
/// let second = processor.run_until_idle();
/// first.await?;
/// second.await?;
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Dropping the future of a run is a crash: handlers are aborted, nothing is handed back, and
/// what was held is run again, by any consumer, when its lease is over. End a run by the signal
/// of [`run_until`](Self::run_until) or [`run`](Self::run) instead.
///
/// # Errors
///
/// What the broker may recover from is retried with growing pauses for as long as it takes, and
/// logged once per change. A run ends with an error only when retrying cannot help:
/// [`Denied`](crate::ErrorKind::Denied), [`WrongType`](crate::ErrorKind::WrongType),
/// [`Closed`](crate::ErrorKind::Closed), and [`Refused`](crate::ErrorKind::Refused), where another
/// process runs under the name of its [`consumer`](ProcessorOptions::consumer); and when the broker does not answer to the very end of a
/// drain. [`totals`](Self::totals) then says what had been
/// done.
pub struct Processor {
    backend: Arc<dyn Backend>,
    plan: Arc<Plan>,
    last: Summary,
}

impl Processor {
    pub(crate) fn new(backend: Arc<dyn Backend>, plan: Plan) -> Self {
        Self {
            backend,
            plan: Arc::new(plan),
            last: Summary::default(),
        }
    }

    /// Runs until the signal, then stops politely: what has not started is handed back at once,
    /// running handlers have the [drain time](ProcessorOptions::drain) to finish, then their
    /// [`cancelled`](crate::Message::cancelled) resolves, and the
    /// [grace](ProcessorOptions::grace) later what still runs is aborted and handed back,
    /// uncharged.
    ///
    /// ```no_run
    /// # async fn stop() {}
    /// # async fn example(mut processor: redrive::Processor) -> Result<(), redrive::Error> {
    /// let totals = processor.run_until(stop()).await?;
    /// println!("{} succeeded", totals.succeeded);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [the type](Self) says.
    pub async fn run_until(&mut self, signal: impl Future) -> Result<Totals, Error> {
        self.run(Extent::UntilStopped, signal).await
    }

    /// Runs until nothing is left: a read found nothing, nothing is held here, and nothing is
    /// pending in the whole group. So it waits for messages that others hold, for retries to come
    /// due, for a handler that [cannot run](crate::Outcome::unavailable), and, where everything fails,
    /// through the pauses of the [breaker](Breaker); but not for what a
    /// full dead-letter queue keeps pending, where its limit [stops](crate::Overflow::Stop). What an
    /// earlier run left there is known to be kept when it has been looked at again: within a minute.
    ///
    /// # Errors
    ///
    /// As [the type](Self) says.
    pub async fn run_until_idle(&mut self) -> Result<Totals, Error> {
        self.run(Extent::UntilIdle, pending::<()>()).await
    }

    /// Runs so many rounds, each one round of taking over and one read that waits for
    /// [`block`](ProcessorOptions::block), and answers how many messages succeeded. Rounds that
    /// find nothing count. Everything is settled before the next round. A round ends early when the
    /// handler [cannot run](crate::Outcome::unavailable) or the [breaker](Breaker) opens; the next one
    /// begins after the pause.
    ///
    /// # Errors
    ///
    /// As [the type](Self) says.
    pub async fn run_batches(&mut self, rounds: u64) -> Result<u64, Error> {
        let totals = self.run(Extent::Batches(rounds), pending::<()>()).await?;
        Ok(totals.succeeded)
    }

    /// Takes over, in one sweep, everything that is due or was left behind by a silent consumer,
    /// and runs it. Reads nothing new. Ends early when the handler
    /// [cannot run](crate::Outcome::unavailable) or the [breaker](Breaker) opens.
    ///
    /// # Errors
    ///
    /// As [the type](Self) says.
    pub async fn recover(&mut self) -> Result<Recovered, Error> {
        let totals = self.run(Extent::Sweep, pending::<()>()).await?;
        Ok(Recovered {
            taken: self.last.taken,
            succeeded: totals.succeeded,
            dead_lettered: totals.dead_lettered,
        })
    }

    /// Runs as far as `extent` says, or until the signal: then it stops politely, as
    /// [`run_until`](Self::run_until) does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redrive::{Broker, Extent, Message, Processor, Source};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = Broker::connect("memory:").await?;
    /// broker.producer("orders".parse()?).send(&7).await?;
    /// let mut processor = Processor::builder(&broker, Source::new("orders", "billing")?)
    ///     .build(async |_: Message<u32>| {})?;
    /// let a_minute = tokio::time::sleep(Duration::from_secs(60));
    /// let totals = processor.run(Extent::UntilIdle, a_minute).await?;
    /// assert_eq!(totals.succeeded, 1);
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [the type](Self) says.
    pub async fn run(&mut self, extent: Extent, signal: impl Future) -> Result<Totals, Error> {
        let signal = async {
            signal.await;
        };
        self.last = Summary::default();
        run::run(&self.plan, &*self.backend, extent, signal, &mut self.last).await?;
        Ok(self.last.totals)
    }

    /// What the last run has done, also when it ended with an error; nothing before the first
    /// has ended.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.last.totals
    }

    /// The options it runs with.
    #[must_use]
    pub fn options(&self) -> &ProcessorOptions {
        &self.plan.options
    }

    /// The stream and group it serves.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.plan.source
    }
}

impl std::fmt::Debug for Processor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processor")
            .field("plan", &self.plan)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
