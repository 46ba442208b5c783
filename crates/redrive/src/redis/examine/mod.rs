//! What the server tells for it to be judged. Commands that only read, a page at a time; what a user
//! may not ask, or a server does not know, is an answer, too.

mod group;
mod rights;
mod server;
mod stream;

use redis::Value;

pub(super) use server::server;
pub(super) use stream::stream;

use super::connection::Link;
use crate::doctor::facts::Told;
use crate::error::{Error, ErrorKind, with_causes};

const DOING: &str = "examining the server";

/// An answer, or why there is none. An outage is no answer, but an error.
fn told<T>(answer: Result<T, Error>) -> Result<Told<T>, Error> {
    match answer {
        Ok(value) => Ok(Told::Yes(value)),
        Err(error) if error.kind() == ErrorKind::Denied => {
            let why = with_causes(&error);
            let why = why.split(": ").last().unwrap_or_default().to_owned();
            Ok(Told::No(why))
        }
        Err(error) if error.kind() == ErrorKind::Protocol => {
            Ok(Told::No("this server does not answer that".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// One answer of several.
fn told_of(link: &Link, value: Option<Value>) -> Result<Told<Value>, Error> {
    told(link.answer(value.unwrap_or(Value::Nil), DOING))
}

/// The same, with what is read of it; what does not read was not told.
fn then<T, U>(told: Told<T>, read: impl FnOnce(T) -> Option<U>) -> Told<U> {
    match told {
        Told::Yes(value) => read(value).map_or_else(
            || Told::No("this server does not tell".to_owned()),
            Told::Yes,
        ),
        Told::No(why) => Told::No(why),
    }
}
