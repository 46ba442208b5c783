//! Two workers under one consumer's name.

use rustix::process::Signal;

use super::Rig;

#[tokio::test]
async fn a_second_worker_under_a_name_waits_for_it_and_ends_with_1() {
    let rig = Rig::start().await;
    let line = ["--consumer", "a", "--lease", "1s", "--", "true"];
    let first = rig.run(&line);
    first.says("processor started").await;
    let second = rig.run(&line);
    second
        .says("another process has this consumer's name")
        .await;
    let ended = second.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for text in [
        "error: refused while running as the consumer a, under which another process runs",
        "\nhint: stop the other one, or leave the consumer's name out",
    ] {
        assert!(ended.stderr.contains(text), "{}", ended.stderr);
    }
    first.signal(Signal::TERM);
    let ended = first.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // Given back: nobody waits for it.
    let third = rig.drain(&line).await;
    assert_eq!(third.code, Some(0), "{}", third.stderr);
    assert!(
        !third.stderr.contains("another process"),
        "{}",
        third.stderr
    );
}
