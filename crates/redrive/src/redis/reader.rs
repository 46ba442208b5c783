//! Blocked reads, on a connection of their own.

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
use super::received::{Reading, Shelf};
use super::socket::{Owned, Whose};
use super::{resp, wire};
use crate::backend::Entry;
use crate::error::Error;

/// The one connection for blocked reads. While a read is under way the connection is out of its
/// place: a read that is given up, or ends in doubt, takes its connection with it, and the next one
/// makes its own.
pub(super) struct Reader {
    address: Address,
    era: Era,
    idle: Mutex<Idle>,
    /// The connection's id at the server, for ending a wait; 0 where it is not known.
    client_id: AtomicI64,
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
    pub(super) fn new(address: Address, era: Era) -> Self {
        Self {
            address,
            era,
            idle: Mutex::default(),
            client_id: AtomicI64::new(0),
        }
    }

    /// What comes of an `XREADGROUP`, given in its words; `make` makes of an entry what is wanted.
    pub(super) async fn read<T>(
        &self,
        words: &[&[u8]],
        block: Duration,
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
                let (connection, reign) = self.connect().await?;
                (connection, reign, since)
            }
        };
        let patience = block.saturating_add(ANSWER);
        let (answer, behind) = match &mut connection {
            Connection::Ours(asking) => {
                packed.clear();
                resp::write_command(packed, words);
                let mut reading = Reading::new(shelf, make);
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
                    wire::read_reply(reply).map(|all| all.into_iter().map(make).collect())
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
        answer.map_err(|cause| self.address.error(cause, "receiving messages"))?
    }

    /// Whether a read is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.idle.try_lock().is_err()
    }

    /// The connection's id at the server; 0 where it is not known.
    pub(super) fn client_id(&self) -> i64 {
        self.client_id.load(Ordering::Relaxed)
    }

    /// Whether its connection is one of ours; `None` while there is none.
    #[cfg(test)]
    pub(super) async fn is_ours(&self) -> Option<bool> {
        let idle = self.idle.lock().await;
        let (connection, _, _) = idle.connection.as_ref()?;
        Some(matches!(connection, Connection::Ours(_)))
    }

    async fn connect(&self) -> Result<(Connection, Reign), Error> {
        let (mut connected, reign) = self.address.connect(Whose::Ours).await?;
        let id = cmd("CLIENT")
            .arg("ID")
            .query_async(&mut connected.connection)
            .await;
        let id = match id {
            Ok(id) => id,
            // Else no wait of this connection could be ended, for want of an answer just now.
            Err(cause) if errors::sort(&cause).0.is_transient() => {
                return Err(self.address.error(cause, "receiving messages"));
            }
            Err(_) => 0,
        };
        let connection = match connected.owned().await {
            Ok(Owned::Ours(socket)) => Connection::Ours(Asking::new(socket)),
            Ok(Owned::Library(connection)) => Connection::Library(connection),
            Err(cause) => return Err(self.address.error(cause, "receiving messages")),
        };
        self.client_id.store(id, Ordering::Relaxed);
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
