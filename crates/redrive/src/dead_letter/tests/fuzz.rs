//! Any entry as a dead letter, read and put back and written again in each layout: never a panic.

use super::laws::entry;
use super::*;

#[test]
#[ignore = "takes five seconds: run by make chaos-ci"]
fn fuzz_dead_letter_layouts_never_panic() {
    let layouts = [Layout::Native, Layout::Flat, Layout::Envelope];
    let input = (
        entry(),
        proptest::sample::select(layouts.to_vec()),
        "\\PC{0,40}",
    );
    redrive_testkit::fuzz("dead-letter layouts", &input, |(entry, layout, error)| {
        let letter = read(id(), entry.clone());
        assert_eq!(letter.stored(), &entry);
        if let Ok(back) = replay_fields(&letter) {
            assert!(!back.is_empty());
        }
        let source = source();
        let about = Obituary {
            error: &error,
            ..obituary(&source)
        };
        for user in [Some(&entry), None] {
            let again = read(id(), compose(layout, user, &about).1);
            assert!(user.is_none() || !again.is_tombstone());
            let _ = replay_fields(&again);
        }
    });
}
