//! The handler of the processor: hands each message on to the program or the server.

use std::time::Duration;

use redrive::{Handler, Message, Outcome};

use crate::run::command;
use crate::run::delivery::{Body, Delivery};
use crate::run::ended::Ended;
use crate::run::http::Server;
use crate::run::program::Program;
use crate::run::stop::Stop;

/// Who does the work.
#[derive(Debug)]
pub(crate) enum Worker {
    Command(Program),
    Http(Box<Server>),
}

impl Worker {
    /// How long it takes at most to end a run.
    pub(crate) fn to_end(&self) -> Duration {
        match self {
            Self::Command(_) => command::TO_DIE,
            Self::Http(_) => Duration::ZERO,
        }
    }

    /// Lets it handle one message, until `limit` is over or `cancelled` resolves.
    pub(crate) async fn run(
        &self,
        delivery: &Delivery,
        limit: Option<Duration>,
        cancelled: impl Future<Output = ()>,
    ) -> Ended {
        match self {
            Self::Command(program) => program.run(delivery, limit, cancelled).await,
            Self::Http(server) => server.run(delivery, limit, cancelled).await,
        }
    }
}

/// A worker with its time-out.
#[derive(Debug)]
pub(crate) struct Handling {
    worker: Worker,
    limit: Option<Duration>,
    stop: Stop,
}

impl Handling {
    pub(crate) fn new(worker: Worker, limit: Option<Duration>, stop: Stop) -> Self {
        Self {
            worker,
            limit,
            stop,
        }
    }
}

impl Handler<Body> for Handling {
    async fn handle(&self, message: Message<Body>) -> Outcome {
        let delivery = Delivery::of(&message);
        let cancelled = async {
            message.cancelled().await;
            self.stop.note_cancelled();
        };
        let ended = self.worker.run(&delivery, self.limit, cancelled);
        ended.await.into()
    }
}
