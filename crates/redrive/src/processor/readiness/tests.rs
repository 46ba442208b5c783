//! Pauses and probes, told the time and the dice.

use super::super::breaker::RUNS;
use super::*;

fn millis(of: u64) -> Duration {
    Duration::from_millis(of)
}

/// What becomes of one run, the highest dice rolled.
fn run(readiness: &mut Readiness, told: Told, now: Instant) -> Option<Change> {
    let ticket = readiness.started();
    readiness.learn(ticket, told, now, 1.0)
}

/// A run is started and cannot begin. Answers when the pause is over.
fn fail(readiness: &mut Readiness, now: Instant, roll: f64) -> Instant {
    let ticket = readiness.started();
    readiness.learn(ticket, Told::CannotRun, now, roll);
    match readiness.pace(now) {
        Pace::Paused(until) => until,
        other => panic!("not a pause: {other:?}"),
    }
}

#[test]
fn pauses_double_from_half_a_second_to_thirty_and_are_never_nothing() {
    let (mut readiness, mut now) = (Readiness::default(), Instant::now());
    let pauses: Vec<u128> = (0..9)
        .map(|_| {
            let began = now;
            now = fail(&mut readiness, now, 1.0);
            (now - began).as_millis()
        })
        .collect();
    assert_eq!(
        pauses,
        [
            500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000
        ]
    );
    assert_eq!(fail(&mut readiness, now, 0.0), now + SHORTEST);
}

#[test]
fn after_a_pause_one_run_probes_and_its_word_counts() {
    let (mut readiness, start) = (Readiness::default(), Instant::now());
    assert_eq!(readiness.pace(start), Pace::Full);
    let ticket = readiness.started();
    assert_eq!(readiness.pace(start), Pace::Full);
    assert_eq!(
        readiness.learn(ticket, Told::CannotRun, start, 1.0),
        Some(Change::CannotRun { pause: FIRST })
    );
    let over = start + FIRST;
    assert_eq!(readiness.pace(start), Pace::Paused(over));
    assert_eq!(readiness.pace(over), Pace::Probe);

    let probe = readiness.started();
    assert_eq!(readiness.pace(over), Pace::Probing);
    assert_eq!(readiness.learn(probe, Told::CannotRun, over, 1.0), None);
    assert_eq!(readiness.pace(over), Pace::Paused(over + 2 * FIRST));

    let over = over + 2 * FIRST;
    let probe = readiness.started();
    assert_eq!(
        readiness.learn(probe, Told::Answered, over, 1.0),
        Some(Change::RunsAgain {
            after: over - start
        })
    );
    assert_eq!(readiness.pace(over), Pace::Full);
    let next = readiness.started();
    assert_eq!(readiness.learn(next, Told::Answered, over, 1.0), None);
    assert_eq!(
        readiness.learn(next, Told::CannotRun, over, 1.0),
        Some(Change::CannotRun { pause: FIRST })
    );
}

#[test]
fn runs_from_before_a_change_neither_lengthen_a_pause_nor_end_it() {
    let (mut readiness, start) = (Readiness::default(), Instant::now());
    let [first, second, third] = [(); 3].map(|()| readiness.started());
    let until = start + FIRST;
    assert_eq!(
        readiness.learn(first, Told::CannotRun, start, 1.0),
        Some(Change::CannotRun { pause: FIRST })
    );
    assert_eq!(
        readiness.learn(second, Told::CannotRun, start + FIRST / 5, 1.0),
        None
    );
    assert_eq!(readiness.learn(third, Told::Answered, start, 1.0), None);
    assert_eq!(readiness.pace(start), Pace::Paused(until));

    let probe = readiness.started();
    assert!(readiness.learn(probe, Told::Answered, until, 1.0).is_some());
    assert_eq!(readiness.learn(second, Told::CannotRun, until, 1.0), None);
    assert_eq!(readiness.pace(until), Pace::Full);
}

#[test]
fn a_probe_that_never_reached_a_handler_makes_room_for_another() {
    let (mut readiness, start) = (Readiness::default(), Instant::now());
    let ticket = readiness.started();
    assert!(
        readiness
            .learn(ticket, Told::CannotRun, start, 1.0)
            .is_some()
    );
    let over = start + FIRST;
    let probe = readiness.started();
    readiness.learn(ticket, Told::Nothing, start, 1.0);
    assert_eq!(readiness.pace(over), Pace::Probing);
    readiness.learn(probe, Told::Nothing, start, 1.0);
    assert_eq!(readiness.pace(over), Pace::Probe);
}

#[test]
fn the_breaker_opens_once_pauses_longer_while_probes_fail_and_closes_with_an_answer() {
    let (mut readiness, start) = (Readiness::default(), Instant::now());
    for _ in 1..RUNS {
        assert_eq!(run(&mut readiness, Told::Failed, start), None);
    }
    let late = readiness.started();
    let opened = Some(Change::Opened {
        failed: RUNS,
        pause: FIRST_OPEN,
    });
    assert_eq!(run(&mut readiness, Told::Failed, start), opened);
    // What was started before says nothing new, neither so nor so.
    assert_eq!(readiness.learn(late, Told::Failed, start, 1.0), None);
    assert_eq!(readiness.learn(late, Told::Answered, start, 1.0), None);
    let mut now = start;
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let Pace::Paused(until) = readiness.pace(now) else {
            panic!("{:?}", readiness.pace(now));
        };
        pauses.push((until - now).as_secs());
        now = until;
        assert_eq!(readiness.pace(now), Pace::Probe);
        let told = [Told::Failed, Told::FailedAgain][pauses.len() % 2];
        assert_eq!(run(&mut readiness, told, now), None);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    now += MOST;
    // It cannot even begin: no answer either.
    assert_eq!(run(&mut readiness, Told::CannotRun, now), None);
    now += MOST;
    assert_eq!(run(&mut readiness, Told::Nothing, now), None);
    assert_eq!(readiness.pace(now), Pace::Probe);
    let closed = Some(Change::Closed { after: now - start });
    assert_eq!(run(&mut readiness, Told::Answered, now), closed);
    assert_eq!(readiness.pace(now), Pace::Full);
    // Nothing is remembered: it takes as many again.
    for _ in 1..RUNS {
        assert_eq!(run(&mut readiness, Told::Failed, now), None);
    }
    assert_eq!(run(&mut readiness, Told::Failed, now), opened);
}

#[test]
fn half_of_a_pause_of_the_breaker_is_certain() {
    for (tries, least, most) in [(1, 500, 1_000), (3, 2_000, 4_000), (9, 15_000, 30_000)] {
        assert_eq!(Reason::Fails.pause(tries, 0.0), millis(least));
        assert_eq!(Reason::Fails.pause(tries, 1.0), millis(most));
    }
}

#[test]
fn a_breaker_that_is_off_never_opens() {
    let (mut readiness, now) = (Readiness::new(Breaker::Off), Instant::now());
    for _ in 0..10 * RUNS {
        assert_eq!(run(&mut readiness, Told::Failed, now), None);
    }
    assert_eq!(readiness.pace(now), Pace::Full);
}

#[test]
fn a_failure_after_handlers_could_not_run_ends_their_pause_and_is_not_remembered() {
    let (mut readiness, start) = (Readiness::default(), Instant::now());
    assert!(run(&mut readiness, Told::CannotRun, start).is_some());
    let runs = Some(Change::RunsAgain { after: FIRST });
    assert_eq!(run(&mut readiness, Told::Failed, start + FIRST), runs);
    for _ in 1..RUNS {
        assert_eq!(run(&mut readiness, Told::Failed, start), None);
    }
    assert!(run(&mut readiness, Told::Failed, start).is_some());
}

/// Half of a stream may be bad, and what is bad fails again and again, often one right after the
/// other.
#[test]
fn what_fails_again_opens_nothing() {
    let (mut readiness, now) = (Readiness::default(), Instant::now());
    for told in [Told::Failed, Told::Answered].into_iter().cycle().take(50) {
        assert_eq!(run(&mut readiness, told, now), None);
    }
    for _ in 0..10 * RUNS {
        assert_eq!(run(&mut readiness, Told::FailedAgain, now), None);
    }
    assert_eq!(readiness.pace(now), Pace::Full);
}
