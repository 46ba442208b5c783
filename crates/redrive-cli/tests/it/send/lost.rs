//! Replies that are lost: what is known is told, and what to do.

use redrive_testkit::{Fault, Moment, Proxy, Server, Target, stream_name};

use crate::redrive;

/// The sweep of every command found errors without a hint: those of a connection that broke under a command. Whoever
/// met one was not told whether to run it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_told_with_what_to_do() {
    let server = Server::start().await;
    let proxy = Proxy::in_front_of(&server);
    let stream = stream_name("orders");

    let _ = proxy.arm(Target::next("XADD"), Moment::Executed, Fault::Close);
    redrive(&["--url", proxy.url(), "send", &stream, "-f", "a=1"])
        .failed(1)
        .says("it is unknown whether the message was added")
        .says("look whether it is in the stream before you send it again");

    let _ = proxy.arm(Target::next("EXEC"), Moment::Arrived, Fault::Close);
    redrive(&["--url", proxy.url(), "stats", &stream])
        .failed(1)
        .says("give the command again");
}
