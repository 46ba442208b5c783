//! A server as a sentinel names it: by address or host name, and port.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, Value};

use super::wire;
use crate::error::{Error, ErrorKind};

/// A server, as sentinels name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Server {
    /// What `GET-MASTER-ADDR-BY-NAME` answers.
    pub(super) fn read(answer: Value) -> Result<Self, Error> {
        let what = "the address of a primary";
        let mut parts = wire::list(answer, what)?.into_iter();
        let mut next = || wire::text(parts.next().unwrap_or(Value::Nil), what);
        let (host, port) = (next()?, next()?);
        let port = port.parse().map_err(|_| wire::unexpected(what))?;
        Ok(Self { host, port })
    }

    /// How to connect to it.
    pub(super) fn info(
        &self,
        encrypted: bool,
        login: RedisConnectionInfo,
    ) -> Result<ConnectionInfo, Error> {
        let Self { host, port } = self.clone();
        let address = if encrypted {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = address.into_connection_info();
        let info = info.map_err(|_| {
            Error::new(ErrorKind::Invalid, format!("reading the address of {self}"))
        })?;
        Ok(info.set_redis_settings(login))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}
