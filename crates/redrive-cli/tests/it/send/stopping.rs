//! `redrive send` that comes to no good end: signals, servers that fail, a stdout that is closed or full.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use redrive_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process};

use super::Room;
use crate::{Ended, command, ended, fed};

#[tokio::test]
async fn what_the_server_refuses_is_not_in_doubt() {
    let room = Room::new().await;
    let lines: String = (0..3_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let _: String = room.ask(&["SET", &room.stream, "no stream"]).await;
    for ended in [
        room.lines(&[], lines.clone()),
        ended(&mut room.send(&["-f", "a=1"])),
    ] {
        let ended = ended.failed(1).says("wrong type of key");
        assert!(!ended.stderr.contains("unknown"), "{}", ended.stderr);
    }
    let unreachable = fed(
        command(&["send", "s", "-", "--url", "redis://127.0.0.1:1"]).stdin(Stdio::piped()),
        lines.into_bytes(),
    );
    unreachable.failed(1).says("unreachable");
}

/// Writes a line and reads the id that is told for it.
fn one_more(child: &mut Child, stdout: &mut impl BufRead, line: &str) -> String {
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(line.as_bytes()).unwrap();
    let mut id = String::new();
    stdout.read_line(&mut id).unwrap();
    assert!(!id.is_empty(), "no id for {line}");
    id
}

fn ended_now(mut child: Child) -> Ended {
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    Ended {
        code: child.wait().unwrap().code(),
        stdout: String::new(),
        stderr,
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn a_line_is_sent_while_the_next_is_waited_for_and_a_signal_stops_in_between() {
    for kind in [Signal::INT, Signal::TERM] {
        let room = Room::new().await;
        let mut child = room.open();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        // The beginning of the next line does not hold this one back.
        one_more(&mut child, &mut stdout, "{\"n\":1}\n{\"n\":");
        one_more(&mut child, &mut stdout, "2}\n");
        one_more(&mut child, &mut stdout, "{\"n\":3}\n{\"n\":");
        signal(&child, kind);
        let ended = ended_now(child).failed(4);
        let ended = ended.says("error: interrupted; 3 messages were added\n");
        ended.says("`tail -n +4 FILE | redrive send ");
        assert_eq!(room.length().await, 3);
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (kind, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let room = Room::new().await;
        let mut child = room.open();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        one_more(&mut child, &mut stdout, "{\"n\":1}\n");
        let _: String = room.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
        let stdin = child.stdin.as_mut().unwrap();
        stdin.write_all(b"{\"n\":2}\n").unwrap();
        let waiting = eventually(Duration::from_secs(5), "a message on its way", async || {
            let clients: String = room.ask(&["INFO", "clients"]).await;
            clients.contains("blocked_clients:1")
        });
        waiting.await;
        // The first is waited out: the answer to the second message does not come.
        let status = eventually(Duration::from_secs(5), "the end", async || {
            signal(&child, kind);
            child.try_wait().unwrap()
        });
        assert_eq!(status.await.code(), Some(code));
    }
}

#[tokio::test]
async fn a_broken_connection_leaves_in_doubt_what_was_on_its_way_and_nothing_else() {
    let room = Room::new().await;
    let mut child = room.open();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    one_more(&mut child, &mut stdout, "{\"n\":1}\n");
    one_more(&mut child, &mut stdout, "\n{\"n\":2}\n");
    room.server.kill9().await;
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"{\"n\":3}\n")
        .unwrap();
    let ended = ended_now(child).failed(4);
    let ended = ended.says("; 2 messages were added; of line 4 it is unknown\n");
    ended.says("look whether line 4 is in the stream and send it if not; then go on with `tail -n +5 FILE | redrive send ");
}

#[tokio::test]
async fn what_a_full_server_refuses_is_told_and_nothing_is_sent_twice() {
    let room = Room::new().await;
    let mut child = room.open();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    one_more(&mut child, &mut stdout, "{\"n\":1}\n");
    let _: String = room.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"{\"n\":2}\n")
        .unwrap();
    let ended = ended_now(child).failed(4).says("; 1 message was added\n");
    ended.says("`tail -n +2 FILE | redrive send ");
    assert_eq!(room.length().await, 1);
}

#[tokio::test]
async fn with_nobody_reading_the_ids_it_goes_on() {
    let room = Room::new().await;
    let mut child = room.open();
    drop(child.stdout.take());
    let lines: String = (0..5_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    let ended = ended_now(child).succeeded();
    assert_eq!(ended.stderr, "");
    assert_eq!(room.length().await, 5_000);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn with_a_full_disk_it_stops_and_says_how_many_were_sent() {
    let room = Room::new().await;
    for args in [&["-"][..], &["-", "-o", "json"], &["-f", "a=1"]] {
        let before = room.length().await;
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut child = room.send(args);
        let mut child = child
            .stdin(Stdio::piped())
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Stopped early, it does not read the rest.
        let lines: String = (0..5_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
        let ended = ended_now(child)
            .failed(4)
            .says("error: writing to stdout: ");
        let sent = room.length().await - before;
        assert_eq!(sent, 1, "the first goes alone");
        ended.says("message was added");
    }
}
