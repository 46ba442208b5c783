//! The handler of a shadow run: the same program or server, told of which dead letter it is.

use std::ffi::OsString;
use std::time::Duration;

use redrive::{Handler, Message, Outcome};

use crate::failure::Failure;
use crate::run::delivery::{Body, Delivery};
use crate::run::handling::Worker;
use crate::run::http::Server;
use crate::run::program::Program;

/// A program or a server that is given dead letters.
#[derive(Debug)]
pub(crate) struct Shadow {
    worker: Worker,
    limit: Option<Duration>,
}

impl Shadow {
    /// A command that was given wins over a URL from the configuration file.
    pub(crate) fn new(
        command: &[OsString],
        http: Option<&str>,
        limit: Option<Duration>,
    ) -> Result<Self, Failure> {
        let worker = match (command, http) {
            ([], Some(url)) => Worker::Http(Box::new(Server::for_any(url, limit)?)),
            ([], None) => {
                return Err(Failure::usage("no handler is given")
                    .hint("put a command after --, or name a server with --http"));
            }
            (command, _) => Worker::Command(Program::find(command)?),
        };
        Ok(Self { worker, limit })
    }
}

impl Handler<Body> for Shadow {
    async fn handle(&self, message: Message<Body>) -> Outcome {
        let mut delivery = Delivery::of(&message);
        let names = [delivery.stream.as_str(), delivery.group.as_str()];
        if matches!(self.worker, Worker::Command(_)) && names.iter().any(|name| name.contains('\0'))
        {
            // Not that the program cannot be started: it says something of this message alone.
            let text = "the name of its stream or group holds a NUL, which no program can get";
            return Outcome::dead_letter(text);
        }
        delivery.dead_letter = message.lineage().replayed_from;
        self.worker
            .run(&delivery, self.limit, message.cancelled())
            .await
            .into()
    }
}
