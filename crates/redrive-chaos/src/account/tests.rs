//! The verdict fails on whatever must not be: one test for each, from an account that is all right.

use super::*;

const KILLER: Number = 7;
const DOOMED: Number = 8;

/// Ten messages and two kills: 7 kills its process, 8 is refused by its handler, 0 was running at a kill and was run
/// again, everything else went well.
fn right() -> Account {
    let numbers: BTreeSet<Number> = (0..10).collect();
    let once = Runs {
        started: 1,
        succeeded: 1,
    };
    let mut runs: BTreeMap<Number, Runs> = numbers.iter().map(|number| (*number, once)).collect();
    runs.insert(0, runs_of(2, 1));
    runs.insert(KILLER, runs_of(3, 0));
    runs.insert(DOOMED, runs_of(1, 0));
    let fault = |held: [Number; 2], running: [Number; 1]| Fault {
        hurt: Hurt::Killed,
        held: held.into(),
        running: running.into(),
        unnamed: 0,
    };
    Account {
        attempted: numbers.clone(),
        acknowledged: numbers,
        runs,
        killers: [KILLER].into(),
        doomed: [DOOMED].into(),
        dead: vec![dead(KILLER, "crash_loop"), dead(DOOMED, "rejected")],
        faults: vec![fault([0, 1], [0]), fault([2, 3], [2])],
        max_crashes: 3,
        ..Account::default()
    }
}

fn runs_of(started: u64, succeeded: u64) -> Runs {
    Runs { started, succeeded }
}

fn dead(number: Number, reason: &str) -> Dead {
    Dead {
        number: Some(number),
        reason: reason.to_owned(),
    }
}

#[track_caller]
fn only(account: &Account, violation: Violation) {
    assert_eq!(account.verdict().violations, [violation]);
    assert!(!account.verdict().holds());
}

#[test]
fn an_account_that_is_right_is_one_line() {
    let verdict = right().verdict();
    assert!(verdict.holds(), "{:?}", verdict.violations);
    assert_eq!(
        verdict.to_string(),
        "attempted=10 acknowledged=10 handled=8 lost=0 unexpected=0 duplicated=1 recovered=4 dead=2 \
         tombstoned=0 pending=0"
    );
}

#[test]
fn what_was_acknowledged_and_is_nowhere_is_lost() {
    let mut account = right();
    account.runs.remove(&5);
    only(&account, Violation::Lost(1));
    // A run that began and did not come to its end is none.
    account.runs.insert(5, runs_of(1, 0));
    only(&account, Violation::Lost(1));
}

#[test]
fn a_tombstone_accounts_for_one_message_and_no_more() {
    let mut account = right();
    account.runs.remove(&5);
    account.dead.push(Dead {
        number: None,
        reason: "trimmed".to_owned(),
    });
    let verdict = account.verdict();
    assert!(verdict.holds(), "{:?}", verdict.violations);
    assert_eq!((verdict.dead, verdict.tombstoned), (2, 1));
    account.runs.remove(&6);
    only(&account, Violation::Lost(1));
}

#[test]
fn what_is_pending_at_the_end_is_stuck_and_not_lost() {
    let mut account = right();
    account.runs.remove(&5);
    account.pending.insert(5);
    only(&account, Violation::Stuck(1));
}

/// A kill of a worker that held message 5.
fn kill(running: impl Into<BTreeSet<Number>>) -> Fault {
    Fault {
        hurt: Hurt::Killed,
        held: [5].into(),
        running: running.into(),
        unnamed: 0,
    }
}

#[test]
fn a_message_that_was_running_at_too_few_kills_is_innocent() {
    let mut account = right();
    account.runs.insert(5, runs_of(2, 0));
    account.dead.push(dead(5, "crash_loop"));
    only(&account, Violation::Innocent(1));
    // A worker that was only silent has killed nothing.
    account.faults.push(Fault {
        hurt: Hurt::Stalled,
        ..kill([5])
    });
    account.faults.extend([kill([5]), kill([5])]);
    only(&account, Violation::Innocent(1));
    account.faults.push(kill([5]));
    assert!(account.verdict().holds());
}

#[test]
fn being_held_at_a_kill_counts_once_and_only_before_the_first_run() {
    let mut account = right();
    account.runs.insert(5, runs_of(2, 0));
    account.dead.push(dead(5, "crash_loop"));
    let others = std::mem::take(&mut account.faults);
    let mut given = |faults: &[Fault]| {
        account.faults = [others.as_slice(), faults].concat();
        account.verdict()
    };
    // Read, taken over, taken over again: it ran at one.
    let twice_held = given(&[kill([]), kill([]), kill([5])]);
    assert_eq!(twice_held.violations, [Violation::Innocent(1)]);
    // What is held after it ran was taken over: nobody is charged for that.
    let held_later = given(&[kill([5]), kill([]), kill([5])]);
    assert_eq!(held_later.violations, [Violation::Innocent(1)]);
    assert!(given(&[kill([]), kill([5]), kill([5])]).holds());
}

#[test]
fn a_killer_that_was_given_up_without_a_run_is_innocent() {
    let mut account = right();
    account.runs.insert(KILLER, runs_of(0, 0));
    only(&account, Violation::Innocent(1));
}

#[test]
fn a_killer_that_began_too_often_is_seen() {
    let mut account = right();
    account.runs.insert(KILLER, runs_of(4, 0));
    only(&account, Violation::Overrun(1));
}

#[test]
fn a_dead_letter_that_no_handler_asked_for_is_wrong() {
    let mut account = right();
    account.dead.push(dead(4, "attempts_exhausted"));
    only(&account, Violation::WronglyDead(1));
}

#[test]
fn two_dead_letters_of_one_message_are_one_too_many() {
    let mut account = right();
    account.dead.push(dead(DOOMED, "rejected"));
    only(&account, Violation::Doubled(1));
}

#[test]
fn more_runs_than_what_the_killed_held_are_too_many() {
    let mut account = right();
    account.runs.insert(1, runs_of(4, 4));
    assert!(account.verdict().holds(), "four were held, four ran again");
    account.runs.insert(2, runs_of(2, 1));
    let violation = Violation::ExtraRuns {
        extra: 5,
        allowed: 4,
    };
    only(&account, violation);
    // A message that fails once is to be run twice.
    account.planned.insert(2, 2);
    assert!(account.verdict().holds());
}

#[test]
fn what_nobody_sent_was_invented() {
    let mut account = right();
    account.runs.insert(99, runs_of(1, 1));
    only(&account, Violation::Invented(1));
    // Tried, and the answer lost: that happens.
    account.attempted.insert(99);
    let verdict = account.verdict();
    assert!(verdict.holds());
    assert_eq!((verdict.unexpected, verdict.attempted), (1, 11));
}

#[test]
fn what_should_have_died_and_is_not_in_the_queue_was_spared() {
    let mut account = right();
    account.dead.retain(|dead| dead.number != Some(DOOMED));
    account.runs.insert(DOOMED, runs_of(1, 1));
    only(&account, Violation::Spared(1));
}
