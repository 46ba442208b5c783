//! `dlq replay --set` and `--patch`: what goes back is what was asked for, and nothing else is touched.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::rig::{Rig, assert_fails};

const REPLAY: [&str; 5] = ["dlq", "replay", "orders", "--all", "--yes"];

/// What the newest entry of the stream has in this field.
async fn last(rig: &Rig, field: &str) -> Vec<u8> {
    let fields = rig.last("orders").await.1;
    let mut pairs = fields.chunks(2);
    pairs.find(|pair| pair[0] == field.as_bytes()).unwrap()[1].clone()
}

#[tokio::test]
async fn a_value_is_set_in_json_and_every_other_byte_stays() {
    let rig = Rig::start().await;
    let data =
        br#"{"z":1.50,"big":123456789012345678901,"customer":{"id":null},"items":[{"n":1}]}"#;
    rig.dies("orders:dlq", "1-0", &[b"data", data, b"kind", b"old"], &[])
        .await;
    let line = [
        &REPLAY[..],
        &[
            "--set",
            "data.customer.id=7",
            "--set",
            "data.items[0].n=two",
            "--set",
            "kind=new",
        ],
    ]
    .concat();
    let dry = rig.redrive(&[&line[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    insta::assert_snapshot!("set_dry", dry.stdout);
    assert_eq!(rig.length("orders:dlq").await, 1);
    rig.json(&line).await;
    let expected =
        br#"{"z":1.50,"big":123456789012345678901,"customer":{"id":7},"items":[{"n":"two"}]}"#;
    assert_eq!(last(&rig, "data").await, expected);
    assert_eq!(last(&rig, "kind").await, b"new");
}

#[tokio::test]
async fn message_pack_is_patched_and_its_binary_and_integers_stay() {
    let rig = Rig::start().await;
    // {"id": 2**64-1, "key": bin, "note": "x"}
    let packed =
        b"\x83\xa2id\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa3key\xc4\x02\xff\x00\xa4note\xa1x";
    rig.dies("orders:dlq", "1-0", &[b"data", packed], &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("patch.json");
    std::fs::write(
        &file,
        "{\n  \"note\": null,\n  \"new\": {\"a\": [1, 2.0]}\n}\n",
    )
    .unwrap();
    rig.json(&[&REPLAY[..], &["--patch", file.to_str().unwrap()]].concat())
        .await;
    let expected =
        b"\x83\xa2id\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa3key\xc4\x02\xff\x00\xa3new\x81\xa1a\x92\x01\xcb\x40\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(last(&rig, "data").await, expected);
}

#[tokio::test]
async fn a_patch_from_stdin_comes_before_set_and_set_before_the_migration() {
    let rig = Rig::start().await;
    rig.dies("orders:dlq", "1-0", &[b"data", b"{\"a\":1,\"b\":2}"], &[])
        .await;
    let line = [
        &REPLAY[..],
        &[
            "--patch",
            "-",
            "--set",
            "data.a=set",
            "--migrate",
            "sed s/set/migrated/",
        ],
    ]
    .concat();
    let mut child = rig.command(&line).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"{\"a\":\"patched\",\"b\":null,\"c\":true}")
        .await
        .unwrap();
    drop(stdin);
    assert!(child.wait().await.unwrap().success());
    let after: Value = serde_json::from_slice(&last(&rig, "data").await).unwrap();
    assert_eq!(after, json!({ "a": "migrated", "c": true }));
}

#[tokio::test]
async fn where_nothing_can_be_set_the_dead_letter_stays_and_is_named_with_a_cure() {
    let rig = Rig::start().await;
    rig.dies("orders:dlq", "1-0", &[b"data", b"{\"customer\":{}}"], &[])
        .await;
    rig.dies("orders:dlq", "2-0", &[b"data", b"{\"customer\":7}"], &[])
        .await;
    rig.dies("orders:dlq", "3-0", &[], &[("redrive-reason", "trimmed")])
        .await;
    let line = [&REPLAY[..], &["--set", "data.customer.id=7"]].concat();
    let dry = rig.redrive(&[&line[..], &["--dry-run"]].concat()).await;
    assert_eq!(
        (dry.code, dry.stderr.as_str()),
        (Some(4), "error: 2 of 3 would not be replayed\n")
    );
    let ended = rig.redrive(&line).await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(4), "error: 2 of 3 not replayed\n")
    );
    insta::assert_snapshot!("not_set", ended.stdout);
    assert_eq!(rig.length("orders:dlq").await, 2);
    assert_eq!(last(&rig, "data").await, b"{\"customer\":{\"id\":7}}");
}

#[tokio::test]
async fn a_path_or_a_patch_that_is_none_is_a_mistake_of_usage() {
    let rig = Rig::start().await;
    for (set, why) in [
        ("data", "at character 5: there is no = behind the path"),
        (
            "data..a=1",
            "at character 6: a part is empty; write \"\" for a name that is",
        ),
        (
            "data.n+=1",
            "at character 6: there is no other sign than =; quote a name that ends like this",
        ),
        (
            "data.$ref=1",
            "at character 6: a key begins with a single $: write $$ for one",
        ),
    ] {
        let ended = rig.redrive(&[&REPLAY[..], &["--set", set]].concat()).await;
        let told = format!(
            "--set <PATH=VALUE> cannot be {set:?}: {why}; it is PATH=VALUE, such as \
            data.customer.id=7"
        );
        assert_fails(&ended, 2, &told, "see `redrive dlq replay --help`");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("patch");
    let name = file.to_str().unwrap();
    let hint = "name a file that holds a JSON object, or - for stdin";
    let line = [&REPLAY[..], &["--patch", name]].concat();
    let ended = rig.redrive(&line).await;
    let error = format!("--patch: {name:?} cannot be read: No such file or directory (os error 2)");
    assert_fails(&ended, 2, &error, hint);
    std::fs::write(&file, "{'a':1}").unwrap();
    let ended = rig.redrive(&line).await;
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("is no merge patch: ")
            && ended.stderr.contains("\nhint: it holds a JSON object: "),
        "{}",
        ended.stderr
    );
}
