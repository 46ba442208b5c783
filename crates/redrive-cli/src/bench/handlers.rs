//! Handlers that are programs and servers: `redrive run` beside what starts, or asks, and nothing more.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Bench;
use super::drain::{rate, whole};
use super::load::{Payload, fill};
use super::process;
use super::row::{Round, Row, Target};
use crate::failure::Failure;

/// As `redrive run` has it.
const CONCURRENCY: u64 = 16;
const PAYLOAD: Payload = Payload::Bytes(100);
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// One process for each message.
pub(crate) async fn command(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let many = bench.many(1_500);
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds {
        let began = Instant::now();
        side_by_side(many, |_| async {
            let mut child = Command::new("true")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // It may have ended without having read it.
                let _ = stdin.write_all(PAYLOAD.of(0).as_bytes()).await;
            }
            child.wait().await.map(drop)
        })
        .await?;
        let raw = rate(many, began.elapsed());
        let redrive = run(bench, many, &["--", "true"]).await?;
        rounds.push(Round {
            redrive,
            raw: Some(raw),
        });
    }
    let what = "command handler, 16 at once, its start and end included; raw only spawns";
    Ok(vec![
        Row::of_rates("command", what, rounds).target(Target::AtLeast(0.8)),
    ])
}

/// One request for each message, to a server on a thread of its own.
pub(crate) async fn http(bench: &mut Bench) -> Result<Vec<Row>, Failure> {
    let many = bench.many(20_000);
    let answered = Arc::new(AtomicU64::new(0));
    let address = serve(Arc::clone(&answered))?;
    let url = format!("http://{address}/");
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        let (to, began) = (url.clone(), Instant::now());
        side_by_side(many, move |_| {
            let (client, to) = (client.clone(), to.clone());
            async move {
                let request = Request::builder().method(Method::POST).uri(to);
                let body = Full::new(Bytes::from(PAYLOAD.of(0)));
                let request = request.body(body).map_err(std::io::Error::other)?;
                client
                    .request(request)
                    .await
                    .map(drop)
                    .map_err(std::io::Error::other)
            }
        })
        .await?;
        let raw = rate(many, began.elapsed());
        let before = answered.load(Ordering::Relaxed);
        let redrive = run(bench, many, &["--http", &url]).await?;
        whole(
            "the server behind `redrive run`",
            answered.load(Ordering::Relaxed) - before,
            many,
        )?;
        rounds.push(Round {
            redrive,
            raw: Some(raw),
        });
    }
    let what = "HTTP handler, 16 at once, its start and end included; raw only asks";
    Ok(vec![
        Row::of_rates("http", what, rounds).target(Target::AtLeast(0.7)),
    ])
}

/// `redrive run` over a stream of so many messages. Answers how many a second.
async fn run(bench: &mut Bench, many: u64, handler: &[&str]) -> Result<f64, Failure> {
    let stream = bench.server.name("handled");
    fill(&mut bench.plain, &stream, many, PAYLOAD).await?;
    let mut command = process::command()?;
    command
        .args([
            "run",
            &stream,
            "-g",
            "handlers",
            "--until-idle",
            "--field",
            "data",
            "-o",
            "json",
        ])
        .args(handler)
        .env("REDRIVE_URL", &bench.server.url)
        .stdout(Stdio::piped());
    let began = Instant::now();
    let output = command.spawn()?.wait_with_output().await?;
    let took = began.elapsed();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::new(format!("reading what `redrive run` tells: {error}")))?;
    whole(
        "`redrive run`",
        told["succeeded"].as_u64().unwrap_or_default(),
        many,
    )?;
    bench.server.clean().await?;
    Ok(rate(many, took))
}

/// So many times the same work, as many at once as `redrive run` does.
async fn side_by_side<F>(
    many: u64,
    work: impl Fn(u64) -> F + Clone + Send + Sync + 'static,
) -> Result<(), Failure>
where
    F: Future<Output = std::io::Result<()>> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks: JoinSet<std::io::Result<()>> = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (next, work) = (Arc::clone(&next), work.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= many {
                    return Ok(());
                }
                work(number).await?;
            }
        });
    }
    for ended in tasks.join_all().await {
        ended?;
    }
    Ok(())
}

/// A server that answers 204 to everything, until the process ends.
fn serve(answered: Arc<AtomicU64>) -> Result<SocketAddr, Failure> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        let served = runtime.block_on(async move {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                let answered = Arc::clone(&answered);
                // A client that goes away ends its own connection.
                tokio::spawn(async move { answer(stream, &answered).await });
            }
        });
        // Whoever asks it then is refused, and says so.
        let _: std::io::Result<Infallible> = served;
    });
    Ok(address)
}

/// Answers each request of one connection when its body is there.
async fn answer(mut stream: TcpStream, answered: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut got, mut chunk) = (Vec::new(), [0; 8 * 1024]);
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        got.extend_from_slice(&chunk[..read]);
        while let Some(length) = request(&got) {
            got.drain(..length);
            answered.fetch_add(1, Ordering::Relaxed);
            stream.write_all(ANSWER).await?;
        }
    }
}

/// How long the first request is, if all of it is there.
fn request(got: &[u8]) -> Option<usize> {
    let head = got.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(got.get(..head)?).ok()?;
    let length = text.lines().filter_map(|line| line.split_once(':'));
    let length = length
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse::<usize>().ok());
    let whole = head + length.unwrap_or_default();
    (got.len() >= whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_over_when_its_body_is_there() {
        let one = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(request(one), Some(one.len()));
        assert_eq!(request(&one[..one.len() - 1]), None);
        assert_eq!(request(&[&one[..], b"POST"].concat()), Some(one.len()));
        assert_eq!(request(b"GET / HTTP/1.1\r\n\r\n"), Some(18));
        assert_eq!(request(b"GET / HTTP/1.1\r\n"), None);
    }
}
