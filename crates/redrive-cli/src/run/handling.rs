//! The handler of the processor: hands each message on to the program or the server.

use std::time::Duration;

use redrive::{Handler, Message, Outcome};

use crate::run::command;
use crate::run::delivery::{Body, Delivery};
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
        let ended = match &self.worker {
            Worker::Command(program) => program.run(&delivery, self.limit, cancelled).await,
            Worker::Http(server) => server.run(&delivery, self.limit, cancelled).await,
        };
        ended.into()
    }
}
