//! `--ordered-by`: one after another within a key, side by side across keys, for real processes.

use super::{Rig, totals};

/// Notes when it begins and ends; the first message of key `a` fails once, and key `b` waits until
/// that has begun again.
const HANDLER: &str = r#"
cd "$(dirname "$0")"
body=$(cat)
case $body in
    *'"a"'*) key=a ;;
    *) key=b ;;
esac
echo "$key $REDRIVE_ID $REDRIVE_ATTEMPT begins" >>log
if [ $key = b ]; then
    tries=0
    until grep -q '^a .* 2 begins' log; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || exit 65
        sleep 0.05
    done
fi
echo "$key $REDRIVE_ID $REDRIVE_ATTEMPT ends" >>log
if [ $key = a ] && [ ! -e failed ]; then
    touch failed
    exit 1
fi
"#;

#[tokio::test]
async fn messages_of_one_key_are_handled_one_after_another_also_through_a_retry() {
    let rig = Rig::start().await;
    runs_in_order(rig, &[], &["--ordered-by", "customer"]).await;
}

#[tokio::test]
async fn the_order_can_stand_in_the_configuration_file() {
    let rig = Rig::start().await;
    let file = rig.path("redrive.toml");
    std::fs::write(&file, "[run]\nordered_by = \"customer\"\n").unwrap();
    let file = file.to_str().unwrap().to_owned();
    runs_in_order(rig, &["--config", &file], &[]).await;
}

async fn runs_in_order(mut rig: Rig, globals: &[&str], options: &[&str]) {
    let mut ids = Vec::new();
    for key in ["a", "a", "b", "a"] {
        ids.push(rig.add_fields(&[(b"customer", key.as_bytes())]).await);
    }
    let handler = rig.script(HANDLER);
    let url = rig.server.url();
    let globals = [&["--url", &url], globals].concat();
    let end = [
        "--until-idle",
        "--backoff",
        "200ms",
        "-o",
        "json",
        "--",
        &handler,
    ];
    let ended = rig
        .run_with(&globals, &[options, &end].concat())
        .ended()
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended), [4, 1, 1, 0, 0, 0, 0]);
    let log = std::fs::read_to_string(rig.path("log")).unwrap();
    let of_a: Vec<&str> = log.lines().filter(|line| line.starts_with("a ")).collect();
    let expected: Vec<String> = [(0, 1), (0, 2), (1, 1), (3, 1)]
        .into_iter()
        .flat_map(|(at, attempt)| {
            ["begins", "ends"].map(|what| format!("a {} {attempt} {what}", ids[at]))
        })
        .collect();
    assert_eq!(of_a, expected, "{log}");
    assert_eq!(rig.pending().await, 0);
}
