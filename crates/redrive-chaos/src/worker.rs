//! A worker that does what its messages say: the library in a process that can be hurt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redrive::{
    Backoff, BoxError, Broker, ConsumerName, Fields, Message, Outcome, Processor, Raw, RetryPolicy,
    Source, Totals,
};

use crate::deed::Deed;
use crate::effects::Effects;

/// What a worker is told on its command line: `--name value`, in any order.
#[derive(Clone, Debug)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Reads the words of a command line.
    ///
    /// # Errors
    ///
    /// If they are not pairs of a name and a value.
    pub fn read(words: impl IntoIterator<Item = String>) -> Result<Self, BoxError> {
        let mut words = words.into_iter();
        let mut options = BTreeMap::new();
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix("--")
                .ok_or_else(|| format!("not an option: {word:?}"))?;
            let value = words.next().ok_or_else(|| format!("no value of {word}"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    fn text(&self, name: &str) -> Result<&str, BoxError> {
        let value = self.0.get(name).map(String::as_str);
        value.ok_or_else(|| format!("--{name} is missing").into())
    }

    fn number(&self, name: &str, default: u32) -> Result<u32, BoxError> {
        Ok(match self.0.get(name) {
            Some(value) => value.parse()?,
            None => default,
        })
    }

    /// Whether all of the worker is to share one thread: `--threads 1`.
    ///
    /// # Errors
    ///
    /// If the value is no number.
    pub fn threads(&self) -> Result<u32, BoxError> {
        self.number("threads", 2)
    }
}

/// Works until the signal, then stops politely. Takes `--url --effects --stream --group --consumer`, and
/// `--concurrency --batch --prefetch --lease (ms) --foreign-lease (ms) --max-attempts --max-crashes --backoff (ms)`.
///
/// # Errors
///
/// What the options, the servers or the processor fail with.
pub async fn work(options: &Options, signal: impl Future) -> Result<Totals, BoxError> {
    let consumer: Arc<str> = options.text("consumer")?.into();
    let effects = Effects::connect(options.text("effects")?).await?;
    let broker = Broker::connect(options.text("url")?).await?;
    let source = Source::new(options.text("stream")?, options.text("group")?)?;
    let millis = |name, default| {
        let number = options.number(name, default);
        number.map(|ms| Duration::from_millis(ms.into()))
    };
    let backoff = match millis("backoff", 0)? {
        Duration::ZERO => Backoff::None,
        delay => Backoff::Fixed(delay),
    };
    let lease = millis("lease", 1_000)?;
    let mut retry = RetryPolicy::immediate()
        .max_attempts(options.number("max-attempts", 3)?)
        .max_crashes(options.number("max-crashes", 3)?);
    retry.backoff = backoff;
    let batch = options.number("batch", 100)?;
    let mut processor = Processor::builder(&broker, source)
        .codec(Raw)
        .retry(retry)
        .concurrency(options.number("concurrency", 16)?.try_into()?)
        .batch(batch.try_into()?)
        .prefetch(options.number("prefetch", batch)?.try_into()?)
        .lease(lease)
        .foreign_lease(millis("foreign-lease", 300_000)?.max(lease))
        .block(Duration::from_millis(200))
        .consumer(ConsumerName::new(&*consumer)?)
        .build(move |message: Message<Fields>| {
            let (effects, consumer) = (effects.clone(), Arc::clone(&consumer));
            async move { run(&message, &effects, &consumer).await }
        })?;
    Ok(processor.run_until(signal).await?)
}

async fn run(
    message: &Message<Fields>,
    effects: &Effects,
    consumer: &str,
) -> Result<Outcome, BoxError> {
    let text = |name: &str| std::str::from_utf8(message.get(name).unwrap_or_default());
    let number = text("n")?.parse()?;
    let deed = match text("do")? {
        "" => Deed::default(),
        words => words.parse()?,
    };
    effects.started(number, consumer).await?;
    match deed {
        Deed::Succeed => {}
        Deed::Sleep(time) => tokio::time::sleep(time).await,
        Deed::Block(time) => std::thread::sleep(time),
        Deed::Fail(times) if message.attempt() <= times => {
            return Ok(Outcome::retry("told to fail"));
        }
        Deed::Fail(_) => {}
        Deed::Reject => return Ok(Outcome::dead_letter("told to refuse")),
        Deed::Abort => std::process::abort(),
    }
    effects.succeeded(number).await?;
    Ok(Outcome::Ack)
}
