//! A real server that a test owns: connect to it, restart it, freeze it, kill it.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisResult};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::builder::Builder;
use crate::fail;
use crate::process::{Launch, Process, Refused};

/// The client's own default of 500 ms would fail tests that freeze a server on purpose.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a restart waits for its own port to be free again.
const PORT_FREE_WITHIN: Duration = Duration::from_secs(10);

/// A `redis-server` process of the test's own, on a free loopback port and a unix socket.
///
/// It keeps nothing on disk unless [`Builder::appendonly`] asks for it. Dropping it kills the server, waits until
/// it is gone and removes its directory; the same happens when the test process is killed.
pub struct Server {
    process: Mutex<Option<Process>>,
    launch: Launch,
    password: Option<String>,
    // Last: fields are dropped in order, and the server must be gone before its directory is.
    _directory: TempDir,
}

impl Server {
    /// Starts a server with the default options.
    ///
    /// # Panics
    ///
    /// If there is no server binary, or it does not start.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Options to choose before starting.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        directory: TempDir,
        launch: Launch,
        process: Process,
        password: Option<String>,
    ) -> Self {
        Self {
            process: Mutex::new(Some(process)),
            launch,
            password,
            _directory: directory,
        }
    }

    /// Opens a connection over TCP with TCP_NODELAY and a response time-out of 30 s.
    ///
    /// # Panics
    ///
    /// If the connection cannot be made.
    pub async fn connect(&self) -> MultiplexedConnection {
        self.try_connect().await.unwrap_or_else(|error| {
            let url = self.url();
            fail(&format!("cannot connect to the server at {url}: {error}"))
        })
    }

    /// As [`Server::connect`], for a server that may be down.
    pub(crate) async fn try_connect(&self) -> RedisResult<MultiplexedConnection> {
        connect_to(Client::open(without_delay(&self.url())?)?).await
    }

    /// The port for TLS, of a server that has one; else the plain one.
    pub(crate) fn tls_port(&self) -> u16 {
        self.launch.ports.tls.unwrap_or(self.launch.ports.plain)
    }

    /// Opens a connection over TLS, with this CA and, if any, this client certificate; else as [`Server::connect`].
    ///
    /// # Errors
    ///
    /// Whatever the handshake or the connection fails with: tests want to see a wrong certificate refused.
    pub async fn connect_tls(
        &self,
        certificates: redis::TlsCertificates,
    ) -> RedisResult<MultiplexedConnection> {
        crate::install_crypto_provider();
        let info = without_delay(&self.tls_url())?;
        connect_to(Client::build_with_tls(info, certificates)?).await
    }

    /// Stops the server as an operator would (SIGTERM) and starts it again on the same ports and socket. Starts it
    /// as well after [`Server::kill9`]. Data survive only with [`Builder::appendonly`].
    ///
    /// # Panics
    ///
    /// If the server does not come back.
    pub async fn restart(&self) {
        let old = self.process().take();
        let launch = self.launch.clone();
        let started = spawn_blocking(move || {
            if let Some(old) = old {
                old.stop();
            }
            start_again(&launch)
        })
        .await;
        match started {
            Ok(Ok(process)) => *self.process() = Some(process),
            Ok(Err(reason)) => fail(&reason),
            Err(error) => fail(&format!("restarting a test server: {error}")),
        }
    }

    /// Kills the server with SIGKILL and returns when it is gone. [`Server::restart`] brings it back.
    pub async fn kill9(&self) {
        let process = self.process().take();
        if let Err(error) = spawn_blocking(move || drop(process)).await {
            fail(&format!("killing a test server: {error}"));
        }
    }

    /// Stops the server with SIGSTOP: connections stay open, nothing is answered.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn freeze(&self) {
        self.running(Process::freeze);
    }

    /// Lets a frozen server go on (SIGCONT).
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn thaw(&self) {
        self.running(Process::thaw);
    }

    /// `redis://127.0.0.1:PORT`, with the password if there is one.
    pub fn url(&self) -> String {
        self.url_on(self.port())
    }

    /// The same, at another port: that of something in front of it.
    pub(crate) fn url_on(&self, port: u16) -> String {
        format!("redis://{}127.0.0.1:{port}", self.user_info())
    }

    /// `rediss://127.0.0.1:PORT`, with the password if there is one.
    ///
    /// # Panics
    ///
    /// If the server was started without [`Builder::tls`].
    pub fn tls_url(&self) -> String {
        let Some(port) = self.launch.ports.tls else {
            fail("this server has no TLS port: start it with .tls(files)")
        };
        format!("rediss://{}127.0.0.1:{port}", self.user_info())
    }

    /// `unix:///tmp/….sock`, with the password as `?pass=` if there is one.
    pub fn unix_url(&self) -> String {
        let socket = self.launch.socket();
        let query = self
            .password
            .as_ref()
            .map(|password| format!("?pass={}", percent_encoded(password)));
        format!("unix://{}{}", socket.display(), query.unwrap_or_default())
    }

    /// The plain TCP port.
    pub fn port(&self) -> u16 {
        self.launch.ports.plain
    }

    /// The server's process id; another one after each restart.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn pid(&self) -> u32 {
        self.running(|process| process.pid())
    }

    /// The directory of the server's socket, log and data; removed with the server.
    pub fn directory(&self) -> &Path {
        &self.launch.directory
    }

    fn running<T>(&self, act: impl FnOnce(&mut Process) -> T) -> T {
        match self.process().as_mut() {
            Some(process) => act(process),
            None => fail("the server is not running: it was killed and not restarted"),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // A panic in another thread of the test leaves the process as it was.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn user_info(&self) -> String {
        self.password.as_ref().map_or_else(String::new, |password| {
            format!(":{}@", percent_encoded(password))
        })
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("port", &self.port())
            .field("directory", &self.directory())
            .finish_non_exhaustive()
    }
}

fn start_again(launch: &Launch) -> Result<Process, String> {
    let deadline = Instant::now() + PORT_FREE_WITHIN;
    loop {
        match Process::start(launch) {
            Ok(process) => return Ok(process),
            Err(Refused::PortTaken) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(50));
            }
            Err(Refused::PortTaken) => {
                let port = launch.ports.plain;
                return Err(format!("port {port} was taken while the server was down"));
            }
            // It started once, with the same options.
            Err(Refused::DebugCommandUnknown) => {
                return Err("the server binary changed between start and restart".to_owned());
            }
            Err(Refused::Failed(reason)) => return Err(reason),
        }
    }
}

fn without_delay(url: &str) -> RedisResult<redis::ConnectionInfo> {
    let info = url.into_connection_info()?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

async fn connect_to(client: Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECTION_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
