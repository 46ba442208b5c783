//! The every-command sweep: each command that a scenario sends is harmed in five ways, and nothing may come of it.
//!
//! `REDRIVE_SWEEP=all` runs every place of every command, not a choice; a scenario's name runs what it has; what a
//! violation prints runs that case alone. `REDRIVE_SWEEP_TABLE=FILE` writes what a kill at each command leads to.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and this one prints a table"
)]

mod beside;
mod binary;
mod case;
mod check;
mod crises;
mod entrance;
mod handler;
mod lanes;
mod operators;
mod plan;
mod report;
mod scenarios;
mod scripts;
mod step;
mod table;
mod world;

use self::case::Case;
use self::lanes::{Verdict, run_all};
use self::plan::{Plan, Size};
use self::scenarios::Scenario;
use self::table::Table;

/// What must have been seen: a proxy that sees nothing proves nothing.
const MUST_SEE: [&str; 42] = [
    "EVALSHA ack",
    "EVALSHA alive",
    "EVALSHA begin",
    "EVALSHA campaign_mark",
    "EVALSHA campaign_open",
    "EVALSHA claim",
    "EVALSHA create_group",
    "EVALSHA dead_letter",
    "EVALSHA delete_group",
    "EVALSHA import",
    "EVALSHA lift",
    "EVALSHA named",
    "EVALSHA page",
    "EVALSHA prune",
    "EVALSHA purge",
    "EVALSHA put_back",
    "EVALSHA reap",
    "EVALSHA renew",
    "EVALSHA make_room",
    "EVALSHA spill",
    "EVALSHA replay",
    "EVALSHA replay_reserve",
    "EVALSHA resolve",
    "EVALSHA trim",
    "EVALSHA undo",
    "EVAL claim",
    "EVAL dead_letter",
    "EVAL import",
    "MULTI EVAL import_reserve",
    "MULTI EVAL import_complete",
    "EXEC",
    "MULTI XADD",
    "XACK",
    "XADD",
    "XDEL",
    "XPENDING",
    "XRANGE",
    "XREADGROUP",
    "XREVRANGE",
    "ZADD",
    "SENTINEL GET-MASTER-ADDR-BY-NAME",
    "CLIENT UNBLOCK",
];

fn scenarios() -> Vec<&'static Scenario> {
    scenarios::WORKERS
        .iter()
        .chain(crises::CRISES.iter())
        .chain(operators::OPERATORS.iter())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn every_command_sweep() {
    let names: Vec<&'static str> = scenarios().iter().map(|known| known.name).collect();
    let asked = std::env::var("REDRIVE_SWEEP").unwrap_or_default();
    // Built before any case is timed.
    tokio::task::spawn_blocking(binary::redrive).await.unwrap();
    if asked.contains('/') {
        let case = Case::read(&asked, &names).unwrap();
        let verdicts = run_all(vec![case]).await;
        report::print_one(&verdicts[0]);
        assert!(verdicts[0].wrong.is_empty(), "violated");
        return;
    }
    let size = match asked.as_str() {
        "" => Size::Choice,
        "all" => Size::All,
        name => {
            assert!(names.contains(&name), "no scenario is called {name}");
            Size::All
        }
    };
    let chosen = names
        .iter()
        .filter(|name| asked.is_empty() || asked == "all" || **name == asked);
    let undisturbed = chosen.map(|name| Case::undisturbed(name)).collect();
    let mut verdicts: Vec<Verdict> = run_all(undisturbed).await;
    for verdict in verdicts.iter().filter(|verdict| !verdict.wrong.is_empty()) {
        report::print_one(verdict);
    }
    let healthy = verdicts.iter().all(|verdict| verdict.wrong.is_empty());
    assert!(healthy, "wrong without any harm");
    let mut plan = Plan::new(size);
    plan.learn(&verdicts);
    loop {
        let cases = plan.next();
        if cases.is_empty() {
            break;
        }
        let harmed = run_all(cases).await;
        plan.learn(&harmed);
        verdicts.extend(harmed);
    }
    let mut wrong = report::print(&verdicts, &plan);
    if asked.is_empty() || asked == "all" {
        let seen = plan.labels();
        for label in MUST_SEE {
            if !seen.contains(label) {
                println!("never seen: {label}");
                wrong += 1;
            }
        }
    }
    let table = Table::of(&verdicts);
    for label in table.unplaced() {
        println!("has no place in the table: {label}");
        wrong += 1;
    }
    match std::env::var_os("REDRIVE_SWEEP_TABLE") {
        Some(path) => std::fs::write(path, table.text()).unwrap(),
        None => {
            for label in table.missing_in_the_page() {
                println!("not in docs/guarantees.md, make sweep-table writes it: {label}");
                wrong += 1;
            }
        }
    }
    println!("violations: {wrong}");
    assert_eq!(wrong, 0, "see above");
}
