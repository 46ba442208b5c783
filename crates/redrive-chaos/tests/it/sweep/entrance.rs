//! The way by which a process reaches the server: a proxy, and the address that it is told.

use redrive_testkit::{Proxy, SERVICE, Server, sentinel_of};

use super::step::Door;

pub(super) struct Entrance {
    pub(super) proxy: Proxy,
    pub(super) url: String,
    /// Where there is one, it is gone with this.
    _sentinel: Option<Server>,
}

impl Entrance {
    pub(super) async fn of(server: &Server, door: Door) -> Self {
        match door {
            Door::Server => {
                let proxy = Proxy::in_front_of(server);
                Self {
                    url: proxy.url().to_owned(),
                    proxy,
                    _sentinel: None,
                }
            }
            Door::Sentinel => {
                let sentinel = sentinel_of(server).await;
                let proxy = Proxy::in_front_of(&sentinel);
                let port = proxy.port();
                Self {
                    url: format!("redis+sentinel://127.0.0.1:{port}/{SERVICE}"),
                    proxy,
                    _sentinel: Some(sentinel),
                }
            }
        }
    }
}
