//! Looking for what goes wrong, and mending what can be mended without losing a message.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::broker::{Broker, no_stream};
use crate::doctor::{self, Finding, FindingCode, Fix, Named, Patience, Severity};
use crate::error::{Error, ErrorKind};
use crate::members::Created;
use crate::names::{GroupName, GroupStart, Source, StreamKey};

/// What is to be looked at, and from when on silence says something.
///
/// ```
/// use std::time::Duration;
/// use redrive::Checkup;
/// let checkup = Checkup::of_stream("orders".parse()?).silent(Duration::from_secs(86_400));
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a checkup does nothing until a broker is examined"]
pub struct Checkup {
    scope: Scope,
    patience: Patience,
}

#[derive(Clone, Debug)]
enum Scope {
    Everything,
    Stream(StreamKey),
    Group(Source),
}

impl Checkup {
    /// The server, and all streams of the database.
    pub fn of_everything() -> Self {
        Self::of(Scope::Everything)
    }

    /// The server, and one stream with all its groups.
    pub fn of_stream(stream: StreamKey) -> Self {
        Self::of(Scope::Stream(stream))
    }

    /// The server, and one group of a stream. That the group is missing is a finding.
    pub fn of_group(source: Source) -> Self {
        Self::of(Scope::Group(source))
    }

    fn of(scope: Scope) -> Self {
        Self {
            scope,
            patience: Patience {
                foreign_lease: Duration::from_secs(300),
                silent: Duration::from_secs(3_600),
            },
        }
    }

    /// How long entries of consumers that are not redrive's may be out, for these do not renew.
    /// Default: 5 minutes, as workers have it.
    pub fn foreign_lease(mut self, lease: Duration) -> Self {
        self.patience.foreign_lease = lease;
        self
    }

    /// How long a consumer or a group is silent before it is taken for left behind. Default: an hour.
    pub fn silent(mut self, silent: Duration) -> Self {
        self.patience.silent = silent;
        self
    }
}

/// What mending did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fixed {
    /// The group was created: it begins where redrive knows that all is done, else with the first
    /// entry.
    GroupCreated,
    /// So many consumers were removed, none of which held anything.
    ConsumersRemoved(u64),
    /// Nothing was left to do.
    Nothing,
}

impl Broker {
    /// Looks for what goes wrong with streams, the worst first; an empty answer is a clean bill.
    /// Changes nothing. Works on streams and groups that redrive has never written to.
    ///
    /// What this user may not ask, or the server does not know, is a finding of the code
    /// [`NotChecked`](FindingCode::NotChecked), never an error and never passed over. On `memory:` there
    /// is no server to look at. What is pending is looked at up to 100,000 entries a group, a page at a
    /// time.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, Checkup, FindingCode, Source};
    /// let broker = Broker::connect("memory:").await?;
    /// broker.producer("orders".parse()?).send(&"coffee").await?;
    /// let checkup = Checkup::of_group(Source::new("orders", "billing")?);
    /// let found = broker.examine(&checkup).await?;
    /// assert_eq!(found[0].code, FindingCode::MissingGroup);
    /// assert!(found[0].fixable());
    /// broker.fix(&found[0]).await?;
    /// assert!(broker.examine(&checkup).await?.is_empty());
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when there is no such stream; when the broker cannot be reached, or this
    /// user may not look at the stream at all.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn examine(&self, checkup: &Checkup) -> Result<Vec<Finding>, Error> {
        let backend = self.backend();
        let server = backend.server_facts().await?;
        let mut found: Vec<Finding> = server.iter().flat_map(doctor::of_server).collect();
        match &checkup.scope {
            Scope::Everything => {
                let all = everything(backend, &checkup.patience).await?;
                found.extend(all.into_iter().map(unless_named));
            }
            Scope::Stream(stream) => {
                let all = one(backend, stream, None, &checkup.patience).await?;
                found.extend(all.into_iter().map(unless_named));
            }
            Scope::Group(Source { stream, group }) => {
                found.extend(one(backend, stream, Some(group), &checkup.patience).await?);
            }
        }
        // Stable: what was looked at first stays before what is as bad.
        found.sort_by_key(|one| std::cmp::Reverse(one.severity));
        Ok(distinct(found))
    }

    /// Mends a finding that is [`fixable`](Finding::fixable): creates a group that was asked for, or removes
    /// consumers that are gone and hold nothing. It looks again first, in one step with what it does; no
    /// message is lost, and nothing else is changed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a finding that cannot be mended like this; when the broker cannot be
    /// asked, or refuses.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, and then to ask again.
    pub async fn fix(&self, finding: &Finding) -> Result<Fixed, Error> {
        let backend = self.backend();
        match &finding.fix {
            Some(Fix::CreateGroup(source)) => {
                // Created with its group, a stream would be a new one.
                if backend.groups(&source.stream).await?.is_none() {
                    return Err(no_stream(&source.stream));
                }
                let created = backend.create_group(source, GroupStart::First).await?;
                Ok(match created {
                    Created::New { .. } => Fixed::GroupCreated,
                    Created::WasThere => Fixed::Nothing,
                })
            }
            Some(Fix::RemoveConsumers {
                source,
                names,
                silent,
            }) => {
                let removed = backend.remove_consumers(source, names, *silent).await?;
                Ok(match removed {
                    0 => Fixed::Nothing,
                    removed => Fixed::ConsumersRemoved(removed),
                })
            }
            None => Err(Error::new(
                ErrorKind::Invalid,
                format!("mending {}, which needs a person", finding.code),
            )
            .hint("its cure says the command, where there is one")),
        }
    }
}

/// All streams. One that this user may not look at, or that is gone by now, stops no other.
async fn everything(
    backend: &Arc<dyn Backend>,
    patience: &Patience,
) -> Result<Vec<Finding>, Error> {
    let streams = backend.streams().await?;
    let mut found = Vec::new();
    if streams.skipped > 0 {
        let what = format!("{} streams", streams.skipped);
        found.push(doctor::not_checked(
            None,
            &what,
            "their names are not UTF-8",
        ));
    }
    for stream in &streams.names {
        match backend.stream_facts(stream, Named::No).await {
            Ok(Some(facts)) => found.extend(doctor::of_stream(&facts, Named::No, patience)),
            Ok(None) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::WrongType) => {
                let why = error.to_string();
                found.push(doctor::not_checked(Some(stream), "the stream", &why));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

async fn one(
    backend: &Arc<dyn Backend>,
    stream: &StreamKey,
    group: Option<&GroupName>,
    patience: &Patience,
) -> Result<Vec<Finding>, Error> {
    let facts = backend.stream_facts(stream, Named::Yes).await?;
    let facts = facts.ok_or_else(|| no_stream(stream))?;
    let mut found = doctor::of_stream(&facts, Named::Yes, patience);
    if let Some(wanted) = group {
        // All groups are looked at, for one is judged beside the others.
        found.retain(|one| one.group.as_ref().is_none_or(|group| group == wanted));
        let is_there = facts.groups.iter().any(|group| group.group == *wanted);
        let is_missing = |one: &Finding| one.code == FindingCode::MissingGroup;
        if !is_there {
            found.retain(|one| !is_missing(one) || one.group.is_some());
        }
        if !is_there && !found.iter().any(is_missing) {
            found.push(doctor::no_such_group(&facts, wanted));
        }
    }
    Ok(found)
}

/// A group is created only where somebody has named it.
fn unless_named(mut finding: Finding) -> Finding {
    if matches!(finding.fix, Some(Fix::CreateGroup(_))) {
        finding.fix = None;
    }
    finding
}

/// What is said of each stream alike is said once.
fn distinct(found: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::with_capacity(found.len());
    for one in found {
        let general = one.stream.is_none() && one.severity == Severity::Note;
        if !(general && kept.contains(&one)) {
            kept.push(one);
        }
    }
    kept
}
