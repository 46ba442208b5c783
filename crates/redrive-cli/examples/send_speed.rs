//! How fast `redrive send` is beside a raw loop of pipelined XADD, on a server of its own. Run by `make send-speed`.
#![expect(
    clippy::print_stdout,
    reason = "what it measures is what it is there to say"
)]

use std::fmt::Write as _;
use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use redrive_testkit::{Server, stream_name};

const MESSAGES: usize = 200_000;
const LOAD: usize = 1_000;
const ROUNDS: usize = 5;
/// `redrive send` parses JSON and tells every id; below this part of the raw loop it wastes time.
const LEAST: f64 = 0.3;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    // Beside the examples is what was built with them.
    let here = std::env::current_exe()?;
    let built = here
        .parent()
        .and_then(Path::parent)
        .map(|folder| folder.join("redrive"));
    let redrive = built.ok_or_else(|| Error::other("not in a target folder"))?;
    let server = Server::start().await;
    let (url, port) = (server.url(), server.port());
    let measured = tokio::task::spawn_blocking(move || measure(&redrive, &url, port));
    let (raw, send) = measured.await.map_err(Error::other)??;
    let (raw, send) = (median(raw), median(send));
    let ratio = raw.as_secs_f64() / send.as_secs_f64();
    println!("raw XADD      {} messages/s", rate(raw));
    println!("redrive send  {} messages/s", rate(send));
    println!("ratio         {ratio:.2} (at least {LEAST})");
    Ok(if ratio < LEAST {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

type Times = Vec<Duration>;

/// Both in turn, so that what else the machine does hits both.
fn measure(redrive: &Path, url: &str, port: u16) -> Result<(Times, Times)> {
    let mut json = String::new();
    for n in 0..MESSAGES {
        let _ = writeln!(
            json,
            r#"{{"order":"{n}","customer":"customer {}","total":{}.50}}"#,
            n % 977,
            n % 500
        );
    }
    let (mut raw, mut send) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raw.push(raw_loop(port)?);
        send.push(sent(redrive, url, &json)?);
    }
    Ok((raw, send))
}

/// Loads of XADD, one after the other, as bytes on a socket.
fn raw_loop(port: u16) -> Result<Duration> {
    let (stream, began) = (stream_name("raw"), Instant::now());
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let mut commands = Vec::new();
    let mut answers = vec![0; 1 << 16];
    for first in (0..MESSAGES).step_by(LOAD) {
        commands.clear();
        for n in first..first + LOAD {
            let (order, customer, total) = (
                n.to_string(),
                format!("customer {}", n % 977),
                format!("{}.50", n % 500),
            );
            let words = [
                "XADD", &stream, "*", "order", &order, "customer", &customer, "total", &total,
            ];
            write!(commands, "*{}\r\n", words.len())?;
            for word in words {
                write!(commands, "${}\r\n{word}\r\n", word.len())?;
            }
        }
        socket.write_all(&commands)?;
        // An id is a line with its length and a line with itself.
        let mut left = 2 * LOAD;
        while left > 0 {
            let read = socket.read(&mut answers)?;
            if read == 0 || answers[0] == b'-' {
                return Err(Error::other("the server refuses"));
            }
            left -= answers[..read]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
        }
    }
    let took = began.elapsed();
    removed(&mut socket, &stream)?;
    Ok(took)
}

/// The same messages as JSON through the binary.
fn sent(redrive: &Path, url: &str, json: &str) -> Result<Duration> {
    let (stream, began) = (stream_name("send"), Instant::now());
    let mut child = Command::new(redrive)
        .args(["--url", url, "send", &stream, "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(json.as_bytes())?;
    }
    if !child.wait()?.success() {
        return Err(Error::other("redrive send failed"));
    }
    let took = began.elapsed();
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    let mut socket = TcpStream::connect(("127.0.0.1", port.unwrap_or_default()))?;
    removed(&mut socket, &stream)?;
    Ok(took)
}

/// Checks that all are there, and removes them: each round begins with an empty server.
fn removed(socket: &mut TcpStream, stream: &str) -> Result<()> {
    let mut ask = |command: String| -> Result<String> {
        socket.write_all(command.as_bytes())?;
        let mut answer = [0; 64];
        let read = socket.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).trim().to_owned())
    };
    let length = ask(format!("XLEN {stream}\r\n"))?;
    if length != format!(":{MESSAGES}") {
        return Err(Error::other(format!("{length} messages in {stream}")));
    }
    ask(format!("DEL {stream}\r\n")).map(drop)
}

fn median(mut times: Times) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn rate(took: Duration) -> u128 {
    let messages = u128::try_from(MESSAGES).unwrap_or_default();
    messages * 1_000_000 / took.as_micros().max(1)
}
