//! Dead letters into files: whole or not at all, nobody's file overwritten, nothing that steers a terminal.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use redrive_testkit::{Fault, Moment, Proxy, Target, eventually};
use rustix::process::Signal;
use serde_json::Value;

use super::rig::{ENVELOPE, Entries, FLAT, Rig, Running, SOON, assert_fails, ended};

/// What a queue holds, without the ids.
pub(super) fn stored(entries: Entries) -> Vec<Vec<Vec<u8>>> {
    entries.into_iter().map(|(_, fields)| fields).collect()
}

pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_export_comes_back_on_another_server_whatever_it_is_packed_in() {
    let folder = tempfile::tempdir().unwrap();
    let there = Rig::start().await;
    for (dump, queue) in [(FLAT, "agent_events:dlq"), (ENVELOPE, "sg:stream:dlq")] {
        let here = Rig::loaded(dump).await;
        let all = stored(here.entries(queue).await);
        for ending in ["jsonl", "jsonl.gz", "jsonl.zst"] {
            let file = folder.path().join(format!("{queue}.{ending}"));
            let file = file.to_str().unwrap();
            let before = here.everything().await;
            let made = here
                .json(&["dlq", "export", "--dlq", queue, "--to", file])
                .await;
            assert_eq!(here.everything().await, before);
            assert_eq!(made["dead_letters"], all.len());
            let size = fs::metadata(file).unwrap();
            assert_eq!(made["bytes"], size.len());
            assert_eq!(size.permissions().mode() & 0o7777, 0o600);
            let into = format!("{queue}.{ending}");
            let report = there
                .json(&["dlq", "import", file, "--dlq", &into, "--yes"])
                .await;
            assert_eq!(report["imported"], all.len(), "{report}");
            assert_eq!(stored(there.entries(&into).await), all, "{file}");
        }
    }
}

/// What this packs, the usual programs unpack; and what those pack is read.
#[tokio::test]
async fn packed_files_are_those_of_gzip_and_zstd() {
    let rig = Rig::start().await;
    rig.reject(300).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let plain = path("plain.jsonl");
    rig.json(&["dlq", "export", "orders", "--to", &plain]).await;
    let text = fs::read(&plain).unwrap();
    for (ending, program) in [("gz", "gzip"), ("zst", "zstd")] {
        if std::process::Command::new(program)
            .arg("--version")
            .output()
            .is_err()
        {
            continue;
        }
        let file = path(&format!("packed.{ending}"));
        rig.json(&["dlq", "export", "orders", "--to", &file]).await;
        assert!(fs::metadata(&file).unwrap().len() < text.len() as u64 / 3);
        let mut unpack = tokio::process::Command::new(program);
        let unpacked = unpack.args(["-dc", &file]).output().await.unwrap();
        assert!(unpacked.stdout == text, "{program}");
        let mut pack = tokio::process::Command::new(program);
        let packed = pack.args(["-c", &plain]).output().await.unwrap();
        // By what it is, not by its name.
        fs::write(path("theirs"), packed.stdout).unwrap();
        let line = ["dlq", "import", &path("theirs"), "--dry-run"];
        assert_eq!(rig.json(&line).await["dead_letters"], 300);
    }
}

#[tokio::test]
async fn a_selection_is_exported_the_oldest_first_and_ends_as_its_ids_are_there() {
    let rig = Rig::start().await;
    for (id, reason) in [
        ("1-0", "rejected"),
        ("2-0", "undecodable"),
        ("3-0", "rejected"),
    ] {
        rig.dies(
            "orders:dlq",
            id,
            &[b"n", b"1"],
            &[("redrive-reason", reason)],
        )
        .await;
    }
    let ids = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter_map(|line| Some(line["id"].as_str()?.to_owned()))
            .collect()
    };
    for (flags, expected, code) in [
        (&[][..], &["1-0", "2-0", "3-0"][..], 0),
        (&["--reason", "rejected"], &["1-0", "3-0"], 0),
        (&["--newest", "--limit", "1"], &["3-0"], 0),
        (&["--to", "-", "--id", "2-0"], &["2-0"], 0),
        (&["--id", "2-0", "--id", "9-0"], &["2-0"], 4),
        (&["--id", "9-0"], &[], 3),
        (&["--reason", "trimmed"], &[], 3),
    ] {
        let told = rig
            .redrive(&[&["dlq", "export", "orders"], flags].concat())
            .await;
        assert_eq!(
            (told.code, ids(&told.stdout)),
            (
                Some(code),
                expected.iter().map(ToString::to_string).collect()
            ),
            "{flags:?}: {}",
            told.stderr
        );
        let footer = told.stdout.lines().last().unwrap_or_default();
        assert_eq!(
            footer.starts_with("{\"redrive_export\":1,"),
            !expected.is_empty()
        );
    }
}

#[tokio::test]
async fn what_is_there_stays_unless_it_is_to_be_replaced() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, link, nowhere) = (path("file"), path("link"), path("nowhere"));
    fs::write(&file, "precious").unwrap();
    symlink(&file, &link).unwrap();
    symlink(path("gone"), &nowhere).unwrap();
    for there in [&file, &link, &nowhere, &path("")] {
        let told = rig
            .redrive(&["dlq", "export", "orders", "--to", there])
            .await;
        let error = format!("{there} is there already");
        assert_fails(
            &told,
            1,
            &error,
            "name another file, or say --force to replace it",
        );
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert_eq!(names_in(folder.path()), ["file", "link", "nowhere"]);
    // An export of nothing replaces nothing.
    let told = rig
        .redrive(&["dlq", "export", "mails", "--to", &file, "--force"])
        .await;
    assert_eq!(told.code, Some(3));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    // The link is replaced, not what it leads to.
    rig.json(&["dlq", "export", "orders", "--to", &link, "--force"])
        .await;
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
    rig.json(&["dlq", "export", "orders", "--to", &file, "--force"])
        .await;
    assert!(fs::read(&file).unwrap().starts_with(b"{\"dlq\":"));
    assert_eq!(names_in(folder.path()), ["file", "link", "nowhere"]);
    for (there, error) in [
        (
            folder.path().to_str().unwrap(),
            "no file that can be replaced",
        ),
        ("/dev/null", "no file that can be replaced"),
        ("/proc/none/file", "making a file beside /proc/none/file: "),
        ("..", "names no file"),
    ] {
        let told = rig
            .redrive(&["dlq", "export", "orders", "--to", there, "--force"])
            .await;
        assert!(matches!(told.code, Some(1 | 2)), "{there}");
        assert!(told.stderr.contains(error), "{there}: {}", told.stderr);
        assert!(told.stderr.contains("\nhint: "), "{there}: {}", told.stderr);
    }
}

#[tokio::test]
async fn a_stdout_that_is_full_or_closed_is_no_success() {
    let rig = Rig::start().await;
    rig.reject(2_000).await;
    let mut command = rig.command(&["dlq", "export", "orders"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let told = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left"), "{said}");
    assert!(
        said.contains("hint: what was written lacks its last line"),
        "{said}"
    );
    let line = "\"$0\" dlq export orders | head -c 10; exit ${PIPESTATUS[0]}";
    let mut shell = tokio::process::Command::new("bash");
    shell.args(["-c", line, env!("CARGO_BIN_EXE_redrive")]);
    shell.env("REDRIVE_URL", rig.url_for(&["dlq", "export"]));
    let told = ended(&mut shell).await;
    assert_eq!(told.code, Some(1), "{}", told.stderr);
    assert!(
        told.stderr.contains("nobody reads it any more"),
        "{}",
        told.stderr
    );
}

/// Asked to end in the middle of it, or with its server gone: what was there stays, nothing half is left.
#[tokio::test]
async fn an_export_that_ends_early_leaves_no_file() {
    for (signals, code) in [(1, 130), (2, 130), (0, 1)] {
        let rig = Rig::start().await;
        let add = "for n = 1, 2000 do redis.call('XADD', KEYS[1], '*', 'n', n) end";
        let _: Option<u64> = rig.ask(&["EVAL", add, "1", "orders:dlq"]).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        let proxy = Proxy::in_front_of(&rig.server);
        let held = proxy.arm(Target::nth("EVALSHA page", 3), Moment::Arrived, Fault::Hold);
        let line = [
            "dlq",
            "export",
            "orders",
            "--force",
            "--to",
            file.to_str().unwrap(),
            "--url",
            &rig.through(&proxy, &["dlq", "export"]),
        ];
        let mut running = Running::start(rig.command(&line));
        eventually(SOON, "it is in the middle of it", async || {
            held.has_struck()
        })
        .await;
        assert_eq!(names_in(folder.path()).len(), 2);
        if signals > 0 {
            running.signal(Signal::INT);
            running.says("ending after this step").await;
        } else {
            rig.server.kill9().await;
            held.cut();
        }
        if signals == 2 {
            running.insist(Signal::INT).await;
        } else if signals == 1 {
            held.go_on();
        }
        let told = running.ended().await;
        assert_eq!(told.code, Some(code), "{}", told.stderr);
        assert_eq!(names_in(folder.path()), ["file"]);
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}
