//! Where the oldest dead letters go when their queue is nearly full: whatever keeps them safe.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// What [`Spill::append`] answers, later.
pub type Appending<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// Where the oldest dead letters go before they are removed from a queue that is nearly full: a file, a
/// bucket, another database.
///
/// ```
/// use std::sync::Mutex;
/// use redrive::{Appending, Bytes, DeadLetterLimit, Overflow, Spill};
/// #[derive(Default)]
/// struct Kept(Mutex<Vec<Bytes>>);
/// impl Spill for Kept {
///     fn append(&self, export: Bytes) -> Appending<'_> {
///         Box::pin(async move {
///             self.0.lock().map_err(|_| std::io::ErrorKind::Other)?.push(export);
///             Ok(())
///         })
///     }
/// }
/// let limit = DeadLetterLimit::new(10_000, Overflow::spill(Kept::default()));
/// # let _ = limit;
/// ```
pub trait Spill: Send + Sync + 'static {
    /// Keeps one export: lines as [`DeadLetterQueue::export`](crate::DeadLetterQueue::export) makes them,
    /// with their footer, up to 100 dead letters and about 1 MiB, or one that is larger. Many of them one
    /// after another are read by [`ArchiveReader`](crate::ArchiveReader).
    ///
    /// `Ok` says that it survives a crash and a power failure: the dead letters are removed then. After
    /// an error nothing is removed, messages stay pending where the queue is full, and the same dead
    /// letters come again. They may also come again after `Ok`, if the process ends in between: an import
    /// takes each once.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped where the processor is; what it had written then may stay.
    fn append(&self, export: Bytes) -> Appending<'_>;
}

/// Where a [spill](crate::Overflow::Spill) goes. Two are equal when they are the same one.
#[derive(Clone)]
pub struct SpillTo(Arc<dyn Spill>);

impl SpillTo {
    /// To this.
    pub fn new(to: impl Spill) -> Self {
        Self(Arc::new(to))
    }

    pub(crate) fn append(&self, export: Bytes) -> Appending<'_> {
        self.0.append(export)
    }
}

impl PartialEq for SpillTo {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SpillTo {}

impl fmt::Debug for SpillTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillTo").finish_non_exhaustive()
    }
}
