//! On a terminal: a question before what cannot be taken back, tables that fit, and nothing that steers it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrive_testkit::{Armed, Fault, Moment, Proxy, Target, eventually};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::Child;

use super::rig::{Rig, SOON};

/// A `redrive` on a pseudo-terminal of 80 columns, with a person before it.
struct Seat {
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

/// What of it is the terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Screen {
    /// Stdout goes to a file.
    Stderr,
    Both,
}

impl Seat {
    fn take(rig: &Rig, args: &[&str], on_screen: Screen) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&ours, size).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap());
        let theirs = OwnedFd::from(theirs.unwrap());
        let mut command = rig.command(args);
        command.env("TERM", "xterm");
        command
            .stdin(theirs.try_clone().unwrap())
            .stderr(theirs.try_clone().unwrap());
        command.stdout(match on_screen {
            Screen::Both => Stdio::from(theirs),
            Screen::Stderr => Stdio::null(),
        });
        let child = command.spawn().unwrap();
        // What is left of their end must go, or the last word never comes.
        drop(command);
        let keyboard = File::from(ours);
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let (mut from, seen) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut chunk = [0; 4_096];
            // A terminal that nobody is on any more is an error.
            while let Ok(read @ 1..) = from.read(&mut chunk) {
                seen.lock().unwrap().extend_from_slice(&chunk[..read]);
            }
        });
        Self {
            keyboard,
            screen,
            child,
        }
    }

    fn seen(&self) -> String {
        let seen = self.screen.lock().unwrap().clone();
        String::from_utf8(seen).unwrap().replace("\r\n", "\n")
    }

    async fn sees(&self, text: &str) -> String {
        eventually(SOON, text, async || match self.seen() {
            seen if seen.contains(text) => Ok(seen),
            seen => Err(seen),
        })
        .await
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    async fn ends(mut self) -> Option<i32> {
        let status = tokio::time::timeout(SOON, self.child.wait()).await;
        status.unwrap().unwrap().code()
    }
}

#[tokio::test]
async fn a_person_is_asked_with_a_count_and_the_first_five() {
    let rig = Rig::start().await;
    for n in 1..=7 {
        let said = [("redrive-error", "gone\x1b[2J\nand more")];
        rig.dies("orders:dlq", &format!("{n}-0"), &[b"n", b"1"], &said)
            .await;
    }
    let mut seat = Seat::take(&rig, &["dlq", "replay", "orders", "--all"], Screen::Stderr);
    let asked = seat.sees("go on? [y/N] ").await;
    insta::assert_snapshot!("question", asked);
    seat.types("y\n");
    assert_eq!(seat.ends().await, Some(0));
    assert_eq!(
        (rig.length("orders").await, rig.length("orders:dlq").await),
        (7, 0)
    );
}

/// The bug: signals were listened to before the question was asked, and nobody looked: Ctrl-C there did nothing.
#[tokio::test]
async fn ctrl_c_at_the_question_ends_it_and_nothing_is_done() {
    let rig = Rig::start().await;
    rig.reject(3).await;
    let before = rig.everything().await;
    for verb in ["replay", "purge"] {
        let seat = Seat::take(&rig, &["dlq", verb, "orders", "--all"], Screen::Stderr);
        seat.sees("go on? [y/N] ").await;
        let id = i32::try_from(seat.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
        assert_eq!(seat.ends().await, Some(130), "{verb}");
    }
    assert_eq!(rig.everything().await, before);
}

#[tokio::test]
async fn whatever_is_no_yes_is_a_no_and_touches_nothing() {
    let rig = Rig::start().await;
    rig.reject(2).await;
    let before = rig.everything().await;
    for answer in ["n\n", "\n", "yes please\n", "\u{4}"] {
        for verb in ["replay", "purge"] {
            let line = [
                "dlq", verb, "orders", "--reason", "rejected", "--limit", "1",
            ];
            let mut seat = Seat::take(&rig, &line, Screen::Stderr);
            let asked = seat.sees("go on? [y/N] ").await;
            assert!(
                asked.starts_with(&format!("this would {verb} 1 dead letter of orders:dlq:\n")),
                "{asked}"
            );
            seat.types(answer);
            seat.sees("error: nothing was done: not confirmed").await;
            assert_eq!(seat.ends().await, Some(1), "{answer:?}");
        }
    }
    assert_eq!(rig.everything().await, before);
    let mut seat = Seat::take(&rig, &["dlq", "purge", "orders", "--all"], Screen::Stderr);
    seat.sees("go on? [y/N] ").await;
    seat.types("yes\n");
    assert_eq!(seat.ends().await, Some(0));
    assert_eq!(rig.length("orders:dlq").await, 0);
}

#[tokio::test]
async fn a_table_fits_the_terminal_and_a_watch_clears_it() {
    let rig = Rig::start().await;
    let long = "the card was declined ".repeat(20);
    for n in 1..=3 {
        rig.dies(
            "orders:dlq",
            &format!("{n}-0"),
            &[b"n", b"1"],
            &[("redrive-error", &long)],
        )
        .await;
    }
    let seat = Seat::take(&rig, &["dlq", "list", "orders"], Screen::Both);
    let seen = seat.sees("3 match").await;
    let rows: Vec<&str> = seen.lines().collect();
    assert_eq!(rows.len(), 5, "{seen}");
    assert!(rows.iter().all(|row| row.chars().count() <= 80), "{seen}");
    assert!(rows[1].ends_with('…'), "{seen}");
    assert_eq!(seat.ends().await, Some(0));

    let _: String = rig.ask(&["XADD", "orders", "1-0", "n", "1"]).await;
    let mut seat = Seat::take(&rig, &["stats", "--watch", "--every", "20ms"], Screen::Both);
    seat.sees("\x1b[H\x1b[2J").await;
    let _: String = rig.ask(&["XADD", "refunds", "1-0", "n", "1"]).await;
    seat.sees("refunds").await;
    seat.child.start_kill().unwrap();
    let _ = seat.ends().await;
}

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() {
    let rig = Rig::start().await;
    rig.dies("orders:dlq", "1-0", &[b"n", b"1"], &[]).await;
    let bold = "\x1b[1m";
    let line = ["dlq", "show", "1-0", "orders"];
    let seat = Seat::take(&rig, &line, Screen::Both);
    assert!(seat.sees("fields").await.contains(bold));
    assert_eq!(seat.ends().await, Some(0));
    let seat = Seat::take(&rig, &[&line[..], &["--no-color"]].concat(), Screen::Both);
    assert!(!seat.sees("fields").await.contains(bold));
    assert_eq!(seat.ends().await, Some(0));
    assert!(!rig.redrive(&line).await.stdout.contains(bold));
}

/// A queue of 1,000, of which one in a hundred was rejected, behind a proxy that lets the second page of a search
/// take longer than a moment, and never lets the third one pass.
async fn slow_queue() -> (Rig, Proxy, Armed) {
    let rig = Rig::start().await;
    let fill = "for n = 1, 1000 do redis.call('XADD', KEYS[1], n .. '-0', 'n', n, 'redrive-v', 1, 'redrive-fields', 1, \
        'redrive-reason', n % 100 == 0 and 'rejected' or 'trimmed') end";
    let _: redis::Value = rig.ask(&["EVAL", fill, "1", "orders:dlq"]).await;
    let proxy = Proxy::in_front_of(&rig.server);
    let page = |nth| Target::nth("EVALSHA page", nth);
    // The first one is asked for by the text of the script.
    let moment = Fault::Delay(Duration::from_millis(1_200));
    let _ = proxy.arm(page(2), Moment::Arrived, moment);
    let held = proxy.arm(page(3), Moment::Arrived, Fault::Hold);
    (rig, proxy, held)
}

fn interrupt(seat: &Seat) {
    let id = i32::try_from(seat.child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
}

#[tokio::test]
async fn a_long_search_shows_how_far_it_is_and_ends_at_ctrl_c_with_what_it_found() {
    for format in ["table", "json", "jsonl"] {
        let (rig, proxy, held) = slow_queue().await;
        let line = [
            "--url",
            &rig.through(&proxy, &["dlq", "list"]),
            "dlq",
            "list",
            "orders",
            "--reason",
            "rejected",
            "--oldest",
            "-o",
            format,
        ];
        let seat = Seat::take(&rig, &line, Screen::Both);
        seat.sees("looking").await;
        held.struck().await;
        assert!(seat.seen().contains("/1,000"), "{}", seat.seen());
        interrupt(&seat);
        let told = "error: stopped: 2 match among the 200 of 1000 looked at\n\
            hint: what was found is listed; the same command begins anew\n";
        let seen = seat.sees(told).await;
        assert!(seen.contains("200-0") && !seen.contains("300-0"), "{seen}");
        assert!(format != "json" || seen.contains("\n]\n"), "{seen}");
        assert_eq!(seat.ends().await, Some(130), "{format}");
    }
}

#[tokio::test]
async fn counting_before_the_question_shows_how_far_it_is_and_ends_at_ctrl_c() {
    let (rig, proxy, held) = slow_queue().await;
    let before = rig.everything().await;
    let line = [
        "--url",
        &rig.through(&proxy, &["dlq", "purge"]),
        "dlq",
        "purge",
        "orders",
        "--reason",
        "rejected",
    ];
    let seat = Seat::take(&rig, &line, Screen::Stderr);
    seat.sees("counting").await;
    held.struck().await;
    interrupt(&seat);
    let seen = seat
        .sees("error: nothing was done: stopped before the answer\n")
        .await;
    assert!(!seen.contains("go on?"), "{seen}");
    assert_eq!(seat.ends().await, Some(130));
    assert_eq!(rig.everything().await, before);
}

#[tokio::test]
async fn a_bar_tells_how_many_a_second_are_put_back_and_what_is_left() {
    let rig = Rig::start().await;
    rig.reject(150).await;
    let line = [
        "dlq", "replay", "orders", "--all", "--yes", "--rate", "50/s",
    ];
    let seat = Seat::take(&rig, &line, Screen::Stderr);
    let seen = seat.sees("/s ").await;
    assert!(
        seen.contains("replaying ") && seen.contains("/150 "),
        "{seen}"
    );
    assert_eq!(seat.ends().await, Some(0));
}

#[tokio::test]
async fn bytes_go_to_a_terminal_only_where_they_do_nothing_to_it() {
    let rig = Rig::start().await;
    rig.dies("orders:dlq", "1-0", &[b"data", b"\xff\x1b[2Jpwned"], &[])
        .await;
    rig.dies(
        "orders:dlq",
        "2-0",
        &[b"data", "plain\t\u{e9}\nend".as_bytes()],
        &[],
    )
    .await;
    let show = ["dlq", "show", "1-0", "orders", "--raw"];
    let pull = "dlq pull 1-0 orders --payload --field data --to -";
    let pull: Vec<&str> = pull.split(' ').collect();
    for line in [&show[..], &pull] {
        let seat = Seat::take(&rig, line, Screen::Both);
        let seen = seat.sees("hint: ").await;
        assert_eq!(
            seen,
            "error: these bytes are no plain text, and stdout is a terminal\n\
             hint: send them to a file: put `> FILE` behind the command\n"
        );
        assert_eq!(seat.ends().await, Some(2));
    }
    let seat = Seat::take(
        &rig,
        &["dlq", "show", "2-0", "orders", "--raw"],
        Screen::Both,
    );
    seat.sees("end").await;
    assert!(seat.seen().contains("plain"));
    assert_eq!(seat.ends().await, Some(0));
}
