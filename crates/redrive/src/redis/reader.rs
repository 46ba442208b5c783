//! Reads whose replies are read here: blocked ones, and those of many entries, on a connection of their own.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value, cmd};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::asking::{Asking, Behind};
use super::connection::{ANSWER, Address, Reign};
use super::era::{Era, Since};
use super::errors::{self, After};
use super::received::{self, Reading, Shape, Shelf};
use super::socket::{Owned, Whose};
use super::{page, resp};
use crate::backend::{Entry, IdRange};
use crate::error::Error;
use crate::names::StreamKey;

const DOING: &str = "receiving messages";

/// One connection for reads. While a read is under way the connection is out of its
/// place: a read that is given up, or ends in doubt, takes its connection with it, and the next one
/// makes its own.
pub(super) struct Reader {
    address: Address,
    era: Era,
    idle: Mutex<Idle>,
    /// The connection's id at the server, for ending a wait; 0 where it is not known. `None` where nobody asks.
    client_id: Option<AtomicI64>,
}

#[derive(Default)]
struct Idle {
    connection: Option<(Connection, Reign, Since)>,
    shelf: Shelf,
    /// The command as it is sent.
    packed: Vec<u8>,
}

enum Connection {
    Ours(Asking),
    /// Where it is encrypted.
    Library(MultiplexedConnection),
}

impl Reader {
    /// For blocked reads.
    pub(super) fn new(address: Address, era: Era) -> Self {
        Self {
            address,
            era,
            idle: Mutex::default(),
            client_id: Some(AtomicI64::new(0)),
        }
    }

    /// For reads that nobody has to end.
    pub(super) fn of_entries(address: Address) -> Self {
        Self {
            address,
            era: Era::default(),
            idle: Mutex::default(),
            client_id: None,
        }
    }

    /// What an `XRANGE` brings of a range that goes from the oldest on, whatever its size.
    pub(super) async fn entries(
        &self,
        stream: &StreamKey,
        range: IdRange,
    ) -> Result<Vec<Entry>, Error> {
        let (low, high) = (range.low.to_string(), range.high.to_string());
        let limit = range.limit.to_string();
        let words = [
            b"XRANGE",
            stream.as_str().as_bytes(),
            low.as_bytes(),
            high.as_bytes(),
            b"COUNT",
            limit.as_bytes(),
        ];
        let read = self.ask(&words, Shape::Entries, ANSWER, page::DOING, |entry| entry);
        read.await.map_err(|error| error.during(stream))
    }

    /// Lets go of the connection: nothing will be read for a while.
    pub(super) async fn hang_up(&self) {
        self.idle.lock().await.connection = None;
    }

    /// What comes of an `XREADGROUP`, given in its words; `make` makes of an entry what is wanted.
    pub(super) async fn read<T>(
        &self,
        words: &[&[u8]],
        block: Duration,
        make: impl Fn(Entry) -> T,
    ) -> Result<Vec<T>, Error> {
        let patience = block.saturating_add(ANSWER);
        self.ask(words, Shape::Streams, patience, DOING, make).await
    }

    async fn ask<T>(
        &self,
        words: &[&[u8]],
        shape: Shape,
        patience: Duration,
        doing: &'static str,
        make: impl Fn(Entry) -> T,
    ) -> Result<Vec<T>, Error> {
        let mut idle = self.idle.lock().await;
        let Idle {
            connection: place,
            shelf,
            packed,
        } = &mut *idle;
        let (mut connection, reign, since) = match place.take() {
            Some((connection, reign, since))
                if self.era.lasts(since) && self.address.is_current(reign).await =>
            {
                (connection, reign, since)
            }
            _ => {
                let since = self.era.now();
                let (connection, reign) = self.connect(doing).await?;
                (connection, reign, since)
            }
        };
        let (answer, behind) = match &mut connection {
            Connection::Ours(asking) => {
                packed.clear();
                resp::write_command(packed, words);
                let mut reading = Reading::new(shelf, shape, make);
                match timeout(patience, asking.ask(packed, &mut reading)).await {
                    Ok(Ok((answer, behind))) => (Ok(answer), behind),
                    Ok(Err(error)) => (Err(error), Behind::Nothing),
                    Err(_) => {
                        let late = io::Error::from(io::ErrorKind::TimedOut);
                        (Err(late.into()), Behind::Nothing)
                    }
                }
            }
            Connection::Library(connection) => {
                connection.set_response_timeout(patience);
                let answer = ask_library(connection, words).await;
                let entries = answer.map(|reply| {
                    received::read(shape, reply).map(|all| all.into_iter().map(make).collect())
                });
                (entries, Behind::Nothing)
            }
        };
        let keep = match (&answer, behind) {
            (_, Behind::Something) => After::Rebuild,
            (Ok(_), Behind::Nothing) => After::Keep,
            (Err(error), Behind::Nothing) => self.address.after(error),
        };
        match keep {
            After::Keep => *place = Some((connection, reign, since)),
            After::Rebuild => self.era.end(since),
        }
        answer.map_err(|cause| self.address.error(cause, doing))?
    }

    /// Whether a read is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.idle.try_lock().is_err()
    }

    /// The connection's id at the server; 0 where it is not known.
    pub(super) fn client_id(&self) -> i64 {
        let id = self.client_id.as_ref();
        id.map_or(0, |id| id.load(Ordering::Relaxed))
    }

    /// Whether its connection is one of ours; `None` while there is none.
    #[cfg(test)]
    pub(super) async fn is_ours(&self) -> Option<bool> {
        let idle = self.idle.lock().await;
        let (connection, _, _) = idle.connection.as_ref()?;
        Some(matches!(connection, Connection::Ours(_)))
    }

    async fn connect(&self, doing: &'static str) -> Result<(Connection, Reign), Error> {
        let (mut connected, reign) = self.address.connect(Whose::Ours).await?;
        if let Some(known) = &self.client_id {
            let id = cmd("CLIENT")
                .arg("ID")
                .query_async(&mut connected.connection)
                .await;
            let id = match id {
                Ok(id) => id,
                // Else no wait of this connection could be ended, for want of an answer just now.
                Err(cause) if errors::sort(&cause).0.is_transient() => {
                    return Err(self.address.error(cause, doing));
                }
                Err(_) => 0,
            };
            known.store(id, Ordering::Relaxed);
        }
        let connection = match connected.owned().await {
            Ok(Owned::Ours(socket)) => Connection::Ours(Asking::new(socket)),
            Ok(Owned::Library(connection)) => Connection::Library(connection),
            Err(cause) => return Err(self.address.error(cause, doing)),
        };
        Ok((connection, reign))
    }
}

async fn ask_library(
    connection: &mut MultiplexedConnection,
    words: &[&[u8]],
) -> Result<Value, RedisError> {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query_async(connection).await
}
