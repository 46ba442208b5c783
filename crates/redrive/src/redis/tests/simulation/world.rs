//! The real server under the simulation, and what happens to it from outside: time passes, entries
//! are trimmed, the dead-letter queue refuses.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, Value, cmd};
use redrive_testkit::Server;

use super::super::{Redis, Tls, membership};
use super::truth::{Idle, MAX_ATTEMPTS, MAX_CRASHES};
use crate::backend::{Backend, Seat};
use crate::conformance::seated;
use crate::message::Fields;
use crate::names::{EntryId, Source, StreamKey};
use crate::redis::keys::GroupKeys;
use std::time::Duration;

/// So long that nothing is ever idle for it by itself: time passes only where a step says so.
const LEASE: Duration = Duration::from_secs(3_600);
const FOREIGN_LEASE: Duration = Duration::from_secs(7_200);

pub(super) struct World {
    // Dropped last of all, by its place.
    pub(super) raw: MultiplexedConnection,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) source: Source,
    pub(super) dlq: StreamKey,
    pub(super) keys: GroupKeys,
    dues: u64,
    _server: Server,
}

impl World {
    pub(super) async fn new() -> Self {
        let server = Server::start().await;
        let url = server.unix_url();
        let raw = server.connect().await;
        let backend = Redis::connect(&url, &Tls::default()).await.unwrap();
        let source = Source::new("orders", "billing").unwrap();
        Self {
            raw,
            backend: Arc::new(backend),
            dlq: source.stream.default_dead_letters(),
            keys: GroupKeys::of(&source),
            source,
            dues: 0,
            _server: server,
        }
    }

    pub(super) async fn join(&self, name: &str) -> Arc<dyn Seat> {
        let mut membership = membership(&self.source, name);
        membership.lease = LEASE;
        membership.foreign_lease = FOREIGN_LEASE;
        membership.max_attempts = MAX_ATTEMPTS;
        membership.max_crashes = MAX_CRASHES;
        seated(self.backend.join(membership).await)
    }

    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> T {
        command.query_async(&mut self.raw).await.unwrap()
    }

    async fn tell(&mut self, commands: &Pipeline) {
        let _: Vec<Value> = commands.query_async(&mut self.raw).await.unwrap();
    }

    /// A command on the stream and the group, which all of these name first.
    pub(super) fn on_group(&self, name: &str) -> Cmd {
        let mut command = cmd(name);
        command
            .arg(self.source.stream.as_str())
            .arg(self.source.group.as_str());
        command
    }

    /// Ids of our own choice, so that a seed repeats exactly.
    pub(super) async fn add(&mut self, entries: &[(EntryId, Fields)]) {
        let mut commands = Pipeline::new();
        for (id, fields) in entries {
            let mut add = cmd("XADD");
            add.arg(self.source.stream.as_str()).arg(id.to_string());
            for (name, value) in fields.iter() {
                add.arg(name).arg(value);
            }
            commands.add_command(add);
        }
        self.tell(&commands).await;
    }

    /// Time passes for these entries, which are on these consumers.
    pub(super) async fn age(&mut self, entries: &[(EntryId, String)], idle: Idle) {
        let idle = match idle {
            Idle::Busy => return,
            Idle::Lease => LEASE,
            Idle::ForeignLease => FOREIGN_LEASE,
        };
        let mut commands = Pipeline::new();
        for (id, owner) in entries {
            let mut claim = self.on_group("XCLAIM");
            claim.arg(owner).arg(0).arg(id.to_string());
            claim.arg("IDLE").arg(idle.as_millis() as u64).arg("JUSTID");
            commands.add_command(claim);
        }
        if !entries.is_empty() {
            self.tell(&commands).await;
        }
    }

    /// The due times of these entries pass, in this order.
    pub(super) async fn pass_due(&mut self, ids: &[EntryId]) {
        let mut shift = cmd("ZADD");
        shift.arg(&self.keys.due).arg("XX");
        for id in ids {
            self.dues += 1;
            shift.arg(self.dues).arg(id.to_string());
        }
        if !ids.is_empty() {
            let _: Value = self.ask(&shift).await;
        }
    }

    /// A consumer has been silent for a lease.
    pub(super) async fn silence(&mut self, name: &str) {
        let _: Value = self.ask(cmd("DEL").arg(self.keys.alive(name))).await;
    }

    pub(super) async fn trim(&mut self, id: EntryId) {
        let mut delete = cmd("XDEL");
        delete.arg(self.source.stream.as_str()).arg(id.to_string());
        let _: Value = self.ask(&delete).await;
    }

    /// From here on, until [`Self::allow`], nothing can be added to the dead-letter queue.
    pub(super) async fn refuse(&mut self) {
        let (dlq, aside) = (self.dlq.to_string(), self.aside());
        let mut commands = Pipeline::new();
        commands.cmd("RENAME").arg(&dlq).arg(&aside);
        commands.cmd("SET").arg(&dlq).arg("not a stream");
        commands.ignore_errors();
        self.tell(&commands).await;
    }

    pub(super) async fn allow(&mut self) {
        let (dlq, aside) = (self.dlq.to_string(), self.aside());
        let mut commands = Pipeline::new();
        commands.cmd("DEL").arg(&dlq);
        commands.cmd("RENAME").arg(&aside).arg(&dlq);
        commands.ignore_errors();
        self.tell(&commands).await;
    }

    fn aside(&self) -> String {
        format!("{}-aside", self.dlq)
    }
}
