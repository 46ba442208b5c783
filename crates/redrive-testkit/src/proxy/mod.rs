//! A proxy of the test's own in front of a server, that can do something to one single command.

mod armed;
mod board;
mod frame;
mod label;
mod link;
mod listener;
mod request;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

pub use self::armed::Armed;
use self::board::{Board, Weather};
pub use self::label::{Fault, Label, Moment, Target};
use self::listener::{Door, run};
use crate::{Server, fail, library_scripts, scripts};

/// A TCP proxy in front of a server, on a free loopback port.
///
/// It passes bytes on unchanged, and understands enough of requests and replies (RESP2 and RESP3, pipelines,
/// transactions, blocked reads) to do something to one of them: [`Proxy::arm`]. It counts what it has seen, by
/// [`Label`]; the library's scripts are known by the names of their files.
///
/// It runs on a thread of its own, so a test that blocks its runtime, or pauses tokio's clock, does not stop it.
/// Dropping it closes all connections.
///
/// Not understood: TLS, `CLIENT REPLY`, and after `SUBSCRIBE` or `MONITOR` which reply belongs to which request. Such bytes
/// are passed on as they are.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> redis::RedisResult<()> {
/// use redrive_testkit::{Fault, Moment, Proxy, Server, Target};
///
/// let server = Server::start().await;
/// let proxy = Proxy::in_front_of(&server);
/// let client = redis::Client::open(proxy.url())?;
/// let mut connection = client.get_multiplexed_async_connection().await?;
///
/// let lost = proxy.arm(Target::next("INCR"), Moment::Executed, Fault::Close);
/// let answer: redis::RedisResult<u64> = redis::cmd("INCR").arg("n").query_async(&mut connection).await;
///
/// assert!(answer.is_err() && lost.has_struck());
/// let n: u64 = redis::cmd("GET").arg("n").query_async(&mut server.connect().await).await?;
/// assert_eq!(n, 1);
/// # Ok(())
/// # }
/// ```
pub struct Proxy {
    board: Arc<Board>,
    port: u16,
    url: String,
    /// Nobody there to send any more ends the thread.
    orders: Option<mpsc::UnboundedSender<Door>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy in front of this server; it goes on when the server restarts on its port.
    ///
    /// # Panics
    ///
    /// If no port can be had, or the library's scripts cannot be read.
    pub fn in_front_of(server: &Server) -> Self {
        Self::start(server.port(), |port| server.url_on(port))
    }

    /// Starts a proxy in front of whatever listens on this port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// As [`Proxy::in_front_of`].
    pub fn in_front_of_port(port: u16) -> Self {
        Self::start(port, |port| format!("redis://127.0.0.1:{port}"))
    }

    fn start(server: u16, url: impl FnOnce(u16) -> String) -> Self {
        let board = Arc::new(Board::new());
        let (orders, received) = mpsc::unbounded_channel();
        let (started, starting) = blocking::channel();
        let known = Arc::clone(&board);
        let thread = std::thread::Builder::new()
            .name("fault proxy".to_owned())
            .spawn(move || run(known, server, received, &started));
        let thread = thread.unwrap_or_else(|error| fail(&format!("starting a proxy: {error}")));
        let port = match starting.recv() {
            Ok(Ok(port)) => port,
            Ok(Err(error)) => fail(&format!("starting a proxy: {error}")),
            Err(_) => fail("starting a proxy: its thread is gone"),
        };
        let proxy = Self {
            board,
            port,
            url: url(port),
            orders: Some(orders),
            thread: Some(thread),
        };
        proxy.name_scripts(library_scripts());
        proxy
    }

    /// The URL of the server, through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port of the proxy on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Does something to one request, or to every one of a kind. Several faults may be armed; the one armed first has
    /// the say over a request that is meant by two.
    pub fn arm(&self, target: Target, moment: Moment, fault: Fault) -> Armed {
        Armed {
            order: self.board.arm(target, moment, fault),
            board: Arc::clone(&self.board),
        }
    }

    /// Lets nothing pass any more, in either direction, on any connection; all stay open, new ones too.
    pub fn partition(&self) {
        self.board.weather.send_replace(Weather::Partition);
    }

    /// Ends a partition: what was sent meanwhile is passed on.
    pub fn heal(&self) {
        self.board.weather.send_replace(Weather::Fair);
    }

    /// Refuses new connections, as a port does on which nobody listens. Those that are there stay.
    pub fn refuse(&self) {
        self.door(Door::Shut);
    }

    /// Takes new connections again.
    pub fn admit(&self) {
        self.door(Door::Open);
    }

    /// Resets (RST) every connection that is open, on both sides.
    pub fn reset_all(&self) {
        self.board.cut.send_modify(|times| *times += 1);
    }

    /// From now on resets the connection of one in so many requests, at random: before the request is passed on, or
    /// after it was executed. The same seed and the same requests give the same resets. 0 ends it.
    pub fn reset_at_random(&self, one_in: u32, seed: u64) {
        self.board.reset_at_random(one_in, seed);
    }

    /// Calls a script by a name.
    pub fn name_script(&self, text: &str, name: &str) {
        self.board.name_script(request::hash(text), name.to_owned());
    }

    /// Calls the scripts of a folder by the names of their files; each is known with what the library puts in front
    /// of it, too.
    ///
    /// # Panics
    ///
    /// If the folder cannot be read, or has no scripts.
    pub fn name_scripts(&self, folder: &Path) {
        match scripts(folder) {
            Ok(scripts) if !scripts.is_empty() => {
                for (name, text) in scripts {
                    self.name_script(&text, &name);
                }
            }
            Ok(_) => fail(&format!("no scripts in {}", folder.display())),
            Err(error) => fail(&format!("reading scripts in {}: {error}", folder.display())),
        }
    }

    /// How often each command has been seen, executed or not.
    pub fn seen(&self) -> BTreeMap<Label, u64> {
        self.board.seen()
    }

    /// How often this command has been seen.
    pub fn times_seen(&self, label: impl Into<Label>) -> u64 {
        self.seen().get(&label.into()).copied().unwrap_or(0)
    }

    /// Begins to count what is seen anew.
    pub fn forget_seen(&self) {
        self.board.forget();
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u64 {
        self.board.connections()
    }

    /// How many connections are open on the side of the client.
    pub fn open_connections(&self) -> u64 {
        self.board.open()
    }

    /// How often bytes were not understood; the rest of such a stream is passed on unseen. Anything but 0 means that
    /// the counts are not to be trusted.
    pub fn misunderstood(&self) -> u64 {
        self.board.malformed()
    }

    /// How many connections [`Proxy::reset_at_random`] has reset.
    pub fn random_resets(&self) -> u64 {
        self.board.resets()
    }

    fn door(&self, door: impl FnOnce(blocking::Sender<()>) -> Door) {
        let (done, doing) = blocking::channel();
        if let Some(orders) = &self.orders {
            // A thread that is gone refuses everybody; the wait ends either way.
            let _ = orders.send(door(done));
            let _ = doing.recv();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
