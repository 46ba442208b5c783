//! Bad input and bad servers: each with its error, hint and exit code; nothing lost, no secret shown.

use redrive_testkit::{Server, TlsFiles};

use super::{Ended, Rig, Running, totals};

#[track_caller]
fn refused(ended: &Ended, code: i32, told: &str) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    let error = ended
        .stderr
        .lines()
        .find(|line| line.starts_with("error: "));
    let error = error.unwrap_or_else(|| panic!("no error: {}", ended.stderr));
    assert!(error.contains(told), "{told:?} is not in {error:?}");
    assert!(ended.stderr.contains("\nhint: "), "{}", ended.stderr);
    for never in ["hunter2", "panicked"] {
        assert!(!ended.stderr.contains(never), "{}", ended.stderr);
        assert!(!ended.stdout.contains(never), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn mistakes_of_usage_end_with_2_before_anything_is_read() {
    let mut rig = Rig::start().await;
    rig.add(3).await;
    let plain = rig.path("plain");
    std::fs::write(&plain, "no program").unwrap();
    let plain = plain.to_str().unwrap();
    for (args, told) in [
        (
            &["--", "/no/such/handler"][..],
            "/no/such/handler was not found",
        ),
        (
            &["--", "no-such-handler-anywhere"],
            "no-such-handler-anywhere was not found",
        ),
        (&["--", plain], "not a program that can be executed"),
        (&["--", "/tmp"], "not a program that can be executed"),
        (&[], "no handler is given"),
        (&["--http", "http://h/", "--", "true"], "exclude each other"),
        (
            &["--http", "ftp://u:hunter2@h/"],
            "--http cannot be \"ftp://u:***@h/\"",
        ),
        (&["--http", "u:hunter2@h"], "--http cannot be"),
        (
            &["--timeout", "0s", "--", "true"],
            "it must be between 1ms and 365d; or none",
        ),
        (
            &["--timeout", "5", "--", "true"],
            "a duration is written like",
        ),
        (
            &["--lease", "5 s", "--", "true"],
            "a duration is written like",
        ),
        (
            &["--lease", "none", "--", "true"],
            "a duration is written like",
        ),
        (
            &["--lease", "1ms", "--", "true"],
            "it must be between 100ms and 365d",
        ),
        (
            &["--lease", "10m", "--", "true"],
            "--foreign-lease is 5m, shorter than --lease, 10m",
        ),
        (
            &["--block", "0s", "--", "true"],
            "it must be between 1ms and 365d",
        ),
        (
            &["--drain", "366d", "--", "true"],
            "it must be between 0s and 365d",
        ),
        (&["--backoff", "5m..1s", "--", "true"], "shrinks"),
        (
            &["--concurrency", "0", "--", "true"],
            "it must be between 1 and 1000000",
        ),
        (
            &["--batch", "1000001", "--", "true"],
            "it must be between 1 and 1000000",
        ),
        (&["--concurrency", "-1", "--", "true"], ""),
        (&["--max-attempts", "0", "--", "true"], "0 is not in 1.."),
        (&["--max-crashes", "1", "--", "true"], "1 is not in 2.."),
        (&["--max-batches", "0", "--", "true"], "0 is not in"),
        (
            &["--max-batches", "1", "--until-idle", "--", "true"],
            "exclude each other",
        ),
        (&["--start", "yesterday", "--", "true"], "entry id"),
        (&["--layout", "json", "--", "true"], "native"),
        (
            &["--dlq-limit", "0", "--", "true"],
            "a number from 1 on, bytes=SIZE, age=DURATION",
        ),
        (
            &["--dlq-limit", "9,size=1", "--", "true"],
            "a number from 1 on, bytes=SIZE, age=DURATION",
        ),
        (&["--dlq-overflow", "stop", "--", "true"], "there is none"),
        (
            &["--dlq-overflow", "spill", "--dlq-limit", "9", "--", "true"],
            "spill",
        ),
        (&["--consumer", "", "--", "true"], "consumer"),
        (
            &["--dlq", &rig.stream, "--", "true"],
            "dead_letters is the stream itself",
        ),
        (&["--breaker", "half", "--", "true"], "--breaker"),
        (&["--listen", "127.0.0.1:0", "--", "true"], "--listen"),
    ] {
        refused(&rig.run(args).ended().await, 2, told);
    }
    let stream = rig.stream.clone();
    let itself = rig.run(&["--dlq", &stream, "--", "true"]).ended().await;
    let hint = "hint: see `redrive run --help`";
    assert!(itself.stderr.contains(hint), "{}", itself.stderr);
    let groups: Vec<redis::Value> = rig.ask(&["XINFO", "GROUPS", &stream]).await;
    assert!(groups.is_empty(), "{groups:?}");
}

#[tokio::test]
async fn servers_that_are_not_there_or_refuse_end_with_1_and_bad_urls_with_2() {
    let server = Server::builder()
        .requirepass("right")
        .acl("worker on >secret ~* &* +@all")
        .acl("viewer on >secret ~* +@read +@connection")
        .start()
        .await;
    let port = server.port();
    let mut rig = Rig::on(server).await;
    rig.add(3).await;
    let on = |user: &str| format!("redis://{user}@127.0.0.1:{port}");
    for (url, code, told) in [
        (
            "redis://u:hunter2@127.0.0.1:1".to_owned(),
            1,
            "server unreachable",
        ),
        (on(":hunter2"), 1, "permission denied"),
        (on("worker:hunter2"), 1, "permission denied"),
        (format!("redis://127.0.0.1:{port}"), 1, "permission denied"),
        (on("viewer:secret"), 1, "permission denied"),
        (
            format!("rediss://:right@127.0.0.1:{port}"),
            1,
            "connecting to 127.0.0.1",
        ),
        ("http://u:hunter2@127.0.0.1".to_owned(), 2, "URL"),
        ("hunter2".to_owned(), 2, "URL"),
    ] {
        let ended = rig
            .run_with(&["--url", &url], &["-o", "json", "--", "true"])
            .ended()
            .await;
        refused(&ended, code, told);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    // From the environment too, and the right ones work.
    let (stream, worker) = (rig.stream.clone(), on("worker:secret"));
    let line = [
        "run",
        &stream,
        "-g",
        "g",
        "--until-idle",
        "-o",
        "json",
        "--",
        "true",
    ];
    let environment = [("REDRIVE_URL", &*worker)];
    let ended = Running::start_with(&line, &environment).ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended)[0], 3);
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
}

#[tokio::test]
async fn tls_is_verified() {
    let (folder, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = TlsFiles::generate(folder.path());
    let wrong = TlsFiles::generate(others.path());
    let server = Server::builder()
        .tls(files.clone())
        .arg("--tls-auth-clients", "yes")
        .requirepass("hunter2")
        .start()
        .await;
    let mut rig = Rig::on(server).await;
    rig.add(3).await;
    let url = rig.server.tls_url();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (ca, cert, key) = (
        text(files.ca()),
        text(files.client_certificate()),
        text(files.client_key()),
    );
    let (other_ca, missing) = (text(wrong.ca()), text(&folder.path().join("missing.pem")));
    let client = ["--tls-cert", &cert, "--tls-key", &key];
    let globals = |more: &[&'static str]| more.to_vec();
    assert!(globals(&[]).is_empty());
    let run = |trust: &[&str], shown: &[&str]| {
        let mut globals = vec!["--url", &url];
        globals.extend(trust);
        globals.extend(shown);
        rig.run_with(&globals, &["--until-idle", "-o", "json", "--", "true"])
    };
    refused(
        &run(&["--tls-ca", &other_ca], &client).ended().await,
        1,
        "certificate",
    );
    refused(&run(&[], &client).ended().await, 1, "certificate");
    refused(&run(&["--tls-ca", &ca], &[]).ended().await, 1, "");
    refused(
        &run(&["--tls-ca", &missing], &client).ended().await,
        2,
        "missing.pem",
    );
    refused(&run(&["--tls-ca", &key], &client).ended().await, 2, "");
    refused(
        &run(&["--tls-ca", &ca], &client[..2]).ended().await,
        2,
        "--tls-key",
    );
    let ended = run(&["--tls-ca", &ca], &client).ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended)[0], 3);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_key_that_is_no_stream_ends_with_1_and_what_was_done_is_told() {
    let mut rig = Rig::start().await;
    let stream = rig.stream.clone();
    let _: String = rig.ask(&["SET", &stream, "text"]).await;
    let ended = rig.drain(&["--", "true"]).await;
    refused(&ended, 1, "wrong type of key");
    let _: u64 = rig.ask(&["DEL", &stream]).await;

    // The dead-letter queue is none: what succeeded is acked and counted, the rest stays pending.
    rig.add(3).await;
    let dlq = format!("{stream}:dlq");
    let _: String = rig.ask(&["SET", &dlq, "text"]).await;
    let handler =
        rig.script(r#"read -r body; test "$body" != '{"n":"2"}' || { sleep 1; exit 65; }"#);
    let ended = rig.drain(&["--", &handler]).await;
    refused(&ended, 1, "wrong type of key");
    assert_eq!(totals(&ended)[0], 2, "{}", ended.stdout);
    assert_eq!(rig.pending().await, 1);
}

#[tokio::test]
async fn a_file_configures_it_and_the_command_line_wins() {
    let mut rig = Rig::start().await;
    rig.add(2).await;
    let (file, url, stream) = (
        rig.path("redrive.toml"),
        rig.server.url(),
        rig.stream.clone(),
    );
    let file = file.to_str().unwrap().to_owned();
    std::fs::write(
        &file,
        format!("url = \"{url}\"\noutput = \"json\"\n[run]\ngroup = \"g\"\nhttp = \"http://u:hunter2@127.0.0.1:1/\"\nuntil_idle = true\n"),
    )
    .unwrap();
    let ended = Running::start(&["--config", &file, "run", &stream, "--", "true"])
        .ended()
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(totals(&ended)[0], 2);
    let shown = Running::start(&["--config", &file, "config", "show"])
        .ended()
        .await;
    assert!(
        shown.stdout.contains("u:***@127.0.0.1:1"),
        "{}",
        shown.stdout
    );
    assert!(!shown.stdout.contains("hunter2"));
    std::fs::write(&file, "[run]\nconcurency = 3\n").unwrap();
    let ended = Running::start(&["--config", &file, "run", &stream, "-g", "g", "--", "true"])
        .ended()
        .await;
    refused(&ended, 2, "unknown key \"concurency\" in [run]");
    assert!(
        ended.stderr.contains("did you mean concurrency?"),
        "{}",
        ended.stderr
    );
}
