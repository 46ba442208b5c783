//! Campaigns: beginning them, telling them how they stand, what is kept of them, and taking them back.

use bytes::Bytes;
use redis::cmd;

use super::connection::{Call, Link};
use super::wire::{self, Row};
use super::{CALL, errors, keys, millis, replay, scripts};
use crate::backend::{CAMPAIGN_KEPT, Mark, Opened, Undo, UndoHow, Undone};
use crate::campaign::{CampaignName, CampaignState, Death, NOT_KEPT, Plan, Record};
use crate::error::Error;
use crate::names::{EntryId, StreamKey};

/// How many members are read in one go.
const SCAN: usize = 1_000;

fn named(dlq: &StreamKey, name: &CampaignName) -> Call {
    Call::new([keys::campaign(dlq, name), keys::campaigns(dlq)])
}

pub(super) async fn open(link: &Link, dlq: &StreamKey, plan: &Plan) -> Result<Opened, Error> {
    let doing = "beginning a campaign";
    let mut call = named(dlq, &plan.name);
    call.key(dlq.to_string());
    let target = plan.target.as_ref().map_or("", StreamKey::as_str);
    call.arg(plan.name.to_string())
        .number(millis(CAMPAIGN_KEPT))
        .arg(plan.selection.clone())
        .arg(target.to_owned());
    let texts = plan.texts();
    call.number(texts.len() * 2);
    for (name, text) in texts {
        call.arg(name).arg(text);
    }
    let answer = link.eval(&scripts::CAMPAIGN_OPEN, &call, doing).await;
    let mut row = Row::read(answer.map_err(|error| error.during(dlq))?)?;
    Ok(match row.word.as_str() {
        "open" => Opened::Open { newest: row.id()? },
        "ended" => Opened::Ended(state(&row.text()?)?),
        "other" => Opened::Other {
            selection: row.text()?,
            target: row.text()?,
        },
        _ => return Err(wire::unexpected("what became of a campaign")),
    })
}

fn state(name: &str) -> Result<CampaignState, Error> {
    CampaignState::from_stored(name).ok_or_else(|| wire::unexpected("the state of a campaign"))
}

pub(super) async fn mark(
    link: &Link,
    dlq: &StreamKey,
    name: &CampaignName,
    mark: Mark,
) -> Result<Option<CampaignState>, Error> {
    let mut call = named(dlq, name);
    let next = mark.state.map_or("", CampaignState::as_str);
    let before = mark.state.into_iter().flat_map(CampaignState::before);
    let before: String = before
        .map(|state| format!(" {} ", state.as_str()))
        .collect();
    let ends = mark.state.is_some_and(CampaignState::is_over);
    let selected = mark
        .selected
        .map_or_else(String::new, |count| count.to_string());
    call.arg(next)
        .arg(before)
        .number(u8::from(ends))
        .arg(selected)
        .number(millis(CAMPAIGN_KEPT));
    let doing = "telling a campaign how it stands";
    match link.eval(&scripts::CAMPAIGN_MARK, &call, doing).await? {
        redis::Value::Nil => Ok(None),
        before => state(&wire::text(before, "a state")?).map(Some),
    }
}

pub(super) async fn record(
    link: &Link,
    dlq: &StreamKey,
    name: &CampaignName,
) -> Result<Option<Record>, Error> {
    let key = keys::campaign(dlq, name);
    let mut pairs = Vec::new();
    let mut cursor = Bytes::from_static(b"0");
    loop {
        let mut scan = cmd("HSCAN");
        scan.arg(&key).arg(&cursor[..]).arg("COUNT").arg(SCAN);
        let page = link.send(&scan, "reading a campaign").await?;
        let mut page = wire::list(page, "a page of a campaign")?.into_iter();
        let (Some(next), Some(some)) = (page.next(), page.next()) else {
            return Err(wire::unexpected("a page of a campaign"));
        };
        let mut some = wire::list(some, "members")?.into_iter();
        while let (Some(name), Some(text)) = (some.next(), some.next()) {
            pairs.push((wire::text(name, "a member")?, wire::text(text, "a text")?));
        }
        cursor = wire::bytes(next, "a cursor")?;
        if cursor == "0" {
            let Some(record) = Record::read(pairs) else {
                return Ok(None);
            };
            let time = link.send(&cmd("TIME"), "asking for the time").await?;
            let time = wire::list(time, "the server's time")?;
            return Ok(Some(record.read_at(wire::clock_ms(time)?)));
        }
    }
}

pub(super) async fn names(link: &Link, dlq: &StreamKey) -> Result<Vec<CampaignName>, Error> {
    let mut range = cmd("ZRANGE");
    range.arg(keys::campaigns(dlq)).arg(0).arg(-1);
    let found = link.send(&range, "looking for campaigns").await?;
    let mut names = Vec::new();
    for name in wire::list(found, "names")?.into_iter().rev() {
        // What others put there is none of ours.
        names.extend(CampaignName::new(wire::text(name, "a name")?).ok());
    }
    Ok(names)
}

pub(super) async fn note(
    link: &Link,
    dlq: &StreamKey,
    name: &CampaignName,
    deaths: &[(EntryId, Death)],
    searched: EntryId,
) -> Result<(), Error> {
    let mut rest = deaths;
    loop {
        let (some, others) = rest.split_at(rest.len().min(CALL));
        rest = others;
        let mut call = Call::new([keys::campaign(dlq, name)]);
        call.number(searched);
        for (id, death) in some {
            call.number(id).arg(death.text());
        }
        let doing = "noting what died again";
        link.eval(&scripts::CAMPAIGN_NOTE, &call, doing).await?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

pub(super) async fn undo(
    link: &Link,
    dlq: &StreamKey,
    name: &CampaignName,
    orders: &[Undo],
    how: UndoHow,
) -> Result<Vec<Undone>, Error> {
    let doing = "undoing replays";
    let mut undone = Vec::with_capacity(orders.len());
    if orders.is_empty() {
        return Ok(undone);
    }
    let today = replay::today(link).await?;
    for together in orders.chunk_by(|one, next| one.target == next.target) {
        for some in together.chunks(CALL) {
            let Some(first) = some.first() else { continue };
            let mut call = replay::call(dlq, &first.target, today);
            call.key(keys::campaign(dlq, name))
                .key(keys::originals(dlq, name));
            call.arg(match how {
                UndoHow::Do => "do",
                UndoHow::Look => "look",
            });
            for order in some {
                let original = order.original.map(|id| id.to_string());
                call.number(order.dead_letter)
                    .number(order.message)
                    .arg(original.unwrap_or_else(|| NOT_KEPT.to_owned()));
            }
            let answer = link.eval(&scripts::UNDO, &call, doing).await;
            let answer = answer.map_err(|error| error.during(dlq))?;
            for mut row in wire::rows(answer, some.len())? {
                undone.push(match row.word.as_str() {
                    "parked" => Undone::Parked(row.id()?),
                    "already" => Undone::Already(row.id()?),
                    "started" => Undone::Started,
                    "gone" => Undone::Gone,
                    "not_kept" => Undone::NotKept,
                    "refused" => {
                        Undone::Refused(errors::refusal(&row.text()?, format!("adding to {dlq}")))
                    }
                    _ => return Err(wire::unexpected("what became of an undone replay")),
                });
            }
        }
    }
    Ok(undone)
}
