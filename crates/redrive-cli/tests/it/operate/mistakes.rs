//! Bad input: what cannot be reached, is refused, is not there or not what it should be; each with a hint, none with a secret.

use std::fmt::Write as _;
use std::net::TcpListener;

use redrive_testkit::{Server, TlsFiles};

use super::super::Ended;
use super::rig::{Rig, bare, ended};

/// In no output of anything here.
const SECRET: &str = "hunter2-s3cr3t";

/// Everything that was said, a paragraph a call, for a look at all of it.
#[derive(Default)]
struct Told(String);

/// An error without its cause, which is in the words of the system or of the server.
fn without_cause(said: &str) -> String {
    let mut all = String::new();
    for line in said.lines() {
        let cut = line
            .strip_prefix("error: ")
            .and_then(|error| error.split_once(": "))
            .map(|(ours, _)| format!("error: {ours}: …"));
        all.push_str(cut.as_deref().unwrap_or(line));
        all.push('\n');
    }
    all
}

impl Told {
    /// Notes a failure; `hide` is what differs from run to run.
    #[track_caller]
    fn note(&mut self, shown: &str, ended: &Ended, hide: &[(&str, &str)]) {
        let Ended {
            code,
            stdout,
            stderr,
        } = ended;
        assert!(matches!(code, Some(1..=3)), "{shown}: {code:?} {stderr}");
        assert!(stderr.starts_with("error: "), "{shown}: {stderr}");
        assert_eq!(stderr.matches("\nhint: ").count(), 1, "{shown}: {stderr}");
        assert_eq!(stderr.lines().count(), 2, "{shown}: {stderr}");
        for text in [stdout, stderr] {
            assert!(!text.contains(SECRET), "{shown}: {text}");
            assert!(!text.contains("panicked"), "{shown}: {text}");
        }
        let mut said = format!("{stdout}{stderr}");
        for (what, by) in hide {
            said = said.replace(what, by);
        }
        if *code == Some(1) {
            said = without_cause(&said);
        }
        writeln!(self.0, "$ redrive {shown}\n{said}[{}]\n", code.unwrap()).unwrap();
    }
}

/// One of each command that asks a server.
const ASKING: [&str; 7] = [
    "dlq list orders",
    "dlq show 1-0 orders",
    "dlq replay orders --all --yes",
    "dlq purge orders --all --yes",
    "stats",
    "stats orders -g billing -o json",
    "pending list orders -g billing",
];

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_an_error_for_every_command_and_never_an_object() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("redis://user:{SECRET}@{closed}/3");
    let mut told = Told::default();
    for line in ASKING {
        let ended = ended(bare(&words(line)).env("REDRIVE_URL", &url)).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{line}");
        told.note(line, &ended, &[(&closed.port().to_string(), "PORT")]);
    }
    insta::assert_snapshot!("unreachable", told.0);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let mut told = Told::default();
    let rig = Rig::on(Server::builder().requirepass("right").start().await).await;
    let port = rig.server.port().to_string();
    for (shown, url) in [
        (
            "stats, with a wrong password",
            format!("redis://:{SECRET}@127.0.0.1:{port}"),
        ),
        (
            "stats, with a user that is not there",
            format!("redis://ann:{SECRET}@127.0.0.1:{port}"),
        ),
        (
            "stats, without a password",
            format!("redis://127.0.0.1:{port}"),
        ),
        (
            "stats, by TLS where there is none",
            format!("rediss://:{SECRET}@127.0.0.1:{port}"),
        ),
        (
            "stats, of a database that is not there",
            format!("redis://:right@127.0.0.1:{port}/99"),
        ),
    ] {
        let ended = ended(&mut bare(&["stats", "--url", &url])).await;
        told.note(shown, &ended, &[(&port, "PORT")]);
    }

    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = TlsFiles::generate(ours.path());
    let strangers = TlsFiles::generate(theirs.path());
    let server = Server::builder().tls(files.clone()).requirepass(SECRET);
    let server = server.arg("--tls-auth-clients", "yes").start().await;
    let url = server.tls_url();
    let port = url.rsplit(':').next().unwrap();
    let (ca, stranger) = (
        files.ca().to_str().unwrap(),
        strangers.ca().to_str().unwrap(),
    );
    for (shown, more) in [
        ("stats, from a server that nobody vouches for", vec![]),
        (
            "stats, from a server that another authority vouches for",
            vec!["--tls-ca", stranger],
        ),
        (
            "stats, without the certificate that the server wants",
            vec!["--tls-ca", ca],
        ),
    ] {
        let ended = ended(&mut bare(&[&["stats", "--url", &url], &more[..]].concat())).await;
        told.note(shown, &ended, &[(port, "PORT")]);
    }
    let key = files.client_key().to_str().unwrap();
    let certificate = files.client_certificate().to_str().unwrap();
    let whole = [
        "stats",
        "--url",
        &url,
        "--tls-ca",
        ca,
        "--tls-cert",
        certificate,
        "--tls-key",
        key,
    ];
    let let_in = ended(&mut bare(&whole)).await;
    assert_eq!(let_in.code, Some(3), "{}", let_in.stderr);

    let acl = format!("clerk on >{SECRET} ~orders* +@read +ping +info");
    let server = Server::builder().acl(&acl).start().await;
    let url = format!("redis://clerk:{SECRET}@127.0.0.1:{}", server.port());
    let mut plain = server.connect().await;
    let add = |key: &str| {
        let mut command = redis::cmd("XADD");
        command.arg(key).arg("1-0").arg("n").arg("1");
        command
    };
    let _: String = add("orders:dlq").query_async(&mut plain).await.unwrap();
    for line in [
        "dlq purge orders --all --yes",
        "dlq replay orders --all --target orders --yes",
        "dlq list refunds",
    ] {
        let ended = ended(bare(&words(line)).env("REDRIVE_URL", &url)).await;
        told.note(
            &format!("{line}, by a user who may only read orders"),
            &ended,
            &[],
        );
    }
    insta::assert_snapshot!("denied", told.0);
}

#[tokio::test]
async fn a_url_that_can_never_work_is_a_usage_error_without_the_url() {
    let mut told = Told::default();
    for url in [
        &format!("http://user:{SECRET}@localhost"),
        &format!("redis://user:{SECRET}@localhost:port"),
        &format!("redis://user:{SECRET}@localhost/db"),
        &format!("redis://user:{SECRET}@localhost?token={SECRET}"),
        &format!("redis://user:{SECRET}@"),
        SECRET,
        "",
        "unix://",
    ] {
        let shown = url.replace(SECRET, "***");
        let by_flag = ended(&mut bare(&["stats", "--url", url])).await;
        assert_eq!(by_flag.code, Some(2), "{shown}: {}", by_flag.stderr);
        told.note(&format!("stats --url {shown:?}"), &by_flag, &[]);
        if !url.is_empty() {
            let by_variable = ended(bare(&["stats"]).env("REDRIVE_URL", url)).await;
            assert_eq!(
                (by_variable.code, by_variable.stderr),
                (by_flag.code, by_flag.stderr)
            );
        }
    }
    insta::assert_snapshot!("urls", told.0);
}

#[tokio::test]
async fn a_key_that_is_no_stream_is_named() {
    let rig = Rig::start().await;
    for key in ["orders", "refunds:dlq"] {
        let _: String = rig.ask(&["SET", key, SECRET]).await;
    }
    let _: String = rig.ask(&["XADD", "refunds", "1-0", "n", "1"]).await;
    rig.dies("list:dlq", "1-0", &[b"n", SECRET.as_bytes()], &[])
        .await;
    let before = rig.everything().await;
    let mut told = Told::default();
    for line in [
        "dlq list refunds",
        "dlq show 1-0 refunds",
        "dlq replay refunds --all --yes",
        "dlq replay refunds --id 1-0",
        "dlq replay list --id 1-0",
        "dlq purge refunds --all --yes",
        "stats orders",
        "stats orders -g billing",
        "stats refunds",
        "pending list orders -g billing",
    ] {
        let ended = rig.redrive(&words(line)).await;
        assert_eq!(ended.code, Some(1), "{line}");
        if !line.contains("list --id") {
            told.note(line, &ended, &[]);
            continue;
        }
        // One of many that cannot be put back: the report says why.
        assert!(
            ended.stdout.contains("wrong type of key"),
            "{}",
            ended.stdout
        );
    }
    insta::assert_snapshot!("no_stream", told.0);
    let mut after = rig.everything().await;
    // That it was tried is recorded.
    after.retain(|key, _| !key.ends_with(b":redrive:audit"));
    assert_eq!(after, before);
}

#[tokio::test]
async fn what_the_command_line_does_not_take_is_a_usage_error() {
    // No server is asked: there is none.
    let mut told = Told::default();
    let id = "an entry id is two numbers, such as 1712-0, or the first alone";
    let duration = "a duration is written like 250ms, 30s";
    for (line, why) in [
        ("dlq list", "which dead-letter queue?"),
        ("dlq show 1-0", "which dead-letter queue?"),
        ("dlq replay --all --yes", "which dead-letter queue?"),
        ("dlq purge --all --yes", "which dead-letter queue?"),
        ("dlq replay orders --yes", "which dead letters to replay?"),
        (
            "dlq purge orders --limit 3 --yes",
            "which dead letters to purge?",
        ),
        (
            "dlq list orders --dlq graveyard --stream refunds",
            "nothing can match",
        ),
        ("dlq show", "<ID>"),
        ("dlq show orders", id),
        ("dlq show 1-2-3 orders", id),
        ("dlq show -- -1 orders", id),
        ("dlq list orders --id x", id),
        ("dlq list orders --id 18446744073709551616", id),
        (
            "dlq list orders --reason exhausted",
            "the reasons are attempts_exhausted, crash_loop",
        ),
        ("dlq list orders --limit 0", "it must be at least 1"),
        ("dlq list orders --limit many", "it must be a whole number"),
        (
            "pending list orders -g billing --limit 0",
            "it must be at least 1",
        ),
        ("dlq list orders --oldest --newest", "--newest"),
        ("pending list orders -g billing --limit 3 --all", "--all"),
        (
            "dlq purge orders --limit 3 --newest",
            "or say --all; --limit, --oldest and --newest alone select nothing",
        ),
        ("dlq replay orders --all --id 1-0", "exclude each other"),
        ("dlq purge orders --all --id 1-0", "exclude each other"),
        ("dlq list orders refunds", "refunds"),
        ("dlq purge orders --all --keep", "--keep"),
        ("dlq replay orders --all --max-replays -1", "-1"),
        ("dlq replay orders --all --max-replays few", "few"),
        ("dlq replay orders --id -1", "an entry id is two numbers"),
        ("dlq import file --again=", "--again <WORD>"),
        ("dlq requeue orders", "requeue"),
        ("pending list orders", "--group"),
        ("stats -g billing", "<STREAM>"),
        ("stats --dlq graveyard", "<STREAM>"),
        ("stats --watch --every soon", duration),
        ("stats --watch --every 5", duration),
        ("stats -o yaml", "yaml"),
    ] {
        let mut command = bare(&words(line));
        let refused = ended(command.env("REDRIVE_URL", "redis://127.0.0.1:1")).await;
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (Some(2), ""),
            "{line}: {}",
            refused.stderr
        );
        assert!(refused.stderr.contains(why), "{line}: {}", refused.stderr);
        told.note(line, &refused, &[]);
    }
}
