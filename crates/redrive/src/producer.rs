//! Adding messages to a stream.

use std::sync::Arc;

use crate::backend::Backend;
use crate::codec::{Encode, Json};
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

/// The prefix of field names that only redrive writes.
const RESERVED: &[u8] = b"redrive-";
const DEFAULT_MAX_SIZE: usize = 8 * 1024 * 1024;

/// Adds messages to one stream. Made by [`Broker::producer`](crate::Broker::producer); cheap to
/// clone.
///
/// A message is sent once and never again by itself: after an error it is unknown whether it was
/// added.
///
/// ```
/// use redrive::{Broker, Fields};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let broker = Broker::connect("memory:").await?;
/// let producer = broker.producer("orders".parse()?);
/// producer.send(&"as JSON, in the field `data`").await?;
/// let ids = producer.send_all([&1, &2, &3]).await?;
/// assert!(ids.is_sorted());
/// producer.send_fields(Fields::from_iter([("kind", "order"), ("total", "12")])).await?;
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Producer<C = Json> {
    backend: Arc<dyn Backend>,
    stream: StreamKey,
    codec: C,
    max_size: usize,
}

impl Producer {
    pub(crate) fn new(backend: Arc<dyn Backend>, stream: StreamKey) -> Self {
        Self {
            backend,
            stream,
            codec: Json::default(),
            max_size: DEFAULT_MAX_SIZE,
        }
    }
}

impl<C> Producer<C> {
    /// Sets how payloads are encoded. Default [`Json`].
    #[must_use]
    pub fn codec<D>(self, codec: D) -> Producer<D> {
        Producer {
            backend: self.backend,
            stream: self.stream,
            codec,
            max_size: self.max_size,
        }
    }

    /// Sets how large an entry may be: the bytes of all its names and values. Default 8 MiB.
    #[must_use]
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    /// Adds one message and answers its id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it cannot be encoded, [`ErrorKind::Refused`] as for
    /// [`send_fields`](Self::send_fields), or what the broker answers.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is unknown whether the message was added.
    pub async fn send<T>(&self, payload: &T) -> Result<EntryId, Error>
    where
        C: Encode<T>,
    {
        self.send_fields(self.encode(payload)?).await
    }

    /// Adds messages in this order and answers their ids in it. All are encoded and checked
    /// before the first is added.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). After an error of the broker it is unknown which were added.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is unknown which messages were added.
    pub async fn send_all<'a, T: 'a>(
        &self,
        payloads: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<EntryId>, Error>
    where
        C: Encode<T>,
    {
        let entries: Result<Vec<Fields>, Error> = payloads
            .into_iter()
            .map(|payload| self.encode(payload))
            .collect();
        self.send_fields_all(&entries?).await
    }

    /// Adds one entry of exactly these fields and answers its id.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), or what the broker answers.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is unknown whether the entry was added.
    pub async fn send_fields(&self, fields: Fields) -> Result<EntryId, Error> {
        let ids = self.send_fields_all(&[fields]).await?;
        ids.first().copied().ok_or_else(|| {
            let doing = format!("adding to {}: no id came back", self.stream);
            Error::new(ErrorKind::Protocol, doing)
        })
    }

    /// Adds entries of exactly these fields, in this order, and answers their ids in it. All are
    /// checked before the first is added. They travel in loads of up to 1,000 entries or 1 MiB,
    /// one load after the other.
    ///
    /// ```
    /// use redrive::{Broker, Fields};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = Broker::connect("memory:").await?;
    /// let entries = [1, 2, 3].map(|n: u8| Fields::from_iter([("n", n.to_string())]));
    /// let ids = broker.producer("numbers".parse()?).send_fields_all(&entries).await?;
    /// assert_eq!(ids.len(), 3);
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), then nothing has been added; or what the broker answers, then it
    /// is unknown which were.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is unknown which entries were added.
    pub async fn send_fields_all(&self, entries: &[Fields]) -> Result<Vec<EntryId>, Error> {
        for fields in entries {
            self.check(fields)?;
        }
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.backend.append(&self.stream, entries).await
    }

    /// Whether an entry of these fields may be added: what every call that adds checks first.
    ///
    /// ```
    /// use redrive::{Broker, Fields};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let producer = Broker::connect("memory:").await?.producer("orders".parse()?).max_size(8);
    /// assert!(producer.check(&Fields::from_iter([("total", "12")])).is_ok());
    /// assert!(producer.check(&Fields::from_iter([("redrive-v", "1")])).is_err());
    /// assert!(producer.check(&Fields::from_iter([("total", "1200")])).is_err());
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] when there are no fields, when one has a name that begins with
    /// `redrive-`, or when together they are larger than [`max_size`](Self::max_size).
    pub fn check(&self, fields: &Fields) -> Result<(), Error> {
        let refused = |what: String| {
            let doing = format!("adding to {}: {what}", self.stream);
            Error::new(ErrorKind::Refused, doing)
        };
        if fields.is_empty() {
            return Err(refused("an entry without fields".to_owned())
                .hint("an entry needs at least one field"));
        }
        if let Some((name, _)) = fields.iter().find(|(name, _)| name.starts_with(RESERVED)) {
            return Err(refused(format!("the field \"{}\"", name.escape_ascii()))
                .hint("names that begin with redrive- are redrive's own: choose another"));
        }
        if fields.size() > self.max_size {
            let (size, most) = (fields.size(), self.max_size);
            return Err(
                refused(format!("an entry of {size} bytes, {most} are allowed"))
                    .hint("keep large payloads elsewhere and send where, or raise `max_size`"),
            );
        }
        Ok(())
    }

    /// The stream it adds to.
    #[must_use]
    pub fn stream(&self) -> &StreamKey {
        &self.stream
    }

    fn encode<T>(&self, payload: &T) -> Result<Fields, Error>
    where
        C: Encode<T>,
    {
        self.codec.encode(payload).map_err(|error| {
            let doing = format!("encoding a message for {}", self.stream);
            Error::new(ErrorKind::Invalid, doing).caused_by(error)
        })
    }
}

impl<C> std::fmt::Debug for Producer<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("stream", &self.stream)
            .field("max_size", &self.max_size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;

    async fn producer() -> Producer {
        let broker = Broker::connect("memory:").await.unwrap();
        broker.producer(StreamKey::new("orders").unwrap())
    }

    #[tokio::test]
    async fn what_would_do_harm_is_refused_with_a_cure() {
        let producer = producer().await.max_size(16);
        let refused = [
            Fields::default(),
            Fields::from_iter([("redrive-v", "1")]),
            Fields::from_iter([("data", "thirteen long")]),
        ];
        for fields in refused {
            let error = producer.send_fields(fields).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert!(error.cure().is_some());
        }
        let fits = Fields::from_iter([("data", "twelve long!")]);
        assert!(producer.send_fields(fits).await.is_ok());
    }

    #[tokio::test]
    async fn nothing_is_added_when_one_of_many_is_refused() {
        let producer = producer().await.max_size(8);
        let error = producer.send_all([&1_u64, &u64::MAX]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let (fits, wrong) = (("a", "1"), ("redrive-a", "1"));
        let entries = [fits, wrong].map(|pair| Fields::from_iter([pair]));
        let error = producer.send_fields_all(&entries).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let length = producer.backend.length(producer.stream()).await.unwrap();
        assert_eq!(length, 0);
        let added = producer.send_all([&1_u64, &2]).await.unwrap();
        assert_eq!(added.len(), 2);
        assert!(producer.send_all::<u64>([]).await.unwrap().is_empty());
    }
}
