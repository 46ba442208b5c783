//! Connections to one server, kept between requests, each driven by the task whose request is on it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tower_service::Service;

use crate::failure::with_causes;

/// How long an unused connection is kept: less than servers keep one, so that few requests meet
/// one that is just being closed.
const KEPT: Duration = Duration::from_secs(4);
/// How long one may take to be closed.
const TO_CLOSE: Duration = Duration::from_millis(100);

type Wire = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes connections, and keeps those that are not used.
#[derive(Debug)]
pub(super) struct Connections {
    connector: Connector,
    to: Uri,
    kept: Arc<Kept>,
}

/// Neither looks at the environment for a proxy.
#[derive(Clone, Debug)]
pub(super) enum Connector {
    Plain(HttpConnector),
    Tls(HttpsConnector<HttpConnector>),
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// No connection could be made: nothing was sent.
    Unconnected(String),
    /// Whatever became of the request.
    Unanswered(String),
}

impl Connections {
    /// To the server of this URL.
    pub(super) fn new(connector: Connector, to: Uri) -> Self {
        Self {
            connector,
            to,
            kept: Arc::default(),
        }
    }

    /// Sends a request, over a connection that is kept or a new one, and waits for the head of the answer.
    /// It is sent once: again only if the server had closed a kept connection before anything of it was
    /// written there.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the connection.
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Box<Open>), Lost> {
        loop {
            let kept = self.kept.take();
            let is_new = kept.is_none();
            let mut open = match kept {
                Some(open) => open,
                None => self.connect().await.map_err(Lost::Unconnected)?,
            };
            match open.ask(request).await {
                Ok(answer) => return Ok((answer, open)),
                Err(NoAnswer {
                    unsent: Some(unsent),
                    ..
                }) if !is_new => request = *unsent,
                Err(NoAnswer { why, .. }) => return Err(Lost::Unanswered(why)),
            }
        }
    }

    /// Keeps a connection whose answer has been read, for the next request. One that is not at the end of
    /// its answer, or that the server wants closed, is dropped.
    pub(super) fn keep(&self, mut open: Box<Open>) {
        if open.is_free() {
            self.kept.put(open);
        }
    }

    async fn connect(&self) -> Result<Box<Open>, String> {
        let to = self.to.clone();
        let wire = match &self.connector {
            Connector::Plain(connector) => {
                let mut connector = connector.clone();
                let wire = connector.call(to).await;
                MaybeHttpsStream::Http(wire.map_err(|error| with_causes(&error))?)
            }
            Connector::Tls(connector) => {
                let mut connector = connector.clone();
                let wire = connector.call(to).await;
                wire.map_err(|error| with_causes(&*error))?
            }
        };
        let made = Builder::new().handshake(wire).await;
        let (sender, driver) = made.map_err(|error| with_causes(&error))?;
        Ok(Box::new(Open {
            sender,
            driver: Driver::new(driver),
        }))
    }
}

/// A connection in use. Large: it is moved in its box.
///
/// No task drives it, so that an answer wakes the one that waits for it and no other. What is sent and
/// answered only gets on when the driver does, and that is asked for here each time just before: so nothing but the
/// driver has to know whom to wake.
pub(super) struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

struct NoAnswer {
    why: String,
    /// The request, if nothing of it was written.
    unsent: Option<Box<Request<Full<Bytes>>>>,
}

impl Open {
    async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NoAnswer> {
        let Self { sender, driver } = self;
        let mut answer = pin!(sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            driver.get_on(cx.waker());
            answer.as_mut().poll(&mut told_by_the_driver())
        });
        answer.await.map_err(|mut error| {
            let unsent = error.take_message().map(Box::new);
            let error = error.into_error();
            NoAnswer {
                why: with_causes(&error),
                unsent,
            }
        })
    }

    /// The next part of an answer's body; `None` at its end, also where it breaks off.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing of the body is lost.
    pub(super) async fn part(&mut self, body: &mut Incoming) -> Option<Frame<Bytes>> {
        let frame = poll_fn(|cx| {
            let mut next = || Pin::new(&mut *body).poll_frame(&mut told_by_the_driver());
            // Asked for first: the driver reads what is asked for.
            if let ready @ Poll::Ready(_) = next() {
                return ready;
            }
            self.driver.get_on(cx.waker());
            next()
        });
        frame.await.and_then(Result::ok)
    }

    /// Closes it as the server may expect it: with TLS, not without a word.
    async fn close(self: Box<Self>) {
        let Self { sender, driver } = *self;
        drop(sender);
        if let Some(connection) = driver.connection {
            // Whether it did, or why not, is nothing to anybody.
            let _ = timeout(TO_CLOSE, connection).await;
        }
    }

    /// Whether another request can be sent.
    fn is_free(&mut self) -> bool {
        if !self.sender.is_ready() {
            // It may only have to see that an answer is over.
            self.driver.get_on(Waker::noop());
        }
        self.driver.bell.0.take();
        self.driver.connection.is_some() && self.sender.is_ready()
    }
}

fn told_by_the_driver() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// What reads and writes. It has a waker of its own that stays the same: else a connection would wake whoever used it
/// last as soon as another one sends a request.
struct Driver {
    /// Until it has ended.
    connection: Option<Connection<Wire, Full<Bytes>>>,
    bell: Arc<Bell>,
    rings: Waker,
}

/// Wakes who uses the connection.
#[derive(Default)]
struct Bell(AtomicWaker);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}

impl Driver {
    fn new(connection: Connection<Wire, Full<Bytes>>) -> Self {
        let bell = Arc::<Bell>::default();
        Self {
            connection: Some(connection),
            rings: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }

    /// Reads and writes what can be; wakes when there is more.
    fn get_on(&mut self, wakes: &Waker) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        self.bell.0.register(wakes);
        let polled = Pin::new(connection).poll(&mut Context::from_waker(&self.rings));
        if polled.is_ready() {
            // What was to be said of it has been said to the request. Dropping it gives back one that was not sent.
            self.connection = None;
        }
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Open")
    }
}

/// Connections that nobody uses, the one that was used last at the end.
#[derive(Debug, Default)]
struct Kept(Mutex<Unused>);

#[derive(Debug, Default)]
struct Unused {
    open: Vec<(Instant, Box<Open>)>,
    /// Whether a task will close what nobody uses for too long.
    is_watched: bool,
}

impl Kept {
    fn inside(&self) -> MutexGuard<'_, Unused> {
        // Nothing in here is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Box<Open>> {
        let (since, open) = self.inside().open.pop()?;
        // All others have been there for even longer: they are closed in a moment.
        (since.elapsed() < KEPT).then_some(open)
    }

    fn put(self: &Arc<Self>, open: Box<Open>) {
        let now = Instant::now();
        let mut inside = self.inside();
        inside.open.push((now, open));
        if !std::mem::replace(&mut inside.is_watched, true) {
            tokio::spawn(watch(Arc::downgrade(self), now + KEPT));
        }
    }

    /// Takes out what nobody has used for too long. Answers when to look again; `None` if nothing is left.
    fn too_old(&self, now: Instant) -> (Vec<(Instant, Box<Open>)>, Option<Instant>) {
        let mut inside = self.inside();
        let old = inside
            .open
            .partition_point(|(since, _)| now - *since >= KEPT);
        let old = inside.open.drain(..old).collect();
        let next = inside.open.first().map(|(since, _)| *since + KEPT);
        inside.is_watched = next.is_some();
        (old, next)
    }
}

/// Closes what nobody uses for too long, for as long as anything is kept.
async fn watch(kept: Weak<Kept>, mut look_at: Instant) {
    loop {
        sleep_until(look_at).await;
        let Some(kept) = kept.upgrade() else { return };
        let (old, next) = kept.too_old(Instant::now());
        // Outside of the lock: they are closed here.
        for (_, open) in old {
            open.close().await;
        }
        match next {
            Some(next) => look_at = next,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
