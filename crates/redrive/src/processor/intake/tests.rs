//! What is asked for next, in every state of a run.

use super::*;
use crate::backend::{Charge, Delivery, Lease};
use crate::message::Fields;
use crate::names::EntryId;

const SECOND: Duration = Duration::from_secs(1);

fn view(now: Instant) -> View {
    View {
        now,
        free: 116,
        held: 0,
        room: true,
        paused_until: None,
        new_first: false,
        reads_nothing: false,
    }
}

fn read(block: Option<Duration>) -> Next {
    Next::Ask(Call::Read { max: 100, block })
}

fn tend(max: usize, cursor: Cursor) -> Next {
    Next::Ask(Call::Tend { max, cursor })
}

/// A claim round of all that is free, and what it looks at.
fn claim(cursor: Cursor) -> Next {
    tend(116, cursor)
}

fn tended(taken: usize, cursor: Option<Cursor>, next_due: Option<Duration>) -> Tended {
    let delivery = |n| Delivery {
        lease: Lease::new(EntryId::new(n, 0), 1, Charge::TakenOver),
        fields: Fields::default(),
        failures: 0,
        crashes: 0,
    };
    Tended {
        taken: (0..taken as u64).map(delivery).collect(),
        cursor,
        next_due,
        ..Tended::default()
    }
}

#[test]
fn a_worker_claims_first_and_then_reads_until_the_next_claim_is_due() {
    let start = Instant::now();
    let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
    assert_eq!(intake.next(view(start)), claim(Cursor::START));
    intake.tended(100, &tended(0, None, None), start);
    assert_eq!(intake.next(view(start)), read(Some(SECOND)));
    intake.read_answered(Some(SECOND), 100, 0);
    assert_eq!(intake.next(view(start + SECOND)), claim(Cursor::START));
}

#[test]
fn a_claim_round_follows_at_once_when_it_was_full_or_has_not_come_to_the_end() {
    let start = Instant::now();
    let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
    // It has come to the end of what is pending: what more there is, is due.
    intake.tended(100, &tended(100, None, None), start);
    assert_eq!(intake.next(view(start)), claim(Cursor::END));
    let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
    let middle = Cursor(EntryId::new(7, 0));
    intake.tended(100, &tended(1, Some(middle), None), start);
    assert_eq!(intake.next(view(start)), claim(middle));
}

#[test]
fn a_sweep_that_finds_nothing_takes_its_time_and_rests_the_longer_the_more_there_was_to_look_at() {
    let mut now = Instant::now();
    let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, now);
    for (pages, rest) in [(1, SECOND), (25, 3 * SECOND / 2), (1_000, LONGEST_REST)] {
        for page in 1..pages {
            let middle = Cursor(EntryId::new(page, 0));
            intake.next(view(now));
            intake.tended(100, &tended(0, Some(middle), None), now);
            assert_eq!(intake.next(view(now)), read(Some(PAGE_PAUSE)));
            now += PAGE_PAUSE;
            assert_eq!(intake.next(view(now)), claim(middle));
        }
        intake.next(view(now));
        intake.tended(100, &tended(0, None, None), now);
        // What comes due meanwhile is asked for all the same, and nothing is looked at for that.
        intake.due_in(SECOND / 2, now);
        assert_eq!(intake.next(view(now)), read(Some(SECOND / 2)));
        assert_eq!(intake.next(view(now + SECOND / 2)), claim(Cursor::END));
        intake.tended(100, &tended(1, None, None), now + SECOND / 2);
        now += rest;
        let almost = view(now - Duration::from_millis(1));
        assert!(!matches!(
            intake.next(almost),
            Next::Ask(Call::Tend {
                cursor: Cursor::START,
                ..
            })
        ));
        assert_eq!(intake.next(view(now)), claim(Cursor::START));
    }
}

#[test]
fn what_is_seen_near_the_end_of_its_lease_is_looked_at_the_moment_that_is_over() {
    let now = Instant::now();
    let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, now);
    let near = |cursor, ms| Tended {
        next_over: Some(Duration::from_millis(ms)),
        ..tended(0, cursor, None)
    };
    let middle = Cursor(EntryId::new(7, 0));
    intake.tended(100, &near(Some(middle), 300), now);
    intake.tended(100, &near(None, 800), now);
    assert_eq!(
        intake.next(view(now)),
        read(Some(Duration::from_millis(300)))
    );
    let over = now + Duration::from_millis(300);
    assert_eq!(intake.next(view(over)), claim(Cursor::START));
    intake.tended(100, &tended(0, None, None), over);
    assert_eq!(intake.next(view(over)), read(Some(SECOND)));
}

#[test]
fn a_worker_alone_with_nothing_pending_looks_every_two_seconds() {
    let start = Instant::now();
    let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
    let quiet = Tended {
        quiet: true,
        ..Tended::default()
    };
    intake.tended(100, &quiet, start);
    assert_eq!(intake.next(view(start)), read(Some(2 * SECOND)));
    // As soon as there is something to read there is load.
    intake.read_answered(Some(2 * SECOND), 100, 1);
    intake.due_in(Duration::ZERO, start);
    assert_eq!(intake.next(view(start)), claim(Cursor::END));
    intake.tended(100, &tended(0, None, None), start);
    assert_eq!(intake.next(view(start)), read(Some(TEND_UNDER_LOAD_EVERY)));
}

#[test]
fn a_read_that_waits_ends_early_when_something_comes_due_that_was_not_known() {
    let start = Instant::now();
    let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
    intake.tended(100, &tended(0, None, None), start);
    let Next::Ask(call) = intake.next(view(start)) else {
        panic!("no read")
    };
    // It ends by itself when it is time to look again.
    assert_eq!(intake.read_ends_at(Some(call)), None);
    intake.due_in(SECOND / 2, start);
    assert_eq!(intake.read_ends_at(Some(call)), Some(start + SECOND / 2));
    assert!(!intake.could_end(call, 1, start));
    assert!(intake.could_end(call, 1, start + SECOND / 2));
    assert_eq!(intake.read_ends_at(Some(Call::CountPending)), None);
}

#[test]
fn a_read_waits_no_longer_than_the_next_due_time() {
    let start = Instant::now();
    let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
    intake.tended(100, &tended(0, None, Some(SECOND / 4)), start);
    assert_eq!(intake.next(view(start)), read(Some(SECOND / 4)));
    intake.due_in(SECOND / 10, start);
    assert_eq!(intake.next(view(start)), read(Some(SECOND / 10)));
    intake.tended(100, &tended(0, None, Some(Duration::ZERO)), start);
    assert_eq!(intake.next(view(start)), read(Some(TEND_AT_MOST_EVERY)));
}

#[test]
fn nothing_is_asked_without_room_or_before_the_pause_is_over() {
    let start = Instant::now();
    let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
    let full = View {
        free: 3,
        room: false,
        ..view(start)
    };
    assert_eq!(intake.next(full), Next::NeedsRoom);
    intake.failed(start);
    assert!(matches!(intake.next(view(start)), Next::Wait(Some(until)) if until > start));
    assert_eq!(intake.next(view(start + SECOND)), claim(Cursor::START));
}

#[test]
fn a_run_until_idle_ends_after_an_empty_read_with_nothing_held_here_or_elsewhere() {
    let start = Instant::now();
    let mut intake = Intake::new(Extent::UntilIdle, 100, 5 * SECOND, start);
    intake.tended(100, &tended(0, None, None), start);
    assert_eq!(intake.next(view(start)), read(None));
    intake.read_answered(None, 100, 0);
    let busy = View {
        held: 1,
        ..view(start)
    };
    assert_eq!(intake.next(busy), read(Some(SECOND)));
    assert_eq!(intake.next(view(start)), Next::Ask(Call::CountPending));
    intake.counted(1);
    assert_eq!(intake.next(view(start)), read(Some(SECOND)));
    intake.read_answered(Some(SECOND), 100, 0);
    assert_eq!(intake.next(view(start)), read(None));
    intake.read_answered(None, 100, 0);
    intake.counted(0);
    assert_eq!(intake.next(view(start)), Next::Done);
}

#[test]
fn a_round_is_one_claim_and_one_read_all_settled_before_the_next() {
    let start = Instant::now();
    let mut intake = Intake::new(Extent::Batches(2), 100, 5 * SECOND, start);
    for _ in 0..2 {
        assert!(matches!(
            intake.next(view(start)),
            Next::Ask(Call::Tend { .. })
        ));
        intake.tended(100, &tended(100, None, None), start);
        assert_eq!(intake.next(view(start)), read(Some(5 * SECOND)));
        intake.read_answered(Some(5 * SECOND), 100, 1);
        let busy = View {
            held: 1,
            ..view(start)
        };
        assert_eq!(intake.next(busy), Next::Wait(None));
    }
    assert_eq!(intake.next(view(start)), Next::Done);
    let mut none = Intake::new(Extent::Batches(0), 100, SECOND, start);
    assert_eq!(none.next(view(start)), Next::Done);
}

#[test]
fn in_a_pause_nothing_is_asked_and_a_round_or_a_sweep_that_has_begun_is_over() {
    let start = Instant::now();
    let paused = |held| View {
        free: 0,
        room: false,
        held,
        paused_until: Some(start + SECOND),
        ..view(start)
    };
    let waits = Next::Wait(Some(start + SECOND));
    for extent in [Extent::UntilStopped, Extent::UntilIdle] {
        let mut intake = Intake::new(extent, 100, 5 * SECOND, start);
        intake.tended(100, &tended(3, None, None), start);
        assert_eq!(intake.next(paused(3)), waits);
        assert_eq!(intake.next(paused(0)), waits);
    }
    let mut sweep = Intake::new(Extent::Sweep, 100, 5 * SECOND, start);
    sweep.tended(100, &tended(100, None, None), start);
    assert_eq!(sweep.next(paused(2)), waits);
    assert_eq!(sweep.next(paused(0)), Next::Done);

    let mut rounds = Intake::new(Extent::Batches(2), 100, 5 * SECOND, start);
    rounds.tended(100, &tended(3, None, None), start);
    assert_eq!(rounds.next(paused(3)), waits);
    assert_eq!(rounds.next(view(start)), claim(Cursor::START));
    rounds.tended(100, &tended(1, None, None), start);
    assert_eq!(rounds.next(paused(0)), Next::Done);
}

#[test]
fn a_probe_is_new_where_there_is_something_new_and_else_what_is_due() {
    let start = Instant::now();
    let probing = View {
        free: 1,
        new_first: true,
        ..view(start)
    };
    let one = |block| Next::Ask(Call::Read { max: 1, block });
    for extent in [Extent::UntilStopped, Extent::UntilIdle] {
        let mut intake = Intake::new(extent, 100, 5 * SECOND, start);
        assert_eq!(intake.next(probing), one(None));
        intake.read_answered(None, 100, 1);
        assert_eq!(intake.next(probing), one(None));
        intake.read_answered(None, 100, 0);
        assert_eq!(intake.next(probing), tend(1, Cursor::START));
        intake.tended(1, &tended(1, None, None), start);
        assert_eq!(intake.next(probing), tend(1, Cursor::END));
        // The read under way when a pause began was ended, and found nothing for that reason alone.
        intake.next(View {
            paused_until: Some(start + SECOND),
            ..probing
        });
        assert_eq!(intake.next(probing), one(None));
    }
}

#[test]
fn while_nothing_is_read_what_is_pending_is_still_taken_over_and_nothing_ends() {
    let start = Instant::now();
    let held_up = |now| View {
        reads_nothing: true,
        ..view(now)
    };
    for extent in [Extent::UntilStopped, Extent::UntilIdle] {
        let mut intake = Intake::new(extent, 100, 5 * SECOND, start);
        for round in 0..3 {
            let now = start + round * SECOND;
            assert_eq!(intake.next(held_up(now)), claim(Cursor::START));
            intake.tended(100, &tended(1, None, None), now);
            let waits = Next::Wait(Some(now + SECOND));
            assert_eq!(intake.next(held_up(now)), waits);
        }
    }
    let mut rounds = Intake::new(Extent::Batches(1), 100, 5 * SECOND, start);
    rounds.tended(100, &tended(0, None, None), start);
    assert_eq!(rounds.next(held_up(start)), Next::Wait(None));
    assert_eq!(rounds.next(view(start)), read(Some(5 * SECOND)));

    let mut sweep = Intake::new(Extent::Sweep, 100, 5 * SECOND, start);
    assert_eq!(sweep.next(held_up(start)), claim(Cursor::START));
    sweep.tended(100, &tended(0, None, None), start);
    assert_eq!(sweep.next(held_up(start)), Next::Done);
}
