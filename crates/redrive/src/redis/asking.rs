//! A connection whose replies are read here: one command at a time, its reply handed over as the bytes that came.

use std::io;

use redis::{RedisError, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::received;
use super::resp::Scan;
use super::socket::Socket;

/// How much is read at once, at least, and how much memory a connection keeps in any case.
const ROOM: usize = 64 << 10;

/// A connection of ours. Of no more use when a call is dropped, or ends with an error.
pub(super) struct Asking {
    socket: Socket,
    /// What has arrived and is not read yet.
    arrived: Vec<u8>,
    /// About how large the largest of the last replies was.
    usual: usize,
}

/// Whether a connection may be asked again after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Nothing,
    /// Something that nobody has asked for.
    Something,
}

impl Asking {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            arrived: Vec::new(),
            usual: 0,
        }
    }

    /// Sends a command and waits for its reply, as long as it takes.
    pub(super) async fn ask<T>(
        &mut self,
        command: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<(T, Behind), RedisError> {
        self.socket.write_all(command).await?;
        loop {
            let end = self.reply().await?;
            let reply = self.arrived.get(..end).unwrap_or_default();
            // What a server says unasked, which RESP3 lets it, is for nobody here.
            if reply.first() == Some(&b'>') {
                let _: Value = received::value(reply)?;
                self.forget(end);
                continue;
            }
            let told = read(reply);
            self.forget(end);
            let behind = match self.arrived.first() {
                None | Some(b'>') => Behind::Nothing,
                Some(_) => Behind::Something,
            };
            return Ok((told, behind));
        }
    }

    /// Waits until a reply has arrived whole, and answers where it ends.
    async fn reply(&mut self) -> Result<usize, RedisError> {
        let mut scan = Scan::default();
        loop {
            let end = scan.end(&self.arrived);
            if let Some(end) = end.map_err(|_| received::no_reply())? {
                return Ok(end);
            }
            // Twice as much as has arrived at most, whatever the server says will come.
            self.arrived.reserve(ROOM);
            if self.socket.read_buf(&mut self.arrived).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// A reply has been read. The memory of a large one goes when those after it are smaller for a while.
    fn forget(&mut self, end: usize) {
        self.arrived.drain(..end);
        self.usual = end.max(self.usual - self.usual / 8);
        let kept = ROOM.max(2 * self.usual);
        if self.arrived.capacity() > 2 * kept {
            self.arrived.shrink_to(kept);
        }
    }
}
