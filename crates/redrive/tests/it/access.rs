//! Getting in: TLS, users, passwords, databases, sockets; and being refused with a clear word and no secret.

use std::error::Error as _;
use std::fs;

use redrive::{Broker, ConnectOptions, Error, ErrorKind, Message};
use redrive_testkit::{Server, TlsFiles};

use crate::rig::{Rig, quick, stream};

/// Adds a message and handles it: everything that a worker needs works.
async fn works(broker: &Broker) {
    let source = redrive::Source::new("orders", "billing").unwrap();
    broker.producer(stream("orders")).send(&7).await.unwrap();
    let mut processor = quick(broker, source.clone())
        .build(async |_: Message<u32>| false)
        .unwrap();
    assert_eq!(processor.run_until_idle().await.unwrap().dead_lettered, 1);
    let stats = broker.stats(&source).await.unwrap();
    assert_eq!((stats.stream_length, stats.dlq_length), (Some(1), 1));
}

/// All that an error says, anywhere.
fn all_texts(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {:?}", error.cure());
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(" {cause} {cause:?}");
        next = cause.source();
    }
    text
}

fn certificates(files: &TlsFiles) -> ConnectOptions {
    let read = |path| fs::read(path).unwrap();
    ConnectOptions::default()
        .ca(read(files.ca()))
        .client_certificate(read(files.client_certificate()), read(files.client_key()))
}

#[tokio::test]
async fn an_encrypted_connection_with_own_authority_and_client_certificate_works() {
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles::generate(directory.path());
    let server = Server::builder()
        .tls(files.clone())
        .arg("--tls-auth-clients", "yes")
        .start()
        .await;
    let url = server.tls_url();
    let broker = Broker::connect_with(&url, &certificates(&files))
        .await
        .unwrap();
    works(&broker).await;

    let no_certificate = ConnectOptions::default().ca(fs::read(files.ca()).unwrap());
    let refused = Broker::connect_with(&url, &no_certificate)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused:?}");
    assert!(refused.cure().unwrap().contains("client certificate"));
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused_with_a_hint() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::builder()
        .tls(TlsFiles::generate(theirs.path()))
        .start()
        .await;
    let ours = certificates(&TlsFiles::generate(ours.path()));
    for options in [ours, ConnectOptions::default()] {
        let refused = Broker::connect_with(&server.tls_url(), &options).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied, "{refused:?}");
        assert!(refused.cure().unwrap().contains("check the CA"));
    }
}

#[tokio::test]
async fn user_password_and_database_come_from_the_url() {
    let server = Server::builder()
        .requirepass("other")
        .acl("worker on >s3cr:t/ ~* &* +@all")
        .start()
        .await;
    let url = format!("redis://worker:s3cr%3At%2F@127.0.0.1:{}/3", server.port());
    works(&Broker::connect(&url).await.unwrap()).await;
    let mut looking = server.connect().await;
    let lengths: (u64, (), u64) = redis::pipe()
        .cmd("XLEN")
        .arg("orders")
        .cmd("SELECT")
        .arg(3)
        .cmd("XLEN")
        .arg("orders")
        .query_async(&mut looking)
        .await
        .unwrap();
    assert_eq!((lengths.0, lengths.2), (0, 1));
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_denied_and_in_no_text() {
    let server = Server::builder()
        .requirepass("right-secret")
        .acl("worker on >right-secret ~* &* +@all")
        .start()
        .await;
    let port = server.port();
    for user in [
        ":wrong-secret@",
        "worker:wrong-secret@",
        "nobody:wrong-secret@",
        "",
    ] {
        let url = format!("redis://{user}127.0.0.1:{port}");
        let refused = Broker::connect(&url).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied, "{user} {refused:?}");
        assert!(refused.cure().unwrap().contains("password"), "{refused:?}");
        let said = all_texts(&refused);
        assert!(!said.contains("secret"), "{said}");
    }
    let broker = Broker::connect(&server.url()).await.unwrap();
    server.kill9().await;
    let stats = broker.stats(&redrive::Source::new("a", "b").unwrap()).await;
    let said = format!("{broker:?} {}", all_texts(&stats.unwrap_err()));
    assert!(!said.contains("secret"), "{said}");
}

#[tokio::test]
async fn a_user_who_may_not_do_this_ends_a_processor_with_a_cure() {
    let server = Server::builder()
        .acl("viewer on >look ~* &* +@read +@connection +info")
        .start()
        .await;
    let url = format!("redis://viewer:look@127.0.0.1:{}", server.port());
    let broker = Broker::connect(&url).await.unwrap();
    let source = redrive::Source::new("orders", "billing").unwrap();
    let mut processor = quick(&broker, source)
        .build(async |_: Message<u32>| {})
        .unwrap();
    let refused = processor.run_until_idle().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert!(refused.cure().unwrap().contains("ACL"));
}

#[tokio::test]
async fn a_unix_socket_works_with_password_and_database() {
    let rig = Rig::on(Server::builder().requirepass("p&s").start().await).await;
    let url = format!("{}&db=2", rig.server.unix_url());
    works(&Broker::connect(&url).await.unwrap()).await;
    assert_eq!(rig.ask::<u64>("XLEN orders").await, 0);
    let plain = Server::start().await;
    works(&Broker::connect(&plain.unix_url()).await.unwrap()).await;
}

#[tokio::test]
async fn a_url_that_can_never_work_is_invalid_and_one_that_nobody_answers_is_unreachable() {
    let kind = async |url: &str| {
        let error = Broker::connect(url).await.unwrap_err();
        assert!(!all_texts(&error).contains("secret"), "{error:?}");
        assert!(error.cure().is_some(), "{error:?}");
        error.kind()
    };
    for url in [
        "amqp://u:secret@localhost",
        "http://localhost",
        "localhost:6379",
        "redis://u:secret@",
        "redis://u:secret@localhost/notanumber",
        "redis://u:secret@localhost:99999",
    ] {
        assert_eq!(kind(url).await, ErrorKind::Invalid, "{url}");
    }
    let plain = "redis://127.0.0.1:1";
    assert_eq!(kind(plain).await, ErrorKind::Unreachable);
    assert_eq!(
        kind("unix:///tmp/no/such.sock").await,
        ErrorKind::Unreachable
    );
    let ca = ConnectOptions::default().ca("no certificate");
    let useless = Broker::connect_with(plain, &ca).await.unwrap_err();
    assert_eq!(useless.kind(), ErrorKind::Invalid);
}

/// It said "reading the server's URL" whatever was wrong with it.
#[tokio::test]
async fn a_url_is_refused_by_the_part_that_is_wrong() {
    for (url, part) in [
        ("redis://u:secret@h:port", "the port"),
        ("redis://u:secret@h/db", "the number of the database"),
        ("redis://u:secret@h?db=1", "the parameters"),
        ("redis://u:sec/ret@h", "the port"),
        ("rediss://u:secret@h#x", "the part behind #"),
        ("unix:///x?db=x&pass=secret", "the number of the database"),
    ] {
        let error = Broker::connect(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        let said = all_texts(&error);
        assert!(said.contains(part), "{url}: {said}");
        assert!(!said.contains("secret") && !said.contains("sec/"), "{said}");
    }
}

/// It said that something was not allowed, and to whom and what only the server's log knew.
#[tokio::test]
async fn a_denial_names_the_command_or_the_key_and_the_user() {
    let server = Server::builder()
        .acl("viewer on >look ~* &* +@read +@connection +info")
        .acl("adds on >look ~* &* +@all -xdel")
        .acl("reader on >look ~* &* +@all -xadd")
        .acl("narrow on >look ~*orders* &* +@all -xpending -scan")
        .start()
        .await;
    let connect = async |user: &str| {
        let url = format!("redis://{user}:look@127.0.0.1:{}", server.port());
        Broker::connect(&url).await.unwrap()
    };
    let orders = redrive::Source::new("orders", "billing").unwrap();
    let mails = redrive::Source::new("mails", "mailing").unwrap();
    let first = redrive::EntryId::MIN;
    let check = |error: Error, user: &str, words: &[&str]| {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        let cure = error.cure().unwrap();
        assert!(cure.contains(&format!("ACL GETUSER {user}")), "{cure}");
        let said = all_texts(&error).to_lowercase();
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(
            !said.contains("look@") && !said.contains('\u{1b}'),
            "{said}"
        );
    };
    let viewer = connect("viewer").await;
    let sent = viewer.producer(orders.stream.clone()).send(&1).await;
    check(sent.unwrap_err(), "viewer", &["'xadd'", "(orders)"]);
    let mut processor = quick(&viewer, orders.clone())
        .build(async |_: Message<u32>| {})
        .unwrap();
    let run = processor.run_until_idle().await.unwrap_err();
    check(run, "viewer", &["eval"]);
    let queue = viewer.dead_letters(orders.stream.clone());
    let all = redrive::Selection::all();
    assert_eq!(queue.count(&all).await.unwrap(), 0);

    // In a script the server says it in other words.
    let reader = connect("reader").await;
    let mut looking = server.connect().await;
    for key in ["orders", "orders:dlq"] {
        let mut add = redis::cmd("XADD");
        add.arg(key).arg("1-0").arg(&["n", "1"]);
        let _: String = add.query_async(&mut looking).await.unwrap();
    }
    let queue = reader.dead_letters(orders.stream.default_dead_letters());
    let back = redrive::ReplayOptions::default().target(orders.stream.clone());
    let id = redrive::EntryId::new(1, 0);
    let replay = queue.replay(id, &back).await.unwrap_err();
    // What cannot be recorded is not begun.
    check(replay, "reader", &["'xadd'", "the audit (orders:dlq)"]);
    let adds = connect("adds").await;
    let queue = adds.dead_letters(orders.stream.default_dead_letters());
    let purge = queue.purge(&all).await.unwrap_err();
    check(purge, "adds", &["'xdel'", "(orders:dlq)"]);

    let narrow = connect("narrow").await;
    let pending = narrow.pending(&orders, first, 10).await.unwrap_err();
    check(pending, "narrow", &["'xpending'", "(orders/billing)"]);
    let streams = narrow.streams().await.unwrap_err();
    check(streams, "narrow", &["'scan'"]);
    let groups = narrow.groups(&mails.stream).await.unwrap_err();
    check(groups, "narrow", &["key", "(mails)"]);
    let stats = narrow.stats(&mails).await.unwrap_err();
    check(stats, "narrow", &["key", "mails"]);
    let stats = narrow.stats(&orders).await.unwrap_err();
    check(stats, "narrow", &["'xpending'", "orders"]);
}

/// The client library's transaction panicked where `MULTI` was refused, which users who monitor
/// are not given; and who lacked `EXEC` was told that the answer was not understood.
#[tokio::test]
async fn stats_need_no_transactions_and_a_refused_one_is_named() {
    let server = Server::builder()
        .acl("bare on >look ~* &* +@all -multi")
        .acl("monitor on >look ~* &* +@read +ping")
        .acl("half on >look ~* &* +@all -exec")
        .acl("blind on >look ~* &* +@all -multi -xpending")
        .start()
        .await;
    let connect = async |user: &str| {
        let url = format!("redis://{user}:look@127.0.0.1:{}", server.port());
        Broker::connect(&url).await.unwrap()
    };
    let orders = redrive::Source::new("orders", "billing").unwrap();
    let all = Broker::connect(&server.url()).await.unwrap();
    works(&all).await;
    let told = all.stats(&orders).await.unwrap();
    for user in ["bare", "monitor"] {
        let broker = connect(user).await;
        assert_eq!(broker.stats(&orders).await.unwrap(), told, "{user}");
        let whole = broker.stream_stats(&orders.stream).await.unwrap();
        assert_eq!(whole, std::slice::from_ref(&told), "{user}");
        let missing = redrive::Source::new("nothing", "billing").unwrap();
        let missing = broker.stats(&missing).await.unwrap();
        assert_eq!(missing.state, redrive::GroupState::Missing, "{user}");
    }
    for (user, command) in [("half", "'exec'"), ("blind", "'xpending'")] {
        let broker = connect(user).await;
        for _ in 0..2 {
            let refused = broker.stats(&orders).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Denied, "{refused:?}");
            assert!(all_texts(&refused).contains(command), "{refused:?}");
            let cure = refused.cure().unwrap();
            assert!(cure.contains(&format!("ACL GETUSER {user}")), "{cure}");
        }
        // The connection is not left within a transaction.
        assert_eq!(broker.streams().await.unwrap().names.len(), 2, "{user}");
    }
}

#[tokio::test]
async fn a_large_replay_without_transactions_is_denied_and_changes_nothing() {
    let rig = Rig::on(
        Server::builder()
            .acl("bare on >look ~* &* +@all -multi")
            .acl("half on >look ~* &* +@all -exec")
            .acl("narrow on >look ~* &* +@all -xadd")
            .start()
            .await,
    )
    .await;
    let names: Vec<String> = (0..4_000).map(|n| format!("f{n}")).collect();
    let fields: Vec<&str> = names.iter().flat_map(|name| [name, "v"]).collect();
    let id: redrive::EntryId = rig.xadd("orders:dlq", &fields).await.parse().unwrap();
    let back = redrive::ReplayOptions::default().target(stream("orders"));
    for (user, command) in [
        ("bare", "'multi'"),
        ("half", "'exec'"),
        ("narrow", "'xadd'"),
    ] {
        let url = format!("redis://{user}:look@127.0.0.1:{}", rig.server.port());
        let broker = Broker::connect(&url).await.unwrap();
        let queue = broker.dead_letters(stream("orders:dlq"));
        let refused = queue.replay(id, &back).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied, "{refused:?}");
        assert!(all_texts(&refused).contains(command), "{refused:?}");
        assert!(refused.cure().unwrap().contains(user), "{refused:?}");
        if user == "bare" {
            let record = "{orders:dlq}:redrive:audit";
            assert_eq!(rig.keys().await, ["orders:dlq", record]);
        }
        assert_eq!(rig.ask::<u64>("EXISTS orders").await, 0, "{user}");
        assert_eq!(rig.ask::<u64>("XLEN orders:dlq").await, 1, "{user}");
    }
    let new = rig.dlq().replay(id, &back).await.unwrap();
    let entries = rig.entries("orders").await;
    assert_eq!((entries.len(), &entries[0].0), (1, &new.to_string()));
    assert_eq!(rig.ask::<u64>("XLEN orders:dlq").await, 0);
}
