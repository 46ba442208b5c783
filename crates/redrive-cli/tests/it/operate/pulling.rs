//! `dlq pull`: a dead letter as a file, what is in it, and what becomes of files that are there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use redrive::Fields;
use serde_json::Value;
use tempfile::TempDir;

use super::rig::{Rig, assert_fails, ended};
use crate::Ended;
use crate::run::write_program;

const OWN: [&[u8]; 8] = [
    b"data",
    b"{\"cents\":-1}",
    b"\xff\x1b",
    b"\x00\x9b\xfe",
    b"",
    "\u{202e}é".as_bytes(),
    b"data",
    b"twice",
];

struct Desk {
    rig: Rig,
    folder: TempDir,
}

impl Desk {
    async fn start() -> Self {
        let rig = Rig::start().await;
        rig.dies("orders:dlq", "17-1", &OWN, &[]).await;
        rig.dies(
            "orders:dlq",
            "17-2",
            &[b"data", b"{\"n\":1}", b"kind", b"order"],
            &[],
        )
        .await;
        let folder = tempfile::Builder::new()
            .prefix("redrive-pull-")
            .tempdir_in("/tmp")
            .unwrap();
        Self { rig, folder }
    }

    async fn pulls(&self, words: &[&str]) -> Ended {
        let line = [&["dlq", "pull"], words, &["orders"]].concat();
        let mut command = self.rig.command(&line);
        ended(command.current_dir(self.folder.path())).await
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn the_file_holds_every_byte_of_the_message_and_only_its_owner_may_read_it() {
    let desk = Desk::start().await;
    let ended = desk.pulls(&["17-1"]).await;
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(0), "17-1.json\n", "")
    );
    let path = desk.folder.path().join("17-1.json");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = String::from_utf8(desk.read("17-1.json")).unwrap();
    // Nothing in it turns the text around in an editor.
    assert!(
        text.ends_with("}\n") && !text.contains('\u{202e}'),
        "{text}"
    );
    let own: Vec<(&[u8], &[u8])> = OWN.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(
        Fields::from_json(&text).unwrap(),
        Fields::from_iter(own.clone())
    );
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&document["id"], &document["error"]),
        (&"17-1".into(), &"card declined".into())
    );
    // A line of a list is the same.
    let listed = desk
        .rig
        .redrive(&["dlq", "list", "orders", "-o", "jsonl", "--id", "17-1"])
        .await;
    assert_eq!(
        Fields::from_json(&listed.stdout).unwrap(),
        Fields::from_iter(own)
    );
    // And so is stdout.
    let there = desk.pulls(&["17-1", "--to", "-"]).await;
    assert_eq!(there.stdout, text);
}

#[tokio::test]
async fn a_payload_is_what_a_worker_gives_its_handler() {
    let desk = Desk::start().await;
    let handler = desk.folder.path().join("handler");
    write_program(&handler, "#!/bin/sh\ncat > \"$1\"\n");
    let handler = handler.to_str().unwrap();
    for (words, name) in [
        (&[][..], "17-2.payload.json"),
        (&["--field", "data"], "17-2.payload"),
    ] {
        let ended = desk.pulls(&[&["17-2", "--payload"], words].concat()).await;
        assert_eq!(
            (ended.code, ended.stdout.trim_end()),
            (Some(0), name),
            "{}",
            ended.stderr
        );
        let given = desk.folder.path().join("given");
        let mut worker = vec!["run", "orders", "-g", "billing", "--until-idle"];
        worker.extend(words);
        worker.extend(["--", handler, given.to_str().unwrap()]);
        let put_back = ["dlq", "replay", "orders", "--id", "17-2", "--keep"];
        // The receipt knows of it: it is put back once.
        let report = desk.rig.json(&put_back).await;
        if report["already"] == 1 {
            let again = ["XADD", "orders", "*", "data", "{\"n\":1}", "kind", "order"];
            let _: String = desk.rig.ask(&again).await;
        }
        let ended = desk.rig.redrive(&worker).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(desk.read("given"), desk.read(name), "{name}");
    }
    assert_eq!(desk.read("17-2.payload"), b"{\"n\":1}");
    // Bytes are written as they are.
    let ended = desk
        .pulls(&["17-1", "--payload", "--field", "data", "-o", "json"])
        .await;
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&told["file"], &told["bytes"]),
        (&"17-1.payload".into(), &12.into())
    );
}

#[tokio::test]
async fn a_file_that_is_there_stays_unless_it_is_to_be_replaced() {
    let desk = Desk::start().await;
    let path = |name: &str| desk.folder.path().join(name);
    fs::write(path("taken"), "mine").unwrap();
    fs::write(path("aim"), "mine").unwrap();
    symlink(path("aim"), path("link")).unwrap();
    symlink(path("nowhere"), path("loose")).unwrap();
    for name in ["taken", "link", "loose"] {
        let ended = desk.pulls(&["17-1", "--to", name]).await;
        assert_fails(
            &ended,
            1,
            &format!("{name} is there already"),
            "name another file, or say --force to replace it",
        );
    }
    assert_eq!(
        (desk.read("taken"), desk.read("aim")),
        (b"mine".to_vec(), b"mine".to_vec())
    );
    for name in ["taken", "link"] {
        let ended = desk.pulls(&["17-1", "--to", name, "--force"]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let mode = fs::symlink_metadata(path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        assert!(desk.read(name).starts_with(b"{\n"));
    }
    // The link was replaced, not what it leads to.
    assert_eq!(desk.read("aim"), b"mine");
    assert!(!path("nowhere").exists());
    fs::create_dir(path("folder")).unwrap();
    for (words, error, hint) in [
        (
            &["--to", "folder", "--force"][..],
            "folder is no file that can be replaced",
            "for a pipe or a device say --to -, and send stdout there",
        ),
        (
            &["--to", "no/such/file"],
            "making a file beside no/such/file: No such file or directory (os error 2)",
            "its folder has to be there, and to be writable",
        ),
    ] {
        let ended = desk.pulls(&[&["17-1"], words].concat()).await;
        assert_fails(&ended, 1, error, hint);
    }
    // Nothing of what failed is left.
    assert_eq!(desk.files(), ["aim", "folder", "link", "loose", "taken"]);
}

#[tokio::test]
async fn what_is_not_there_or_has_nothing_left_is_no_file() {
    let desk = Desk::start().await;
    let said = [("redrive-reason", "trimmed")];
    desk.rig.dies("orders:dlq", "18-0", &[], &said).await;
    let before = desk.rig.everything().await;
    for (words, error) in [
        (&["17-9"][..], "dead letter not found: 17-9 in orders:dlq"),
        (&["18-0"], "dead letter 18-0 has no fields"),
        (
            &["17-2", "--payload", "--field", "no"],
            "dead letter 17-2 has no field no",
        ),
    ] {
        let ended = desk.pulls(words).await;
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(
            ended.stderr.starts_with(&format!("error: {error}\n")),
            "{}",
            ended.stderr
        );
    }
    assert!(desk.files().is_empty());
    assert_eq!(desk.rig.everything().await, before);
}

/// As on a disk that is full: nothing is left, and what was there is as it was.
#[tokio::test]
async fn a_file_that_cannot_be_written_is_an_error_and_no_file() {
    let desk = Desk::start().await;
    fs::write(desk.folder.path().join("taken"), "mine").unwrap();
    for words in [&["--to", "new"][..], &["--to", "taken", "--force"]] {
        let mut limited = tokio::process::Command::new("sh");
        limited
            .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
            .arg(env!("CARGO_BIN_EXE_redrive"))
            .args(["dlq", "pull", "17-1", "orders"])
            .args(words)
            .env("REDRIVE_URL", desk.rig.url_for(&["dlq", "pull"]))
            .current_dir(desk.folder.path());
        let error = format!("writing {}: File too large (os error 27)", words[1]);
        let hint = "no file was left behind; is the disk full?";
        assert_fails(&ended(&mut limited).await, 1, &error, hint);
    }
    assert_eq!(desk.files(), ["taken"]);
    assert_eq!(desk.read("taken"), b"mine");
}

/// Where nothing more can be written there is no file afterwards; where nobody reads, no failure.
#[tokio::test]
async fn a_full_device_is_an_error() {
    let desk = Desk::start().await;
    if !Path::new("/dev/full").exists() {
        return;
    }
    let line = ["dlq", "pull", "17-1", "orders", "--to", "-"];
    let mut command = desk.rig.command(&line);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let child = command
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: writing to stdout: "), "{said}");
}
