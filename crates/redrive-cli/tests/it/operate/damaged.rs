//! Files that somebody's editor, or another system, has had in its hands: imported as they were, or refused.

use std::fs;

use super::exporting::stored;
use super::importing::exported;
use super::rig::{Rig, assert_fails};

const LEDGER: [&str; 3] = ["HGET", "{orders:dlq}:redrive:ledger", "imported"];

#[tokio::test]
async fn what_other_systems_add_to_a_text_is_passed_over_and_nothing_is_imported_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (here, file) = exported(5, folder.path()).await;
    let text = fs::read_to_string(&file).unwrap();
    let there = Rig::start().await;
    let import = async |text: &str| {
        fs::write(&file, text).unwrap();
        let report = there
            .json(&["dlq", "import", file.to_str().unwrap(), "--yes"])
            .await;
        ["imported", "already", "gone"].map(|name| report[name].as_u64().unwrap())
    };
    let crlf = text.replace('\n', "\r\n");
    assert_eq!(import(&format!("\u{feff}{crlf}\r\n")).await, [5, 0, 0]);
    for same in [
        text.as_str(),
        &crlf,
        &format!("{text}\n\n"),
        &format!("\u{feff}{text}"),
    ] {
        assert_eq!(import(same).await, [0, 5, 0], "{same:?}");
    }
    assert_eq!(
        stored(there.entries("orders:dlq").await),
        stored(here.entries("orders:dlq").await)
    );
    assert_eq!(there.ask::<u64>(&LEDGER).await, 5);
}

#[tokio::test]
async fn what_is_damaged_says_where_and_how_it_is_cured() {
    let folder = tempfile::tempdir().unwrap();
    let (_, file) = exported(2, folder.path()).await;
    let text = fs::read_to_string(&file).unwrap();
    let footer = text.lines().last().unwrap();
    let there = Rig::start().await;
    let path = file.to_str().unwrap();
    let empty = "{\"redrive_export\":1,\"dead_letters\":0,\"sha256\":\
                 \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}\n";
    let nothing = format!("no dead letters in {path}");
    for (bytes, code, error, hint) in [
        (
            format!("{text}{footer}\n"),
            1,
            "invalid value while reading line 4 of an export: a second footer; nothing was imported; --salvage \
             imports what is whole of it",
            "where it is the same as the line before, take it away; else the export before it is missing",
        ),
        (
            text.replacen('\n', "\n\n", 1),
            1,
            "invalid value while reading line 2 of an export: it is empty; nothing was imported; --salvage imports \
             what is whole of it",
            "take the empty line away, or export it again",
        ),
        (
            String::new(),
            1,
            "invalid value while reading an export: it is empty, a footer at least is missing",
            "it was cut or changed: copy it again, or export it again",
        ),
        (
            format!("{footer}\n"),
            1,
            "invalid value while reading an export: it holds 0 dead letters, its footer says 2",
            "it was cut or changed: copy it again, or export it again",
        ),
        (empty.to_owned(), 3, &nothing, "it is an export of nothing"),
    ] {
        fs::write(&file, bytes).unwrap();
        let told = there.redrive(&["dlq", "import", path, "--yes"]).await;
        assert_fails(&told, code, error, hint);
        assert!(there.everything().await.is_empty(), "{error}");
    }
}
