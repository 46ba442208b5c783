//! Sockets of ours: opened here, lent to the client library until it has let us in, then taken back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, ErrorKind, RedisError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connection::{CONNECT, patient};

/// Whose a connection is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The client library's.
    Library,
    /// Ours, once it is set up; the library's where it is encrypted.
    Ours,
}

/// A connection that lets us ask: through the client library for now, whosever it will be.
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    back: Option<oneshot::Receiver<Socket>>,
}

/// The same, in its owner's hands.
pub(super) enum Owned {
    Library(MultiplexedConnection),
    Ours(Socket),
}

/// Connects, and has the client library say who we are, in which protocol we speak and which database we want: all of
/// that is the same, and fails the same, whosever the connection will be.
pub(super) async fn connect(client: &Client, whose: Whose) -> Result<Connected, RedisError> {
    let info = client.get_connection_info();
    let config = patient();
    if whose == Whose::Library || matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        return Ok(Connected {
            connection: connecting.await?,
            back: None,
        });
    }
    let opening = async {
        let (socket, back) = Lent::new(Socket::open(info.addr()).await?);
        let settings = info.redis_settings();
        let (connection, driver) =
            MultiplexedConnection::new_with_config(settings, socket, config).await?;
        // Ends with the connection.
        tokio::spawn(driver);
        Ok(Connected {
            connection,
            back: Some(back),
        })
    };
    in_time(opening).await
}

impl Connected {
    /// The client library has done its part.
    pub(super) async fn owned(self) -> Result<Owned, RedisError> {
        let Some(back) = self.back else {
            return Ok(Owned::Library(self.connection));
        };
        drop(self.connection);
        let coming = async {
            let socket = back.await;
            socket.map_err(|_| RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe)))
        };
        in_time(coming).await.map(Owned::Ours)
    }
}

async fn in_time<T>(opening: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    timeout(CONNECT, opening).await.unwrap_or_else(late)
}

/// A socket that is not encrypted.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Socket {
    async fn open(address: &ConnectionAddr) -> Result<Self, RedisError> {
        match address {
            ConnectionAddr::Tcp(host, port) => {
                let all: Vec<_> = lookup_host((host.as_str(), *port)).await?.collect();
                if all.is_empty() {
                    let nobody = (ErrorKind::InvalidClientConfig, "no address has this name");
                    return Err(nobody.into());
                }
                // All at once, as the client library does: one of them may not answer.
                let connecting = all.into_iter().map(|one| Box::pin(TcpStream::connect(one)));
                let (stream, _) = select_ok(connecting).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            #[cfg(unix)]
            ConnectionAddr::Unix(path) => {
                Ok(Self::Unix(tokio::net::UnixStream::connect(path).await?))
            }
            _ => Err((ErrorKind::InvalidClientConfig, "no address of a socket").into()),
        }
    }
}

/// A socket that goes back to its owner when whoever has it lets go of it.
struct Lent {
    socket: Option<Socket>,
    back: Option<oneshot::Sender<Socket>>,
}

impl Lent {
    fn new(socket: Socket) -> (Self, oneshot::Receiver<Socket>) {
        let (back, coming) = oneshot::channel();
        let lent = Self {
            socket: Some(socket),
            back: Some(back),
        };
        (lent, coming)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(socket), Some(back)) = (self.socket.take(), self.back.take()) {
            // Nobody waits for one that did not let us in.
            let _ = back.send(socket);
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => Pin::new(socket).poll_read(cx, to),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Some(socket) => Pin::new(socket).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => Pin::new(socket).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// What is lent is not closed.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, to),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, to),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
