//! `--breaker`: a handler that fails for everything slows its worker down, or does not.

use super::{Rig, totals};

/// Fails until what it needs is there.
fn needing(rig: &Rig) -> (String, std::path::PathBuf) {
    let needed = rig.path("database");
    let handler = rig.script(&format!("test -e '{}'", needed.display()));
    (handler, needed)
}

#[tokio::test]
async fn what_fails_for_everything_is_slowed_down_and_goes_on_when_it_works_again() {
    let mut rig = Rig::start().await;
    rig.add(200).await;
    let (handler, needed) = needing(&rig);
    let args = "--until-idle --backoff 1s -o json --".split(' ');
    let args: Vec<&str> = args.chain([&*handler]).collect();
    let run = rig.run(&args);
    run.says("nearly every run fails").await;
    std::fs::write(needed, "").unwrap();
    let ended = run.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let [succeeded, failed, .., dead, _] = totals(&ended)[..] else {
        panic!("{}", ended.stdout);
    };
    assert_eq!(succeeded + dead, 200, "{}", ended.stderr);
    // The window and what ran beside its last one, probes, and what came due before it opened.
    assert!(dead <= 5, "{dead}: {}", ended.stderr);
    assert!((50..100).contains(&failed), "{failed}: {}", ended.stderr);
    for line in ["nearly every run fails", "a run has worked"] {
        assert_eq!(ended.stderr.matches(line).count(), 1, "{}", ended.stderr);
    }
}

#[tokio::test]
async fn without_the_breaker_every_message_is_tried_as_often_as_it_may() {
    let mut rig = Rig::start().await;
    rig.add(120).await;
    let (handler, _) = needing(&rig);
    let args = "--max-attempts 2 --breaker off --".split(' ');
    let args: Vec<&str> = args.chain([&*handler]).collect();
    let ended = rig.drain(&args).await;
    assert_eq!(totals(&ended), [0, 240, 120, 0, 0, 120, 0]);
    assert!(!ended.stderr.contains("nearly every"), "{}", ended.stderr);
}
