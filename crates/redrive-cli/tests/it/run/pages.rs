//! The handlers of `docs/handlers.md`, as they stand there.

use std::path::Path;
use std::process::Stdio;

use redrive_testkit::eventually;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::{Rig, SOON, Unseen, totals};

/// The only program of the page in this language whose text has this in it, as an executable file.
fn program(rig: &Rig, language: &str, with: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/handlers.md");
    let page = std::fs::read_to_string(page).unwrap();
    let fence = format!("```{language}\n");
    let found: Vec<&str> = page
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .filter(|text| text.contains(with))
        .collect();
    assert_eq!(found.len(), 1, "programs in {language} with {with}");
    let path = rig.path("handler");
    super::write_program(&path, found[0]);
    path.to_str().unwrap().to_owned()
}

async fn add_orders(rig: &mut Rig) {
    for (name, value) in [("cents", "1250"), ("cents", "500000"), ("note", "x")] {
        rig.add_fields(&[(b"order", b"17"), (name.as_bytes(), value.as_bytes())])
            .await;
    }
}

#[tokio::test]
async fn the_shell_handler_of_the_page_works() {
    let mut rig = Rig::start().await;
    add_orders(&mut rig).await;
    rig.add(1).await;
    let handler = program(&rig, "sh", "orders.txt");
    // It writes where it is started.
    let place = rig.folder.path().to_str().unwrap().to_owned();
    let line = [
        "--concurrency",
        "1",
        "--",
        "sh",
        "-c",
        "cd \"$1\" && exec \"$2\"",
        "-",
        &place,
        &handler,
    ];
    let ended = rig.drain(&line).await;
    assert_eq!(totals(&ended), [3, 1, 0, 0, 0, 1, 0], "{}", ended.stderr);
    assert_eq!(rig.only_dead().await("redrive-error"), "no order in it");
    let orders = std::fs::read_to_string(rig.path("orders.txt")).unwrap();
    assert_eq!(orders.lines().count(), 3, "{orders}");
    assert!(
        orders.contains(r#" {"order":"17","cents":"1250"}"#),
        "{orders}"
    );
    // Read again from the start by a group that begins again: nothing is done twice.
    let stream = rig.stream.clone();
    let _: Unseen = rig.ask(&["XGROUP", "SETID", &stream, "g", "0"]).await;
    let ended = rig.drain(&line).await;
    assert_eq!(totals(&ended)[0], 3, "{}", ended.stderr);
    assert_eq!(
        std::fs::read_to_string(rig.path("orders.txt")).unwrap(),
        orders
    );
}

#[tokio::test]
async fn the_python_handler_of_the_page_works() {
    let mut rig = Rig::start().await;
    add_orders(&mut rig).await;
    let handler = program(&rig, "python", "Bills an order");
    let ended = rig.drain(&["--", &handler]).await;
    assert_eq!(totals(&ended), [2, 2, 1, 0, 0, 1, 0], "{}", ended.stderr);
    assert_eq!(
        rig.only_dead().await("redrive-error"),
        "not an order: KeyError('cents')"
    );
    for told in [
        "billed 1250 cents",
        "billed 500000 cents",
        "TimeoutError: the bank did not answer",
    ] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn the_server_of_the_page_works() {
    let mut rig = Rig::start().await;
    add_orders(&mut rig).await;
    let server = program(&rig, "python", "HTTPServer");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut serving = Command::new(&server)
        .arg(port.to_string())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually(SOON, "a server", async || {
        TcpStream::connect(("127.0.0.1", port)).await
    })
    .await;
    let url = format!("http://127.0.0.1:{port}/orders");
    let ended = rig.drain(&["--http", &url]).await;
    assert_eq!(totals(&ended), [2, 2, 1, 0, 0, 1, 0], "{}", ended.stderr);
    let error = rig.only_dead().await("redrive-error");
    assert_eq!(
        error,
        "status 422 Unprocessable Entity: not an order: no cents"
    );
    serving.kill().await.unwrap();
}
