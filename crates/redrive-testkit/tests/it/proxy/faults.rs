//! Each fault for one request, seen from the client and from the server.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use redrive_testkit::{Fault, Moment, Target, eventually};
use tokio::time::timeout;

use super::{Raw, clients, get, pair};
use crate::SOON;

#[tokio::test]
async fn closed_on_arrival_it_is_never_executed() {
    let (server, proxy) = pair().await;
    let mut client = Raw::to(&proxy);
    let fault = proxy.arm(Target::next("INCR"), Moment::Arrived, Fault::Close);
    assert!(!fault.has_struck());

    client.ask("PING", "+PONG\r\n");
    client.send("INCR n");
    client.expect_end();

    assert!(fault.has_struck());
    assert_eq!(get(&server, "n").await, None);
    Raw::to(&proxy).ask("INCR n", ":1\r\n");
}

#[tokio::test]
async fn closed_after_it_was_executed_its_reply_is_lost() {
    let (server, proxy) = pair().await;
    let mut client = Raw::to(&proxy);
    let fault = proxy.arm(Target::next("INCR"), Moment::Executed, Fault::Close);

    client.send("INCR n");
    client.expect_end();

    assert!(fault.has_struck());
    assert_eq!(get(&server, "n").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_fault_in_a_pipeline_is_for_one_command_alone() {
    for (moment, n) in [(Moment::Arrived, "1"), (Moment::Executed, "2")] {
        let (server, proxy) = pair().await;
        let mut client = Raw::to(&proxy);
        let _ = proxy.arm(Target::nth("INCR", 2), moment, Fault::Close);
        let incr = "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n";

        client.0.write_all(incr.repeat(5).as_bytes()).unwrap();
        client.expect(":1\r\n");
        client.expect_closed();

        assert_eq!(get(&server, "n").await.as_deref(), Some(n));
    }
}

#[tokio::test]
async fn a_reset_is_seen_as_one() {
    for moment in [Moment::Arrived, Moment::Executed] {
        let (server, proxy) = pair().await;
        let mut client = Raw::to(&proxy);
        let _ = proxy.arm(Target::next("INCR"), moment, Fault::Reset);

        client.send("INCR n");
        client.expect_reset();

        let executed = (moment == Moment::Executed).then(|| "1".to_owned());
        assert_eq!(get(&server, "n").await, executed);
    }
}

#[tokio::test]
async fn a_delayed_request_is_executed_late_and_a_delayed_reply_comes_late() {
    let (server, proxy) = pair().await;
    let delay = Duration::from_millis(300);
    for (moment, before, after) in [
        (Moment::Arrived, None, "1"),
        (Moment::Executed, Some("2"), "2"),
    ] {
        let mut client = Raw::to(&proxy);
        let fault = proxy.arm(Target::next("INCR"), moment, Fault::Delay(delay));
        let sent = Instant::now();
        client.send("INCR n");
        timeout(SOON, fault.struck()).await.unwrap();
        let seen = get(&server, "n").await;
        if sent.elapsed() < delay {
            assert_eq!(seen.as_deref(), before, "{moment:?}");
        }
        client.expect(&format!(":{after}\r\n"));
        assert!(sent.elapsed() >= delay);
        client.ask("PING", "+PONG\r\n");
    }
}

#[tokio::test]
async fn what_is_held_goes_on_or_is_cut_when_the_test_says() {
    let (server, proxy) = pair().await;
    for (moment, before) in [(Moment::Arrived, None), (Moment::Executed, Some("1"))] {
        let mut client = Raw::to(&proxy);
        let held = proxy.arm(Target::next("INCR"), moment, Fault::Hold);
        client.send("INCR n");
        timeout(SOON, held.struck()).await.unwrap();
        assert_eq!(get(&server, "n").await.as_deref(), before);
        client.expect_silence();
        held.go_on();
        client.expect(":1\r\n");
        client.ask("DEL n", ":1\r\n");

        let held = proxy.arm(Target::next("INCR"), moment, Fault::Hold);
        client.send("INCR n");
        timeout(SOON, held.struck()).await.unwrap();
        held.cut();
        client.expect_end();
        assert_eq!(get(&server, "n").await.as_deref(), before);
        Raw::to(&proxy).send("DEL n");
        eventually(SOON, "the key is gone", async || {
            get(&server, "n").await.is_none()
        })
        .await;
    }
}

#[tokio::test]
async fn dropping_what_holds_lets_go() {
    let (_server, proxy) = pair().await;
    let mut client = Raw::to(&proxy);
    let held = proxy.arm(Target::next("INCR"), Moment::Arrived, Fault::Hold);
    client.send("INCR n");
    timeout(SOON, held.struck()).await.unwrap();

    drop(held);

    client.expect(":1\r\n");
    drop(proxy.arm(Target::next("INCR"), Moment::Arrived, Fault::Hold));
    client.ask("INCR n", ":2\r\n");
}

#[tokio::test]
async fn a_black_hole_is_open_on_both_sides_and_silent() {
    let (server, proxy) = pair().await;
    let mut client = Raw::to(&proxy);
    client.ask("PING", "+PONG\r\n");
    let fault = proxy.arm(Target::next("INCR"), Moment::Executed, Fault::BlackHole);

    client.send("INCR n");
    client.expect_silence();
    client.send("INCR n");
    client.expect_silence();

    assert!(fault.has_struck());
    assert_eq!(get(&server, "n").await.as_deref(), Some("1"));
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(clients(&server).await, 1, "the server knows of nothing");
    Raw::to(&proxy).ask("PING", "+PONG\r\n");
    proxy.reset_all();
    client.expect_reset();
}

#[tokio::test]
async fn a_half_open_connection_is_closed_at_the_server_only() {
    let (server, proxy) = pair().await;
    let mut client = Raw::to(&proxy);
    client.ask("PING", "+PONG\r\n");
    assert_eq!(clients(&server).await, 1);
    let _ = proxy.arm(Target::next("INCR"), Moment::Arrived, Fault::HalfOpen);

    client.send("INCR n");
    eventually(SOON, "closed at the server", async || {
        clients(&server).await == 0
    })
    .await;
    client.expect_silence();
    assert_eq!(proxy.open_connections(), 1);

    drop(client);
    eventually(SOON, "noticed that the client left", async || {
        proxy.open_connections() == 0
    })
    .await;
    assert_eq!(get(&server, "n").await, None);
}

#[tokio::test]
async fn a_reply_can_be_cut_anywhere() {
    let (_server, proxy) = pair().await;
    let reply = "$10\r\n0123456789\r\n";
    Raw::to(&proxy).ask("SET a 0123456789", "+OK\r\n");
    for some in [0, 1, 4, 9, reply.len() - 1] {
        let mut client = Raw::to(&proxy);
        let _ = proxy.arm(
            Target::next("GET"),
            Moment::Executed,
            Fault::CloseInReply(some),
        );
        client.send("GET a");
        client.expect(&reply[..some]);
        client.expect_end();
    }
    let mut client = Raw::to(&proxy);
    let _ = proxy.arm(
        Target::next("GET"),
        Moment::Executed,
        Fault::CloseInReply(1000),
    );
    client.ask("GET a", reply);
    client.expect_end();
}

#[tokio::test]
async fn a_fault_can_wait_for_a_later_request_be_taken_back_or_be_for_all() {
    let (_server, proxy) = pair().await;
    let mut client = Raw::to(&proxy);
    let third = proxy.arm(Target::nth("INCR", 3), Moment::Executed, Fault::Close);
    let never = proxy.arm(Target::next("PING"), Moment::Arrived, Fault::Close);
    never.disarm();
    client.ask("PING", "+PONG\r\n");
    client.ask("INCR n", ":1\r\n");
    client.ask("INCR n", ":2\r\n");
    assert!(!third.has_struck());
    client.send("INCR n");
    client.expect_end();

    let _ = proxy.arm(Target::every("PING"), Moment::Arrived, Fault::Close);
    let _ = proxy.arm(Target::nth_of_all(2), Moment::Arrived, Fault::Close);
    for _ in 0..3 {
        let mut client = Raw::to(&proxy);
        client.send("PING");
        client.expect_end();
    }
}
