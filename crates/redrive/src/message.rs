//! A message: the fields of an entry as a handler receives them, with what is known beside them.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::names::{EntryId, GroupName, Source, StreamKey};

/// The fields of an entry: pairs of bytes, in stream order, duplicates kept.
///
/// Cheap to clone. Names and values may be any bytes, and empty.
///
/// ```
/// use redrive::Fields;
/// let fields = Fields::from_iter([("kind", "order"), ("kind", "again")]);
/// assert_eq!(fields.get("kind"), Some(&b"order"[..]));
/// assert_eq!(fields.len(), 2);
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Fields(Arc<[(Bytes, Bytes)]>);

impl Fields {
    /// The value of the first field of this name.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.value(name.as_ref()).map(AsRef::as_ref)
    }

    /// As [`get`](Self::get), sharing the bytes.
    pub(crate) fn value(&self, name: &[u8]) -> Option<&Bytes> {
        self.0
            .iter()
            .find_map(|(field, value)| (field == name).then_some(value))
    }

    /// The pairs in stream order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all names and values together.
    #[must_use]
    pub fn size(&self) -> usize {
        self.iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }

    pub(crate) fn pairs(&self) -> &[(Bytes, Bytes)] {
        &self.0
    }
}

impl<N: Into<Bytes>, V: Into<Bytes>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Shows names and sizes, never values: fields end up in logs, payloads must not.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, value)| {
                (
                    name.escape_ascii().to_string(),
                    format!("{} bytes", value.len()),
                )
            }))
            .finish()
    }
}

/// What a message has been through before: set when it was replayed from a dead-letter queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lineage {
    /// The dead letter it was last replayed from.
    pub replayed_from: Option<EntryId>,
    /// How often it has been replayed.
    pub replays: u32,
    /// The campaign that last replayed it.
    pub campaign: Option<String>,
}

/// What is known of a message beside its payload.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) id: EntryId,
    pub(crate) source: Arc<Source>,
    pub(crate) attempt: u32,
    pub(crate) age: Duration,
    pub(crate) fields: Fields,
    /// `None` where it is empty, as it nearly always is: an envelope is made for each message, and a small one
    /// is had quickly.
    pub(crate) lineage: Option<Box<Lineage>>,
    pub(crate) cancel: Cancel,
}

/// Envelopes whose runs are over, to be used for others: each message has one, and memory that lives as long as a
/// message is held is not had quickly.
#[derive(Debug, Default)]
pub(crate) struct Envelopes(Vec<Arc<Envelope>>);

impl Envelopes {
    /// How many are kept. They hold nothing of what they were used for.
    const MOST: usize = 256;

    pub(crate) fn make(&mut self, envelope: Envelope) -> Arc<Envelope> {
        if let Some(mut spare) = self.0.pop()
            && let Some(inside) = Arc::get_mut(&mut spare)
        {
            *inside = envelope;
            return spare;
        }
        Arc::new(envelope)
    }

    /// One that is no longer needed here. Whose message a handler has given to somebody is left to them.
    pub(crate) fn put_away(&mut self, mut envelope: Arc<Envelope>) {
        if self.0.len() < Self::MOST
            && let Some(inside) = Arc::get_mut(&mut envelope)
        {
            inside.fields = Fields::default();
            inside.lineage = None;
            inside.cancel = Cancel::default();
            self.0.push(envelope);
        }
    }
}

impl Envelope {
    pub(crate) fn lineage_mut(&mut self) -> &mut Lineage {
        self.lineage.get_or_insert_default()
    }
}

/// Says that a run no longer counts. Hardly any run is told, and hardly any handler asks: the token is
/// made by the first who does.
#[derive(Debug, Default)]
pub(crate) struct Cancel(OnceLock<CancellationToken>);

impl Cancel {
    pub(crate) fn cancel(&self) {
        self.token().cancel();
    }

    fn is_cancelled(&self) -> bool {
        self.0.get().is_some_and(CancellationToken::is_cancelled)
    }

    fn token(&self) -> &CancellationToken {
        self.0.get_or_init(CancellationToken::new)
    }
}

impl From<CancellationToken> for Cancel {
    fn from(token: CancellationToken) -> Self {
        Self(OnceLock::from(token))
    }
}

/// An entry of a stream as a handler receives it: the decoded payload, by [`Deref`], and what is
/// known beside it.
#[derive(Debug)]
pub struct Message<T> {
    payload: T,
    envelope: Arc<Envelope>,
}

impl<T> Message<T> {
    pub(crate) fn new(payload: T, envelope: Arc<Envelope>) -> Self {
        Self { payload, envelope }
    }

    /// The payload alone.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.payload
    }

    /// The entry's id.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.envelope.id
    }

    /// The stream it was read from.
    #[must_use]
    pub fn stream(&self) -> &StreamKey {
        &self.envelope.source.stream
    }

    /// The group it was read through.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        &self.envelope.source.group
    }

    /// Which run this is by the count of recorded failures: 1 is the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.envelope.attempt
    }

    /// How long ago the entry was added, by the server's clock, when it was received. Zero when
    /// the producer chose ids that are not times.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.envelope.age
    }

    /// The entry's own fields, as the producer wrote them.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.envelope.fields
    }

    /// What the message has been through: empty unless it was replayed.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        static NONE: Lineage = Lineage {
            replayed_from: None,
            replays: 0,
            campaign: None,
        };
        self.envelope.lineage.as_deref().unwrap_or(&NONE)
    }

    /// Resolves when this run no longer counts: its lease was lost to another consumer, or the
    /// drain time is over. Stop early then; what the handler returns is only looked at if it is a
    /// success. After a lost lease it may take its time; after the drain time it has the
    /// [grace](crate::ProcessorOptions::grace) until it is aborted.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: made to be one branch of a `select!`.
    pub async fn cancelled(&self) {
        self.envelope.cancel.token().cancelled().await;
    }

    /// Whether [`cancelled`](Self::cancelled) has resolved.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.envelope.cancel.is_cancelled()
    }
}

impl<T> Deref for Message<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.payload
    }
}
