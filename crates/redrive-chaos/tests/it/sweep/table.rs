//! The page of what a kill leads to: a row for each command, in the order of a message's life.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::case::Harm;
use super::lanes::Verdict;

/// Where the table stands, between two marks.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guarantees.md");

/// When a command is sent: a script by its hash, which its text stands behind, and all of a transaction behind `MULTI`.
const LIFE: [(&str, &[&str]); 9] = [
    ("sent", &["XADD"]),
    (
        "connecting",
        &[
            "SENTINEL GET-MASTER-ADDR-BY-NAME",
            "CLIENT SETINFO",
            "COMMAND INFO",
        ],
    ),
    (
        "joining and leaving",
        &[
            "EVALSHA create_group",
            "HMGET",
            "EVALSHA alive",
            "XTRIM",
            "TIME",
            "XGROUP CREATECONSUMER",
            "XINFO CONSUMERS",
            "HKEYS",
            "EVALSHA reap",
        ],
    ),
    (
        "taking in",
        &[
            "EVALSHA claim",
            "CLIENT ID",
            "XREADGROUP",
            "CLIENT UNBLOCK",
            "XPENDING",
        ],
    ),
    ("running", &["EVALSHA begin", "EVALSHA renew", "ZADD"]),
    (
        "ending",
        &[
            "XACK",
            "EVALSHA ack",
            "XDEL",
            "EVALSHA put_back",
            "EVALSHA dead_letter",
            "EVALSHA resolve",
            "EVALSHA lift",
            "EVALSHA make_room",
            "EVALSHA spill",
        ],
    ),
    (
        "replay, import, purge, trim",
        &[
            "EVALSHA replay",
            "EVALSHA replay_reserve",
            "EVALSHA replay_complete",
            "EVALSHA stage",
            "EVALSHA import",
            "HGET",
            "EVALSHA import_reserve",
            "EVALSHA import_complete",
            "EVALSHA purge",
            "EVALSHA campaign_open",
            "EVALSHA campaign_mark",
            "EVALSHA campaign_note",
            "EVALSHA undo",
            "EVALSHA trim",
            "EVALSHA delete_group",
            "EVALSHA prune",
            "DEL",
        ],
    ),
    ("in one step", &["MULTI", "EXEC"]),
    (
        "looking",
        &[
            "SCAN",
            "XINFO STREAM",
            "XINFO GROUPS",
            "XLEN",
            "MEMORY USAGE",
            "XRANGE",
            "XREVRANGE",
            "EVALSHA page",
            "EVALSHA weigh",
            "EVALSHA named",
            "ZCARD",
            "ZMSCORE",
            "HSCAN",
            "ZRANGE",
            "EXISTS",
        ],
    ),
];

/// Where a command stands in the table, and when it is sent.
fn place(label: &str) -> Option<(usize, &'static str)> {
    let first = label.split(' ').next();
    let known = match label.strip_prefix("EVAL ") {
        Some(script) => format!("EVALSHA {script}"),
        None if first == Some("MULTI") => "MULTI".to_owned(),
        None => label.to_owned(),
    };
    let all = LIFE
        .iter()
        .flat_map(|(when, labels)| labels.iter().map(move |label| (*when, *label)));
    let found = all.enumerate().find(|(_, (_, label))| *label == known);
    found.map(|(at, (when, _))| (at, when))
}

/// What a kill before and after each command led to.
pub(super) struct Table<'v>(BTreeMap<&'v str, BTreeMap<Harm, Vec<&'v Verdict>>>);

impl<'v> Table<'v> {
    pub(super) fn of(verdicts: &'v [Verdict]) -> Self {
        let mut rows: BTreeMap<&str, BTreeMap<Harm, Vec<&Verdict>>> = BTreeMap::new();
        for verdict in verdicts.iter().filter(|verdict| verdict.wrong.is_empty()) {
            if let [strike] = verdict.case.strikes.as_slice()
                && strike.harm.is_kill()
                && verdict.is_complete()
            {
                let row = rows.entry(strike.place.label.as_str()).or_default();
                row.entry(strike.harm).or_default().push(verdict);
            }
        }
        Self(rows)
    }

    /// What has no place in the table yet.
    pub(super) fn unplaced(&self) -> Vec<&str> {
        let labels = self.0.keys().copied();
        labels.filter(|label| place(label).is_none()).collect()
    }

    /// What the page does not have: it was written before the command was sent.
    pub(super) fn missing_in_the_page(&self) -> Vec<&str> {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let labels = self.0.keys().copied();
        labels
            .filter(|label| !page.contains(&format!("| `{label}` |")))
            .collect()
    }

    /// As Markdown.
    pub(super) fn text(&self) -> String {
        let mut text = String::from(
            "| when | command | killed before it | killed after it |\n|---|---|---|---|\n",
        );
        let mut labels: Vec<&str> = self.0.keys().copied().collect();
        labels.sort_by_key(|label| (place(label).map_or(usize::MAX, |(at, _)| at), label.len()));
        let mut last = "";
        for label in labels {
            let when = place(label).map_or("", |(_, when)| when);
            let shown = if when == last { "" } else { when };
            last = when;
            let cell = |harm| {
                let verdicts = self.0[label].get(&harm);
                verdicts.map_or("", |verdicts| observed(verdicts))
            };
            let (before, after) = (cell(Harm::KilledBefore), cell(Harm::KilledAfter));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {shown} | `{label}` | {before} | {after} |");
        }
        text
    }
}

fn observed(verdicts: &[&Verdict]) -> &'static str {
    let again = verdicts.iter().any(|verdict| verdict.extra_runs > 0);
    let died = verdicts.iter().any(|verdict| verdict.deaths > 0);
    match (again, died) {
        (true, true) => "a message in hand runs once more; what dies has one dead letter",
        (true, false) => "a message in hand runs once more",
        (false, true) => "nothing runs twice; what dies has one dead letter",
        (false, false) => "nothing runs twice",
    }
}

#[test]
fn every_command_that_must_be_seen_has_a_place_in_the_table_and_a_row_in_the_page() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    for label in super::MUST_SEE {
        assert!(place(label).is_some(), "{label} has no place");
        let row = format!("| `{label}` |");
        assert!(page.contains(&row), "docs/guarantees.md has no row {row}");
    }
}
