//! A process that holds a server until it is killed: what a test that is killed looks like.
#![expect(clippy::print_stdout, reason = "this is how it tells its parent")]

use redrive_testkit::Server;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = Server::start().await;
    println!("holding {} {}", server.pid(), server.directory().display());
    std::future::pending::<()>().await;
}
