//! What the user may do that asks, found out by `ACL DRYRUN`: nothing is run.

use std::collections::BTreeSet;

use redis::{Pipeline, Value, cmd};

use super::{DOING, told};
use crate::doctor::facts::{Rights, Role, Told};
use crate::error::Error;
use crate::names::{GroupName, Source, StreamKey};
use crate::redis::connection::Link;
use crate::redis::keys::{self, GroupKeys};
use crate::redis::trim::literally;
use crate::redis::wire;

/// What a worker cannot do without; `S` is the stream, `G` the group, `K` a key of redrive's beside it.
/// The page about security tells what each is for, and what may be left out.
const WORKER: [&str; 31] = [
    "XREADGROUP GROUP G c STREAMS S >",
    "XACK S G 1-0",
    "XCLAIM S G c 0 1-0",
    "XPENDING S G",
    "XRANGE S - +",
    "XADD S * f v",
    "XDEL S 1-0",
    "XLEN S",
    "XINFO STREAM S",
    "XGROUP CREATE S G 0",
    "EVAL return 1 S",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 S",
    "TIME",
    "HGET K f",
    "HSET K f v",
    "HDEL K f",
    "HMGET K f",
    "HKEYS K",
    "HEXISTS K f",
    "HINCRBY K f 1",
    "HSCAN K 0",
    "ZADD K 1 m",
    "ZREM K m",
    "ZRANGE K 0 0",
    "ZRANGEBYSCORE K 0 0",
    "ZSCORE K m",
    "GET K",
    "SET K v",
    "DEL K",
    "PEXPIRE K 1",
    "PTTL K",
];

/// What who puts dead letters back and purges them cannot do without.
const OPERATOR: [&str; 15] = [
    "XADD S * f v",
    "XRANGE S - +",
    "XREVRANGE S + -",
    "XDEL S 1-0",
    "XLEN S",
    "XINFO STREAM S",
    "XPENDING S G",
    "HGET K f",
    "HSET K f v",
    "HDEL K f",
    "HMGET K f",
    "HINCRBY K f 1",
    "EXPIREAT K 1",
    "EVAL return 1 S",
    "TIME",
];

pub(super) async fn rights(
    link: &Link,
    stream: &StreamKey,
    group: Option<&GroupName>,
) -> Result<Told<Rights>, Error> {
    told(ask(link, stream, group).await)
}

async fn ask(link: &Link, stream: &StreamKey, group: Option<&GroupName>) -> Result<Rights, Error> {
    let user = link.send(cmd("ACL").arg("WHOAMI"), DOING).await?;
    let user = wire::text(user, "the name of a user")?;
    // Any name will do where there is no group: rights are about keys.
    let group = match group {
        Some(group) => group.clone(),
        None => GroupName::new("g")?,
    };
    let dlq = stream.default_dead_letters();
    let own = GroupKeys::of(&Source {
        stream: stream.clone(),
        group: group.clone(),
    });
    let names = Names {
        stream: stream.as_str(),
        group: group.as_str(),
        own: &own.state,
    };
    let of_queue = Names {
        stream: dlq.as_str(),
        own: &keys::ledger(&dlq),
        ..names
    };
    let asking = Asking { link, user: &user };

    let who = [
        names.words("XREADGROUP GROUP G c STREAMS S >"),
        of_queue.words("XDEL S 1-0"),
    ];
    let may = asking.refusals(&who).await?;
    let role = match may.as_slice() {
        [None, ..] => Role::Worker,
        [_, None] => Role::Operator,
        _ => Role::Other,
    };
    let needed: &[&str] = match role {
        Role::Worker => &WORKER,
        Role::Operator => &OPERATOR,
        Role::Other => &[],
    };
    let mut missing = BTreeSet::new();
    let words: Vec<Vec<String>> = needed.iter().map(|need| names.words(need)).collect();
    for (words, refused) in words.iter().zip(asking.refusals(&words).await?) {
        missing.extend(refused.map(|refused| match refused {
            Refused::Command => format!(
                "+{}",
                words.first().map_or("", String::as_str).to_lowercase()
            ),
            Refused::Key if words.iter().any(|word| word == names.own) => of_keys(stream),
            Refused::Key => format!("~{}", literally(stream.as_str())),
        }));
    }
    // Another one may be in use than this, and nothing says which.
    if role != Role::Other && in_use(link, &dlq).await? {
        let words = [
            of_queue.words("XADD S * f v"),
            of_queue.words("HINCRBY K f 1"),
        ];
        let keys = [format!("~{}", literally(dlq.as_str())), of_keys(&dlq)];
        for (refused, key) in asking.refusals(&words).await?.into_iter().zip(keys) {
            missing.extend(refused.filter(|why| *why == Refused::Key).map(|_| key));
        }
    }
    Ok(Rights {
        user,
        role,
        missing: missing.into_iter().collect(),
    })
}

/// The keys of redrive's beside a stream, as a right.
fn of_keys(stream: &StreamKey) -> String {
    let (prefix, _) = keys::marks(stream);
    format!("~{}*", literally(&prefix))
}

async fn in_use(link: &Link, dlq: &StreamKey) -> Result<bool, Error> {
    let length = link.send(cmd("XLEN").arg(dlq.as_str()), DOING).await;
    Ok(match told(length)? {
        Told::Yes(length) => wire::count(length, "a length")? > 0,
        // Who may not look at it at all may have another.
        Told::No(_) => false,
    })
}

#[derive(Clone, Copy)]
struct Names<'a> {
    stream: &'a str,
    group: &'a str,
    own: &'a str,
}

impl Names<'_> {
    /// A command as it would be sent.
    fn words(&self, need: &str) -> Vec<String> {
        let words = need.split(' ').map(|word| match word {
            "S" => self.stream,
            "G" => self.group,
            "K" => self.own,
            word => word,
        });
        let words: Vec<String> = words.map(str::to_owned).collect();
        match need.strip_prefix("EVAL ") {
            Some(_) => ["EVAL", "return 1", "1", self.stream]
                .map(str::to_owned)
                .to_vec(),
            None => words,
        }
    }
}

/// Why a command would be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Command,
    Key,
}

struct Asking<'a> {
    link: &'a Link,
    user: &'a str,
}

impl Asking<'_> {
    /// Of each of these, why it would be refused; `None` for what would be run.
    async fn refusals(&self, all: &[Vec<String>]) -> Result<Vec<Option<Refused>>, Error> {
        let mut ask = Pipeline::new();
        ask.ignore_errors();
        for words in all {
            ask.cmd("ACL").arg("DRYRUN").arg(self.user).arg(words);
        }
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.link.send_all(&ask, DOING).await?.into_iter();
        answers
            .map(|answer| match self.link.answer(answer, DOING)? {
                Value::Okay => Ok(None),
                answer => {
                    let text = wire::text(answer, "what a user may do")?;
                    Ok(refused(&text))
                }
            })
            .collect()
    }
}

fn refused(text: &str) -> Option<Refused> {
    if text == "OK" {
        None
    } else if text.contains("to run") {
        Some(Refused::Command)
    } else {
        Some(Refused::Key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_of_the_command_or_of_its_keys() {
        for (text, why) in [
            ("OK", None),
            (
                "This user has no permissions to run the 'xclaim' command",
                Some(Refused::Command),
            ),
            (
                "This user has no permissions to access the 't' key",
                Some(Refused::Key),
            ),
        ] {
            assert_eq!(refused(text), why);
        }
    }

    #[test]
    fn what_is_asked_names_the_keys_as_they_are() {
        let names = Names {
            stream: "my orders",
            group: "b",
            own: "{my orders}:redrive:b:state",
        };
        assert_eq!(
            names.words("XACK S G 1-0"),
            ["XACK", "my orders", "b", "1-0"]
        );
        assert_eq!(
            names.words("EVAL return 1 S"),
            ["EVAL", "return 1", "1", "my orders"]
        );
        assert_eq!(names.words("HGET K f")[1], "{my orders}:redrive:b:state");
    }
}
