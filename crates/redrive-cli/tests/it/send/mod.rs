//! `redrive send` on a real server.

mod lost;
mod stopping;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Stdio};

use redrive_testkit::{Server, stream_name};

use super::{Ended, command, ended, fed};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A server, and a stream on it.
struct Room {
    server: Server,
    stream: String,
}

impl Room {
    async fn new() -> Self {
        Self {
            server: Server::start().await,
            stream: stream_name("send"),
        }
    }

    fn send(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = command(&["send", &self.stream]);
        command.args(args).env("REDRIVE_URL", self.server.url());
        command
    }

    /// Sends this from stdin.
    fn lines(&self, args: &[&str], lines: impl Into<Vec<u8>>) -> Ended {
        fed(self.send(&["-"]).args(args), lines.into())
    }

    /// `redrive send STREAM -`, with its stdin left open.
    fn open(&self) -> Child {
        let mut send = self.send(&["-"]);
        send.stdin(Stdio::piped());
        send.stdout(Stdio::piped()).stderr(Stdio::piped());
        send.spawn().unwrap()
    }

    async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut plain = self.server.connect().await;
        let (name, args) = words.split_first().unwrap();
        let mut command = redis::cmd(name);
        command.arg(args);
        command.query_async(&mut plain).await.unwrap()
    }

    async fn length(&self) -> usize {
        self.ask(&["XLEN", &self.stream]).await
    }

    /// The entries: ids and fields.
    async fn entries(&self) -> (Vec<String>, Vec<Fields>) {
        let words = ["XRANGE", &self.stream, "-", "+"];
        let entries: Vec<(String, Fields)> = self.ask(&words).await;
        entries.into_iter().unzip()
    }
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let bytes = |text: &str| text.as_bytes().to_vec();
    pairs.iter().map(|(n, v)| (bytes(n), bytes(v))).collect()
}

#[tokio::test]
async fn one_message_is_its_fields_an_object_or_one_field() {
    let room = Room::new().await;
    let sent = ended(&mut room.send(&["-f", "a=1", "-f", "b==x=", "-f", "a=", "-f", "é=字"]));
    let first = sent.succeeded().stdout;
    let bytes = OsString::from_vec(b"-f\xff=\xfe".to_vec());
    let second = ended(room.send(&[bytes]).args(["-o", "json"]))
        .succeeded()
        .stdout;
    let object = r#" {"z":"x y", "a": 1.50, "o":{"k" : [1, 2]}, "a":null} "#;
    let third = ended(&mut room.send(&["-o", "jsonl", "--json", object]))
        .succeeded()
        .stdout;
    let fourth = ended(&mut room.send(&["--field", "data", "--json", " [1, 2]"]))
        .succeeded()
        .stdout;
    let (ids, entries) = room.entries().await;
    assert_eq!(
        entries,
        [
            fields(&[("a", "1"), ("b", "=x="), ("a", ""), ("é", "字")]),
            vec![(vec![0xff], vec![0xfe])],
            fields(&[
                ("z", "x y"),
                ("a", "1.50"),
                ("o", r#"{"k":[1,2]}"#),
                ("a", "null")
            ]),
            fields(&[("data", " [1, 2]")]),
        ]
    );
    assert_eq!(first, format!("{}\n", ids[0]));
    assert_eq!(second, format!("[\n  \"{}\"\n]\n", ids[1]));
    assert_eq!(third, format!("\"{}\"\n", ids[2]));
    assert_eq!(fourth, format!("{}\n", ids[3]));
}

#[tokio::test]
async fn stdin_is_a_message_a_line_in_order() {
    let room = Room::new().await;
    let text = "\n{\"n\":1}\r\n \t\n{\"n\":2,\"m\":\"é\"}\n\r\n{\"n\":3}";
    let told = room.lines(&[], text).succeeded();
    let (ids, entries) = room.entries().await;
    let expected = [
        fields(&[("n", "1")]),
        fields(&[("n", "2"), ("m", "é")]),
        fields(&[("n", "3")]),
    ];
    assert_eq!(entries, expected);
    assert_eq!(told.stdout, ids.join("\n") + "\n");
    assert_eq!(told.stderr, "");

    let json = room
        .lines(&["-o", "json"], "{\"n\":4}\n{\"n\":5}\n")
        .succeeded();
    let told: Vec<String> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(told, room.entries().await.0[3..]);
    let jsonl = room
        .lines(&["-o", "jsonl"], "{\"n\":6}\n{\"n\":7}\n")
        .succeeded();
    assert_eq!(jsonl.stdout.lines().count(), 2);
    assert!(jsonl.stdout.starts_with('"'));

    room.lines(&["--field", "line"], b" not json \r\n{\n\xff\n".to_vec())
        .succeeded();
    let (_, entries) = room.entries().await;
    let line = |text: &[u8]| vec![(b"line".to_vec(), text.to_vec())];
    assert_eq!(
        entries[7..],
        [line(b" not json "), line(b"{"), line(b"\xff")]
    );

    assert_eq!(room.lines(&[], "").succeeded().stdout, "");
    assert_eq!(
        room.lines(&["-o", "json"], "\n\n").succeeded().stdout,
        "[]\n"
    );
    assert_eq!(room.length().await, 10);
}

#[tokio::test]
async fn many_are_sent_and_told_in_order() {
    let room = Room::new().await;
    let lines: String = (0..5_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let told = room.lines(&[], lines).succeeded();
    let (ids, entries) = room.entries().await;
    assert_eq!(told.stdout, ids.join("\n") + "\n");
    let expected: Vec<Fields> = (0..5_000)
        .map(|n: u32| fields(&[("n", &n.to_string())]))
        .collect();
    assert_eq!(entries, expected);
}

#[tokio::test]
async fn at_a_bad_line_it_stops_and_says_how_to_go_on() {
    let room = Room::new().await;
    for (line, told) in [
        ("[\"hunter2\"]", "not a JSON object"),
        ("{\"a\":hunter2}", "not JSON: expected value at column 6"),
        ("hunter2", "not JSON"),
        ("{}", "an entry without fields"),
        ("{\"redrive-x\":\"hunter2\"}", "redrive-x"),
        (
            "{\"a\":\"hunter2hunter2\"}",
            "an entry of 15 bytes, 10 are allowed",
        ),
    ] {
        let before = room.length().await;
        let good = "{\"n\":1}\n\n{\"n\":2}\n";
        let text = format!("{good}{line}\n{{\"n\":4}}\n");
        let ended = room.lines(&["--max-size", "10"], text).failed(4);
        assert_eq!(ended.stdout.lines().count(), 2, "the ids of what was sent");
        let ended = ended
            .says("error: line 4: ")
            .says(told)
            .says("; 2 messages were added\n");
        let go_on = format!("`tail -n +4 FILE | redrive send {} -`", room.stream);
        let ended = ended.says(&go_on);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
        assert_eq!(room.length().await, before + 2);

        let ended = room.lines(&["--max-size", "10", "-o", "json"], format!("\n{line}\n"));
        let ended = ended
            .failed(2)
            .says("error: line 2: ")
            .says("; nothing was added\n");
        assert_eq!(ended.stdout, "[]\n", "an array also where it ends early");
        assert_eq!(room.length().await, before + 2);
    }
    // The same for one message.
    for args in [
        &["--json", "[1]"][..],
        &["--json", "{'a':1}"],
        &["--json", "{'a':1}", "--field", "data"],
        &["--json", "{}"],
        &["-f", "redrive-x=1"],
        &["-f", "a=123", "--max-size", "3"],
    ] {
        let before = room.length().await;
        ended(&mut room.send(args)).failed(2);
        assert_eq!(room.length().await, before);
    }
}

#[tokio::test]
async fn a_message_is_as_large_as_it_may_be_and_no_larger() {
    let room = Room::new().await;
    let value = "x".repeat(8 * 1024 * 1024 - 1);
    // Written the longest way that there is.
    let escaped = "\\u0078".repeat(1024);
    let lines = format!("{{\"a\":\"{value}\"}}\n{{\"a\":\"y{value}\"}}\n");
    room.lines(&[], lines)
        .failed(4)
        .says("line 2: ")
        .says("1 message was added");
    room.lines(&["--max-size", "1025"], format!("{{\"a\":\"{escaped}\"}}"))
        .succeeded();
    room.lines(&["--max-size", "1024"], format!("{{\"a\":\"{escaped}\"}}"))
        .failed(2);
    room.lines(&["--max-size", "4", "--field", "f"], "abc\nabcd\n")
        .failed(4)
        .says("line 2: ");
    let (_, entries) = room.entries().await;
    let sizes: Vec<usize> = entries.iter().map(|entry| entry[0].1.len()).collect();
    assert_eq!(sizes, [value.len(), 1024, 3]);
    // One that never ends is not read whole.
    for args in [&["-"][..], &["-", "--field", "f"]] {
        let mut endless = room.send(args);
        endless
            .args(["--max-size", "1MiB"])
            .stdin(File::open("/dev/zero").unwrap());
        let output = endless.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("error: line 1: longer than "), "{stderr}");
    }
}

#[tokio::test]
async fn a_size_comes_from_the_file_unless_a_flag_says_otherwise() {
    let room = Room::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("redrive.toml");
    std::fs::write(&file, "[send]\nmax_size = \"3\"\nfield = \"data\"\n").unwrap();
    let send = |args: &[&str]| ended(room.send(args).arg("--config").arg(&file));
    send(&["-f", "a=123"])
        .failed(2)
        .says("4 bytes, 3 are allowed");
    send(&["-f", "a=123", "--max-size", "4"]).succeeded();
    // -f says its own fields, whatever the file says of --json and stdin.
    send(&["--json", "1", "--max-size", "1KiB"]).succeeded();
    assert_eq!(room.entries().await.1[1], fields(&[("data", "1")]));
}

#[test]
fn what_is_sent_is_said_once_and_in_one_way() {
    let refused = |args: &[&str]| ended(&mut command(args)).failed(2);
    refused(&["send", "s", "x"]).says("only -, for stdin");
    refused(&["send", "s", "-f", "novalue"]).says("a field is NAME=VALUE");
    refused(&["send", "s", "-f", "=v"]).says("a field needs a name");
    refused(&["send", "s", "--field", "", "-"]).says("a field needs a name");
    refused(&["send", "s", "-f", "a=1", "--field", "b"]).says("exclude each other");
    refused(&["send", "s", "-f", "a=1", "--json", "{}"]).says("exclude each other");
    refused(&["send", "s", "--json", "{}", "-"]).says("exclude each other");
    refused(&["send", "s", "-", "--max-size", "-1"]);
    refused(&["send", "s", "-", "--max-size", "8 MB"]).says("a size is written like");
    let help = ended(&mut command(&["send", "--help"])).succeeded();
    insta::assert_snapshot!("help-send", help.stdout);
}
