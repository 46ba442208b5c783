//! A connection whose replies are read here: one command at a time, its reply read from the bytes while they come.

use std::io;

use redis::RedisError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::received::{self, Reading};
use super::resp::NoReply;
use super::socket::Socket;
use crate::backend::Entry;
use crate::error::Error;

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
    pub(super) async fn ask<T, F: Fn(Entry) -> T>(
        &mut self,
        command: &[u8],
        reading: &mut Reading<'_, T, F>,
    ) -> Result<(Result<Vec<T>, Error>, Behind), RedisError> {
        self.socket.write_all(command).await?;
        loop {
            let end = reading.go_on(&self.arrived);
            let Some(end) = end.map_err(|NoReply| received::no_reply())? else {
                // Twice as much as has arrived at most, whatever the server says will come.
                self.arrived.reserve(ROOM);
                if self.socket.read_buf(&mut self.arrived).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                continue;
            };
            let told = reading.end(self.arrived.get(..end).unwrap_or_default());
            self.forget(end);
            if let Some(told) = told? {
                let behind = match self.arrived.first() {
                    // Said unasked, and passed over before the next reply.
                    None | Some(b'>') => Behind::Nothing,
                    Some(_) => Behind::Something,
                };
                return Ok((told, behind));
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
