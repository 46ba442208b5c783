//! Blocked reads, on a connection of their own.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd};
use tokio::sync::Mutex;

use super::connection::{ANSWER, Address, Reign};
use super::era::{Era, Since};
use super::errors::{self, After};
use crate::error::Error;

/// The one connection for blocked reads. While a read is under way the connection is out of its
/// place: a read that is given up, or ends in doubt, takes its connection with it, and the next one
/// makes its own.
pub(super) struct Reader {
    address: Address,
    era: Era,
    idle: Mutex<Option<(MultiplexedConnection, Reign, Since)>>,
    /// The connection's id at the server, for ending a wait; 0 where it is not known.
    client_id: AtomicI64,
}

impl Reader {
    pub(super) fn new(address: Address, era: Era) -> Self {
        Self {
            address,
            era,
            idle: Mutex::new(None),
            client_id: AtomicI64::new(0),
        }
    }

    pub(super) async fn read(&self, command: &redis::Cmd, block: Duration) -> Result<Value, Error> {
        let mut idle = self.idle.lock().await;
        let (mut connection, reign, since) = match idle.take() {
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
        connection.set_response_timeout(block.saturating_add(ANSWER));
        let answer: Result<Value, RedisError> = command.query_async(&mut connection).await;
        let keep = match &answer {
            Ok(_) => After::Keep,
            Err(error) => self.address.after(error),
        };
        match keep {
            After::Keep => *idle = Some((connection, reign, since)),
            After::Rebuild => self.era.end(since),
        }
        answer.map_err(|cause| self.address.error(cause, "receiving messages"))
    }

    /// The connection's id at the server; 0 where it is not known.
    pub(super) fn client_id(&self) -> i64 {
        self.client_id.load(Ordering::Relaxed)
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, Reign), Error> {
        let (mut connection, reign) = self.address.connect().await?;
        let id = cmd("CLIENT").arg("ID").query_async(&mut connection).await;
        let id = match id {
            Ok(id) => id,
            // Else no wait of this connection could be ended, for want of an answer just now.
            Err(cause) if errors::sort(&cause).0.is_transient() => {
                return Err(self.address.error(cause, "receiving messages"));
            }
            Err(_) => 0,
        };
        self.client_id.store(id, Ordering::Relaxed);
        Ok((connection, reign))
    }
}
