//! The second Python system from the shell: inspection, replay one by one and in bulk, migration; its bytes compared.

use serde_json::{Value, json};

use super::rig::{ENVELOPE, Rig, assert_fails, keys, sorted};

const INBOUND: &str = "sg:stream:inbound";
const QUEUE: &str = "sg:stream:dlq";
/// What the dump holds: rich, nested, not MessagePack, of an old version, empty.
const IDS: [&str; 5] = [
    "1795324222409-0",
    "1795324222409-1",
    "1795324222409-2",
    "1795324222409-3",
    "1795324222409-4",
];

async fn data(rig: &Rig, stream: &str) -> Vec<u8> {
    let (_, entry) = rig.last(stream).await;
    assert_eq!(entry[0], b"data");
    entry[1].clone()
}

#[tokio::test]
async fn inspecting_shows_its_seven_keys_with_the_payload_decoded() {
    let rig = Rig::loaded(ENVELOPE).await;
    let shown = rig.json(&["dlq", "show", IDS[0], "--dlq", QUEUE]).await;
    let all = "id dlq layout stream group original_id reason error error_kind fingerprint attempts crashes \
        replays consumer first_at dead_at size fields payload codec replayed_from campaign \
        age_ms failing_ms lineage dlq_msg_id original_msg_id attempt";
    assert_eq!(keys(&shown), sorted(all));
    assert_eq!(
        (&shown["dlq_msg_id"], &shown["original_msg_id"]),
        (&IDS[0].into(), &"1795324222409-1".into())
    );
    assert_eq!(
        (&shown["stream"], &shown["error"]),
        (&INBOUND.into(), &"KeyError: 'user_id'".into())
    );
    assert_eq!(
        (&shown["attempt"], &shown["codec"]),
        (&3.into(), &"msgpack".into())
    );
    let payload = json!({
        "v": 1, "platform": "discord", "channel": "42", "text": "Grüße 😀",
        "attachments": [{ "name": "a.png", "bytes": { "$bin": "iVBORw0KGgoA/w==" } }],
        "n": 1_099_511_627_776_u64, "f": 1.5, "none": null,
    });
    assert_eq!(shown["payload"], payload);
}

#[tokio::test]
async fn a_payload_that_does_not_decode_is_null_and_its_bytes_are_there() {
    let rig = Rig::loaded(ENVELOPE).await;
    let shown = rig.json(&["dlq", "show", IDS[2], "--dlq", QUEUE]).await;
    assert_eq!(
        (&shown["payload"], &shown["codec"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        shown["fields"][0],
        json!(["data", { "base64": "wf8Abm90IG1zZ3BhY2s=" }])
    );
    let ended = rig.redrive(&["dlq", "show", IDS[2], "--dlq", QUEUE]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(
        ended
            .stdout
            .contains("data      \\xc1\\xff\\u{0}not msgpack\n"),
        "{}",
        ended.stdout
    );
}

#[tokio::test]
async fn an_unknown_id_is_exit_3_and_not_a_fault() {
    let rig = Rig::loaded(ENVELOPE).await;
    let before = rig.everything().await;
    let hint = "it was replayed or purged, or its id is of another queue";
    let ended = rig.redrive(&["dlq", "show", "5-7", "--dlq", QUEUE]).await;
    assert_fails(
        &ended,
        3,
        "dead letter not found: 5-7 in sg:stream:dlq",
        hint,
    );
    let ended = rig
        .redrive(&["dlq", "replay", "--dlq", QUEUE, "--id", "5-7", "-q"])
        .await;
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.contains("dead letter not found: 5-7"),
        "{}",
        ended.stderr
    );
    assert_eq!(rig.everything().await, before);
}

#[tokio::test]
async fn an_empty_payload_and_a_failed_migration_are_refused_with_the_reason_and_touch_nothing() {
    let rig = Rig::loaded(ENVELOPE).await;
    let before = rig.everything().await;
    for (id, migration, why) in [
        (IDS[4], None, "payload is empty"),
        (IDS[4], Some("cat"), "payload is empty"),
        (
            IDS[2],
            Some("cat"),
            "its payload does not decode, so it cannot be migrated",
        ),
        (
            IDS[3],
            Some("exit 3"),
            "the migration command ended with exit status: 3",
        ),
        (
            IDS[3],
            Some("echo '{'"),
            "answered something that is not one JSON value",
        ),
        (
            IDS[3],
            Some("echo '{\"v\": 18446744073709551616}'"),
            "does not fit its codec msgpack: an integer beyond 64 bits",
        ),
        (
            IDS[3],
            Some("echo '{\"$bin\": 7}'"),
            "does not fit its codec msgpack",
        ),
    ] {
        let mut line = vec!["-o", "json", "dlq", "replay", "--dlq", QUEUE, "--id", id];
        line.extend(
            migration
                .map(|command| ["--migrate", command])
                .into_iter()
                .flatten(),
        );
        let ended = rig.redrive(&line).await;
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(1), "error: none of 1 replayed\n"),
            "{migration:?}"
        );
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let error = report["failures"][0]["error"].as_str().unwrap();
        assert!(error.contains(why) && error.contains(id), "{error}");
        assert_eq!(rig.everything().await, before, "{migration:?}");
    }
}

#[tokio::test]
async fn one_after_the_other_they_go_to_the_original_stream_or_another() {
    let rig = Rig::loaded(ENVELOPE).await;
    for (id, target, left) in [
        (IDS[0], None, 4),
        (IDS[1], Some("sg:stream:repaired"), 3),
        (IDS[2], None, 2),
    ] {
        let original = rig.json(&["dlq", "show", id, "--dlq", QUEUE]).await["stream"].clone();
        let mut line = vec!["dlq", "replay", "--dlq", QUEUE, "--id", id];
        line.extend(
            target
                .map(|target| ["--target", target])
                .into_iter()
                .flatten(),
        );
        let report = rig.json(&line).await;
        let (new, _) = rig.last(target.unwrap_or(original.as_str().unwrap())).await;
        assert_eq!(report["new_ids"], json!([new]));
        assert_eq!(rig.length(QUEUE).await, left);
    }
}

#[tokio::test]
async fn a_migration_from_the_shell_keeps_binary_and_text_apart() {
    let rig = Rig::loaded(ENVELOPE).await;
    // The old version is brought up to date; what is current passes as it is.
    let script = "sed -u 's/{\"v\":0,/{\"v\":1,\"avatar\":{\"$bin\":\"AP8=\"},/'";
    let line = [
        "dlq",
        "replay",
        INBOUND,
        "--dlq",
        QUEUE,
        "--migrate",
        script,
        "--id",
    ];
    let rich = rig.entries(QUEUE).await[0].1[9].clone();
    let report = rig.json(&[&line[..], &[IDS[0]]].concat()).await;
    assert_eq!(report["replayed"], 1);
    assert_eq!(data(&rig, INBOUND).await, rich);
    let report = rig.json(&[&line[..], &[IDS[3]]].concat()).await;
    assert_eq!(report["replayed"], 1);
    let expected = b"\x84\xa1v\x01\xa6avatar\xc4\x02\x00\xff\xa6schema\xa3old\xa4user\xa2u1";
    assert_eq!(data(&rig, INBOUND).await, expected);
}

#[tokio::test]
async fn all_are_migrated_at_once_and_what_cannot_be_stays_and_is_named() {
    let rig = Rig::loaded(ENVELOPE).await;
    let line = [
        "-o",
        "json",
        "dlq",
        "replay",
        "--dlq",
        QUEUE,
        "--all",
        "--yes",
        "--migrate",
        "sed -u 's/{\"v\":[01]/{\"v\":2/'",
    ];
    let ended = rig.redrive(&line).await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(4), "error: 2 of 5 not replayed\n")
    );
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&report["selected"], &report["replayed"], &report["failed"]),
        (&5.into(), &3.into(), &2.into())
    );
    let left: Vec<String> = rig
        .entries(QUEUE)
        .await
        .into_iter()
        .map(|entry| entry.0)
        .collect();
    assert_eq!(left, [IDS[2], IDS[4]]);
    let failed: Vec<&Value> = report["failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| &failure["id"])
        .collect();
    assert_eq!(failed, left.iter().map(String::as_str).collect::<Vec<_>>());
    let outbound = data(&rig, "sg:stream:outbound").await;
    assert!(outbound.starts_with(b"\x84\xa1v\x02\xa2to"), "{outbound:?}");
}
