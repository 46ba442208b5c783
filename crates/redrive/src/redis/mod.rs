//! The Redis backend: plain commands where they do, scripts where check and write must be one step.

mod asking;
mod audit;
mod books;
mod campaigns;
mod capability;
mod clock;
mod connection;
mod era;
mod errors;
mod examine;
mod group;
mod import;
mod inspect;
mod keeping;
mod keys;
mod light;
mod look;
mod members;
mod milestones;
mod page;
mod reader;
mod received;
mod registry;
mod renewal;
mod replay;
mod resp;
mod rights;
mod scripts;
mod seat;
mod sentinel;
mod sentinel_server;
mod sentinel_url;
mod settle;
mod socket;
mod tls;
mod transaction;
mod trim;
mod url;
mod wire;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
#[cfg(not(fuzzing_libfuzzer))]
mod tests;

#[cfg(test)]
#[cfg(not(fuzzing_libfuzzer))]
pub(crate) mod lab;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Pipeline, cmd};

use connection::{Address, Call, Link};
use registry::Sign;
use seat::millis;
pub(crate) use tls::Tls;

use crate::backend::{
    Backend, Entry, IdRange, Import, Imported, Joined, Mark, Membership, Opened, Replay, Replayed,
    Undo, UndoHow, Undone,
};
use crate::campaign::{CampaignName, CampaignState, Death, Plan, Record};
use crate::doctor::Named;
use crate::doctor::facts::{ServerFacts, StreamFacts};
use crate::error::{Error, ErrorKind};
use crate::members::{Consumer, Created, Deleted, Deletion, Removal, WhyKept};
use crate::message::Fields;
use crate::names::{EntryId, GroupName, GroupStart, Names, Source, StreamKey};
use crate::stats::{Pending, Stats};
use crate::trim::{TrimStep, Trimmed};

/// How many items a script call or a pipeline takes at most: bounded work for the server.
const CALL: usize = 100;

/// How much is added in one round trip at most, in entries and in bytes; an entry that is larger
/// goes alone.
const LOAD: (usize, usize) = (1_000, 1 << 20);

/// A Redis server, or one that speaks like it.
#[derive(Debug)]
pub(crate) struct Redis {
    address: Address,
    link: Link,
    light: light::Light,
}

impl Redis {
    /// Connects and makes sure that the server can do what is needed.
    pub(crate) async fn connect(url: &str, tls: &Tls) -> Result<Self, Error> {
        let address = Address::parse(url, tls)?;
        let link = Link::new(address.clone());
        capability::require(&link).await?;
        Ok(Self {
            light: light::Light::new(address.clone()),
            address,
            link,
        })
    }
}

#[async_trait]
impl Backend for Redis {
    async fn join(&self, membership: Membership) -> Result<Joined, Error> {
        let seat = seat::RedisSeat::new(&self.address, membership);
        Ok(match seat.join().await? {
            Sign::Given => Joined::Seat(Arc::new(seat)),
            Sign::Taken { left } => Joined::Taken { left },
        })
    }

    async fn append(&self, stream: &StreamKey, entries: &[Fields]) -> Result<Vec<EntryId>, Error> {
        let doing = "adding entries";
        if entries.iter().any(Fields::is_empty) {
            return Err(
                Error::new(ErrorKind::Invalid, doing).hint("an entry needs at least one field")
            );
        }
        let mut ids = Vec::with_capacity(entries.len());
        let mut rest = entries;
        while !rest.is_empty() {
            let (some, after) = rest.split_at(load(rest));
            rest = after;
            let mut commands = Pipeline::with_capacity(some.len());
            commands.ignore_errors();
            for fields in some {
                commands.add_command(add(stream, fields));
            }
            for value in self.link.send_all(&commands, doing).await? {
                let id = self.link.answer(value, doing);
                let id = id.map_err(|error| error.during(stream))?;
                ids.push(wire::id(id, "the id of a new entry")?);
            }
        }
        Ok(ids)
    }

    async fn entries(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        page::plain(&self.link, stream, range).await
    }

    async fn page(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        page::page(&self.link, stream, range).await
    }

    async fn page_behind(
        &self,
        stream: &StreamKey,
        range: IdRange,
        left: u64,
    ) -> Result<Vec<Entry>, Error> {
        self.light.page(&self.link, stream, range, left).await
    }

    async fn named(
        &self,
        stream: &StreamKey,
        ids: &[EntryId],
    ) -> Result<Vec<Option<Entry>>, Error> {
        page::named(&self.link, stream, ids).await
    }

    async fn length(&self, stream: &StreamKey) -> Result<u64, Error> {
        let mut command = cmd("XLEN");
        command.arg(stream.as_str());
        let length = self.link.send(&command, "counting entries").await;
        wire::count(length.map_err(|error| error.during(stream))?, "a length")
    }

    async fn replay(&self, dlq: &StreamKey, orders: &[Replay]) -> Result<Vec<Replayed>, Error> {
        replay::replay(&self.link, dlq, orders).await
    }

    async fn open_campaign(&self, dlq: &StreamKey, plan: &Plan) -> Result<Opened, Error> {
        campaigns::open(&self.link, dlq, plan).await
    }

    async fn mark_campaign(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        mark: Mark,
    ) -> Result<Option<CampaignState>, Error> {
        campaigns::mark(&self.link, dlq, name, mark).await
    }

    async fn campaign(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
    ) -> Result<Option<Record>, Error> {
        campaigns::record(&self.link, dlq, name).await
    }

    async fn campaigns(&self, dlq: &StreamKey) -> Result<Vec<CampaignName>, Error> {
        campaigns::names(&self.link, dlq).await
    }

    async fn note_deaths(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        deaths: &[(EntryId, Death)],
        searched: EntryId,
    ) -> Result<(), Error> {
        campaigns::note(&self.link, dlq, name, deaths, searched).await
    }

    async fn undo(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        orders: &[Undo],
        how: UndoHow,
    ) -> Result<Vec<Undone>, Error> {
        campaigns::undo(&self.link, dlq, name, orders, how).await
    }

    async fn stage(&self, dlq: &StreamKey, letters: &[Entry]) -> Result<u64, Error> {
        let doing = "staging dead letters";
        let (mut added, mut rest) = (0, letters);
        while !rest.is_empty() {
            let some = load(rest.iter().take(CALL).map(|letter| &letter.fields));
            let (some, others) = rest.split_at(some);
            rest = others;
            let mut call = Call::new([dlq.to_string(), keys::ledger(dlq)]);
            for letter in some {
                call.number(letter.id).number(letter.fields.len() * 2);
                for (name, value) in letter.fields.pairs() {
                    call.arg(name.clone()).arg(value.clone());
                }
            }
            let answer = self.link.eval(&scripts::STAGE, &call, doing).await;
            let answer = answer.map_err(|error| match error.kind() {
                // The server has no word of its own for an id that is too low.
                ErrorKind::Protocol => Error::new(ErrorKind::Refused, format!("{doing} in {dlq}"))
                    .caused_by(error)
                    .hint("each id has to be above all that the queue has held"),
                _ => error.during(dlq),
            })?;
            added += wire::count(answer, "how many were added")?;
        }
        Ok(added)
    }

    async fn receipts(
        &self,
        dlq: &StreamKey,
        orders: &[Replay],
    ) -> Result<Vec<Option<EntryId>>, Error> {
        replay::receipts(&self.link, dlq, orders).await
    }

    async fn import(&self, dlq: &StreamKey, orders: &[Import]) -> Result<Vec<Imported>, Error> {
        import::import(&self.link, dlq, orders).await
    }

    async fn purge(&self, dlq: &StreamKey, ids: &[EntryId]) -> Result<Vec<bool>, Error> {
        let doing = "purging dead letters";
        let mut removed = Vec::with_capacity(ids.len());
        for some in ids.chunks(CALL) {
            let mut call = Call::new([dlq.to_string(), keys::ledger(dlq)]);
            for id in some {
                call.number(id);
            }
            let answer = self.link.eval(&scripts::PURGE, &call, doing).await;
            let answer = answer.map_err(|error| error.during(dlq))?;
            for value in wire::list(answer, "what was purged")? {
                removed.push(wire::int(value, "a count")? == 1);
            }
        }
        Ok(removed)
    }

    async fn marked(&self, stream: &StreamKey) -> Result<Vec<GroupName>, Error> {
        trim::marked(&self.link, stream).await
    }

    async fn trim(
        &self,
        stream: &StreamKey,
        marked: &[GroupName],
        step: TrimStep,
    ) -> Result<Option<Trimmed>, Error> {
        trim::trim(&self.link, stream, marked, step).await
    }

    async fn erase(&self, source: &Source, dlq: &StreamKey) -> Result<(), Error> {
        let doing = "erasing a stream";
        let group = keys::GroupKeys::of(source);
        let mut names = cmd("HKEYS");
        names.arg(&group.consumers);
        let names = wire::list(self.link.send(&names, doing).await?, "consumers")?;
        let mut all = vec![
            source.stream.to_string(),
            dlq.to_string(),
            keys::ledger(dlq),
            keys::audit(dlq),
        ];
        for name in names {
            all.push(group.alive(&wire::text(name, "a name")?));
        }
        for name in campaigns::names(&self.link, dlq).await? {
            all.extend([keys::campaign(dlq, &name), keys::originals(dlq, &name)]);
        }
        all.push(keys::campaigns(dlq));
        let today = replay::today(&self.link).await?;
        all.extend(
            (0..3).map(|age| keys::receipts(&source.stream, dlq, today.saturating_sub(age))),
        );
        all.extend((0..3).map(|age| keys::imports(dlq, today.saturating_sub(age))));
        all.extend([
            group.due,
            group.state,
            group.meta,
            group.consumers,
            group.tombstones,
        ]);
        let mut delete = cmd("DEL");
        delete.arg(&all);
        self.link.send(&delete, doing).await.map(drop)
    }

    async fn stats(
        &self,
        stream: &StreamKey,
        group: Option<&GroupName>,
        dlq: &StreamKey,
    ) -> Result<Stats, Error> {
        inspect::stats(&self.link, stream, group, dlq).await
    }

    async fn groups(&self, stream: &StreamKey) -> Result<Option<Names<GroupName>>, Error> {
        look::groups(&self.link, stream).await
    }

    async fn streams(&self) -> Result<Names<StreamKey>, Error> {
        look::streams(&self.link).await
    }

    async fn pending(
        &self,
        source: &Source,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Pending>, Error> {
        look::pending(&self.link, source, from, limit).await
    }

    async fn create_group(&self, source: &Source, start: GroupStart) -> Result<Created, Error> {
        group::create(&self.link, source, start)
            .await
            .map_err(|error| error.during(source))
    }

    async fn delete_group(&self, source: &Source, how: Deletion) -> Result<Deleted, Error> {
        members::delete(&self.link, source, how).await
    }

    async fn consumers(&self, source: &Source) -> Result<Vec<Consumer>, Error> {
        members::consumers(&self.link, source).await
    }

    async fn prune(
        &self,
        source: &Source,
        idle: Duration,
        removal: Removal,
    ) -> Result<Vec<(Consumer, Option<WhyKept>)>, Error> {
        members::prune(&self.link, source, idle, removal).await
    }

    async fn server_facts(&self) -> Result<Option<ServerFacts>, Error> {
        let facts = examine::server(&self.link, &self.address).await;
        facts.map(Some)
    }

    async fn stream_facts(
        &self,
        stream: &StreamKey,
        named: Named,
    ) -> Result<Option<StreamFacts>, Error> {
        examine::stream(&self.link, stream, named).await
    }

    async fn remove_consumers(
        &self,
        source: &Source,
        names: &[String],
        silent: Duration,
    ) -> Result<u64, Error> {
        let doing = "removing consumers that are gone";
        registry::remove_dead(&self.link, source, names, silent, doing).await
    }
}

/// How many of these entries, at least one, go in one round trip.
fn load<'a>(entries: impl IntoIterator<Item = &'a Fields>) -> usize {
    let mut bytes = 0;
    let fitting = entries.into_iter().take(LOAD.0).take_while(|fields| {
        bytes += fields.size();
        bytes <= LOAD.1
    });
    fitting.count().max(1)
}

/// The XADD of an entry, with an id of the server's.
fn add(stream: &StreamKey, fields: &Fields) -> redis::Cmd {
    let mut command = cmd("XADD");
    command.arg(stream.as_str()).arg("*");
    for (name, value) in fields.iter() {
        command.arg(name).arg(value);
    }
    command
}
