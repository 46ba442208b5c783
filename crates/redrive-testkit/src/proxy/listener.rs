//! The thread of a proxy: takes connections, or refuses them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc as blocking;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::board::Board;
use super::link;
use crate::builder::free_port;

const BACKLOG: u32 = 1024;
/// How often a port is looked for that nobody takes between the look and the bind.
const ATTEMPTS: usize = 20;

/// What becomes of new connections, and whom to tell when it is so.
pub(super) enum Door {
    Open(blocking::Sender<()>),
    Shut(blocking::Sender<()>),
}

/// The thread of a proxy.
pub(super) fn run(
    board: Arc<Board>,
    server: u16,
    orders: mpsc::UnboundedReceiver<Door>,
    started: &blocking::Sender<io::Result<u16>>,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    LocalSet::new().block_on(&runtime, async {
        match listen_somewhere() {
            Ok((port, listener)) => {
                let _ = started.send(Ok(port));
                serve(board, port, listener, server, orders).await;
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    });
}

async fn serve(
    board: Arc<Board>,
    port: u16,
    listener: TcpListener,
    server: u16,
    mut orders: mpsc::UnboundedReceiver<Door>,
) {
    let mut listener = Some(listener);
    // Bound and not listening: connections are refused, and nobody else can have the port.
    let mut kept: Option<TcpSocket> = None;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Door::Shut(done)) => {
                    drop(listener.take());
                    kept = kept.or_else(|| bind(port).ok());
                    let _ = done.send(());
                }
                Some(Door::Open(done)) => {
                    if listener.is_none() {
                        listener = kept.take().and_then(|socket| socket.listen(BACKLOG).ok());
                    }
                    let _ = done.send(());
                }
            },
            client = accept(listener.as_ref()) => {
                let board = Arc::clone(&board);
                spawn_local(async move {
                    // A server that is not there: the client is told by the end of its connection.
                    if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await {
                        // Without it a small reply waits for the acknowledgement of the one before.
                        let _ = client.set_nodelay(true);
                        let _ = server.set_nodelay(true);
                        link::pass(client, server, board).await;
                    }
                });
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    loop {
        match listener {
            // An error is one connection's own: it was gone again.
            Some(listener) => {
                if let Ok((client, _)) = listener.accept().await {
                    return client;
                }
                tokio::task::yield_now().await;
            }
            None => std::future::pending().await,
        }
    }
}

fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

fn listen_somewhere() -> io::Result<(u16, TcpListener)> {
    let mut attempts = 1;
    loop {
        let port = free_port();
        match bind(port).and_then(|socket| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok((port, listener)),
            Err(error) if attempts == ATTEMPTS => return Err(error),
            Err(_) => attempts += 1,
        }
    }
}
