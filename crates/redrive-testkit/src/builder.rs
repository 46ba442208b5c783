//! What a test may ask of its server before it starts.

use std::net::TcpListener;

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::fail;
use crate::process::{DebugCommand, Launch, Ports, Process, Refused, server_binary};
use crate::server::Server;
use crate::tls::TlsFiles;

/// Below the range that Linux and macOS take for outgoing connections: a server that restarts on its port must not
/// find a client's socket there.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
const ATTEMPTS: usize = 20;

/// Options for a [`Server`]; made by [`Server::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    options: Vec<String>,
    password: Option<String>,
    tls: Option<TlsFiles>,
    config: Option<String>,
}

impl Builder {
    /// Adds a server option, such as `.arg("--maxmemory", "10mb")`. The last value given for a name wins.
    pub fn arg(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Adds an ACL user, written as in a Redis configuration: `.acl("viewer on >secret ~orders* +@read")`.
    pub fn acl(mut self, user: &str) -> Self {
        self.options.push("--user".to_owned());
        self.options
            .extend(user.split_whitespace().map(str::to_owned));
        self
    }

    /// Asks for a password from the default user. [`Server::url`] and [`Server::connect`] then use it.
    pub fn requirepass(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.arg("--requirepass", password)
    }

    /// Writes every command to an append-only file before answering, so that data survive [`Server::restart`] and
    /// [`Server::kill9`].
    pub fn appendonly(self) -> Self {
        self.arg("--appendonly", "yes")
            .arg("--appendfsync", "always")
    }

    /// Makes it a sentinel that begins with this configuration, and keeps in it what it learns.
    pub(crate) fn sentinel(mut self, config: String) -> Self {
        self.config = Some(config);
        self.options.push("--sentinel".to_owned());
        self
    }

    /// Opens a TLS port beside the plain one. A client's certificate is verified when it shows one; to demand one,
    /// add `.arg("--tls-auth-clients", "yes")` after this.
    pub fn tls(mut self, files: TlsFiles) -> Self {
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let (ca, certificate, key) = (
            path(files.ca()),
            path(files.server_certificate()),
            path(files.server_key()),
        );
        self.tls = Some(files);
        self.arg("--tls-ca-cert-file", &ca)
            .arg("--tls-cert-file", &certificate)
            .arg("--tls-key-file", &key)
            .arg("--tls-auth-clients", "optional")
    }

    /// Starts the server and returns when it answers.
    ///
    /// # Panics
    ///
    /// If there is no server binary, or it does not start: the message holds the end of its log.
    pub async fn start(self) -> Server {
        match spawn_blocking(move || self.start_blocking()).await {
            Ok(Ok(server)) => server,
            Ok(Err(reason)) => fail(&reason),
            Err(error) => fail(&format!("starting a test server: {error}")),
        }
    }

    fn start_blocking(self) -> Result<Server, String> {
        // Not the system's temp dir: macOS has one whose name leaves no room in the 104 bytes of a socket path.
        let directory = tempfile::Builder::new()
            .prefix("redrive-")
            .tempdir_in("/tmp")
            .map_err(|error| format!("cannot create a directory in /tmp: {error}"))?;
        let config = match &self.config {
            None => None,
            Some(text) => {
                let path = directory.path().join("server.conf");
                std::fs::write(&path, text)
                    .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
                Some(path)
            }
        };
        let mut launch = Launch {
            binary: server_binary()?,
            directory: directory.path().to_owned(),
            ports: self.free_ports(),
            options: Vec::new(),
            config,
            debug_command: DebugCommand::Enable,
        };
        for _ in 0..ATTEMPTS {
            launch.options = self.options_on(launch.ports);
            match Process::start(&launch) {
                Ok(process) => return Ok(self.server(directory, launch, process)),
                Err(Refused::PortTaken) => launch.ports = self.free_ports(),
                Err(Refused::DebugCommandUnknown) => launch.debug_command = DebugCommand::Unknown,
                Err(Refused::Failed(reason)) => return Err(reason),
            }
        }
        Err(format!("no free port found in {ATTEMPTS} attempts"))
    }

    fn server(self, directory: TempDir, launch: Launch, process: Process) -> Server {
        Server::new(directory, launch, process, self.password)
    }

    fn options_on(&self, ports: Ports) -> Vec<String> {
        let tls_port = ports
            .tls
            .map(|port| ["--tls-port".to_owned(), port.to_string()]);
        let mut options: Vec<String> = tls_port.into_iter().flatten().collect();
        options.extend(self.options.iter().cloned());
        options
    }

    fn free_ports(&self) -> Ports {
        let plain = free_port();
        let tls = self.tls.as_ref().map(|_| {
            loop {
                let port = free_port();
                if port != plain {
                    break port;
                }
            }
        });
        Ports { plain, tls }
    }
}

pub(crate) fn free_port() -> u16 {
    (0..1_000)
        .map(|_| fastrand::u16(PORTS))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap_or_else(|| fail("no free port on 127.0.0.1"))
}
