//! What the sweep tells: a table by command, and the violations.

use std::collections::{BTreeMap, BTreeSet};

use super::case::Harm;
use super::lanes::Verdict;
use super::plan::Plan;

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
        violations += 1;
        println!("\nREDRIVE_SWEEP='{}'", verdict.case);
        for wrong in &verdict.wrong {
            println!("  {}", wrong.replace('\n', "\n  "));
        }
    }
    for label in plan.not_swept() {
        println!("seen, and not swept: {label}");
        // What one scenario sends now and then, another one may always send.
        violations += usize::from(scenarios.len() > 1);
    }
    violations
}
