//! What the sweep tells: a table by command, the violations, and the page of what a kill leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::case::Harm;
use super::lanes::Verdict;
use super::plan::Plan;

/// Known to be wrong, and why: told, and not taken for right. Scenario, command, way; `*` is any.
const KNOWN: [(&str, &str, &str, &str); 1] = [(
    "trimmed_then_done",
    "EVALSHA renew",
    "reply-lost",
    "a tombstone named in an answer that was lost is not found again, and stays beside the success",
)];

/// The commands in the order of a message's life.
const LIFE: [&str; 28] = [
    "XADD",
    "EVALSHA create_group",
    "HSET",
    "SET",
    "XGROUP CREATECONSUMER",
    "TIME",
    "XINFO CONSUMERS",
    "HKEYS",
    "EVALSHA reap",
    "EVALSHA claim",
    "CLIENT ID",
    "XREADGROUP",
    "EVALSHA begin",
    "PEXPIRE",
    "EVALSHA renew",
    "XACK",
    "EVALSHA ack",
    "XDEL",
    "EVALSHA put_back",
    "EVALSHA dead_letter",
    "EVALSHA resolve",
    "XPENDING",
    "CLIENT UNBLOCK",
    "DEL",
    "EVALSHA replay",
    "EVALSHA replay_reserve",
    "EXEC",
    "EVALSHA purge",
];

fn known(verdict: &Verdict) -> Option<&'static str> {
    let fits = |pattern: &str, text: &str| pattern == "*" || pattern == text;
    let found = KNOWN.iter().find(|(scenario, label, harm, _)| {
        fits(scenario, verdict.case.scenario)
            && verdict.case.strikes.iter().any(|strike| {
                fits(label, strike.place.label.as_str()) && fits(harm, strike.harm.name())
            })
    });
    found.map(|(.., why)| *why)
}

pub(super) fn print_one(verdict: &Verdict) {
    println!("{} took {:?}", verdict.case, verdict.took);
    println!("met: {}", verdict.is_complete());
    for (place, count) in &verdict.seen {
        println!(
            "  {}.{} {:<28} {count}",
            place.step, place.again, place.label
        );
    }
    println!("extra runs: {}, {}", verdict.extra_runs, verdict.deaths);
    for wrong in &verdict.wrong {
        println!("wrong: {wrong}");
    }
}

/// Prints the table and the violations; answers how many there are.
pub(super) fn print(verdicts: &[Verdict], plan: &Plan) -> usize {
    let mut rows: BTreeMap<&str, BTreeMap<Harm, usize>> = BTreeMap::new();
    let mut violated: BTreeMap<&str, usize> = BTreeMap::new();
    for verdict in verdicts {
        for index in &verdict.struck {
            let strike = &verdict.case.strikes[*index];
            let row = rows.entry(strike.place.label.as_str()).or_default();
            *row.entry(strike.harm).or_default() += 1;
        }
        if let Some(last) = verdict
            .case
            .strikes
            .last()
            .filter(|_| !verdict.wrong.is_empty())
        {
            *violated.entry(last.place.label.as_str()).or_default() += 1;
        }
    }
    print!("{:<28}", "command");
    for harm in Harm::ALL {
        print!("{:>15}", harm.name());
    }
    println!("{:>12}", "violations");
    for label in plan.labels() {
        print!("{label:<28}");
        for harm in Harm::ALL {
            let count = rows.get(label).and_then(|row| row.get(&harm));
            print!("{:>15}", count.copied().unwrap_or(0));
        }
        println!("{:>12}", violated.get(label).copied().unwrap_or(0));
    }
    let missed = verdicts
        .iter()
        .filter(|verdict| !verdict.is_complete())
        .count();
    let scenarios: BTreeSet<_> = verdicts
        .iter()
        .map(|verdict| verdict.case.scenario)
        .collect();
    let longest = verdicts.iter().max_by_key(|verdict| verdict.took);
    println!(
        "{} cases of {} scenarios, {missed} of them did not meet their command; the longest: {}",
        verdicts.len(),
        scenarios.len(),
        longest.map_or_else(String::new, |v| format!("{} in {:.1?}", v.case, v.took)),
    );
    let mut violations = 0;
    for verdict in verdicts.iter().filter(|verdict| !verdict.wrong.is_empty()) {
        let known = known(verdict);
        violations += usize::from(known.is_none());
        println!("\nREDRIVE_SWEEP='{}'", verdict.case);
        if let Some(why) = known {
            println!("  known: {why}");
        }
        for wrong in &verdict.wrong {
            println!("  {}", wrong.replace('\n', "\n  "));
        }
    }
    for label in plan.not_swept() {
        println!("seen, and not swept: {label}");
        violations += 1;
    }
    violations
}

/// What a kill before and after each command led to, as Markdown.
pub(super) fn table(verdicts: &[Verdict]) -> String {
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
    let mut text =
        String::from("| command | killed before it | killed after it |\n|---|---|---|\n");
    let age = |label: &str| {
        LIFE.iter()
            .position(|known| *known == label)
            .unwrap_or(LIFE.len())
    };
    let mut labels: Vec<&str> = rows.keys().copied().collect();
    labels.sort_by_key(|label| (age(label), *label));
    for label in labels {
        let cell = |harm| {
            rows[label]
                .get(&harm)
                .map_or("", |verdicts| observed(verdicts))
        };
        let (before, after) = (cell(Harm::KilledBefore), cell(Harm::KilledAfter));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{label}` | {before} | {after} |");
    }
    text
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
