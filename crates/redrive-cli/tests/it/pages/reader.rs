//! Somebody who does what a page says, in order, and looks whether it is as the page shows.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use redrive_testkit::{Server, eventually};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::page::{Block, Kind};
use super::transcript::Ids;

/// How long a block may take: more than any backoff of the pages.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ports that stand in the pages: of the server, and of the handler behind HTTP.
const SERVER_PORT: &str = "6400";
const HTTP_PORT: &str = "8080";

pub(super) struct Reader {
    server: Server,
    folder: TempDir,
    http_port: String,
    ids: Ids,
    beside: Vec<Beside>,
}

/// Something in a terminal of its own.
struct Beside {
    group: Group,
    command: String,
    said: PathBuf,
}

impl Reader {
    /// Does what these blocks say, from the first to the last.
    pub(super) async fn reads(blocks: &[Block]) -> Self {
        let mut reader = Self {
            server: start(blocks).await,
            folder: tempfile::Builder::new()
                .prefix("redrive-page-")
                .tempdir_in("/tmp")
                .unwrap(),
            http_port: free_port(),
            ids: Ids::default(),
            beside: Vec::new(),
        };
        for (at, block) in blocks.iter().enumerate() {
            let shown = blocks.get(at + 1).filter(|next| next.kind == Kind::Shown);
            reader.does(block, shown).await;
        }
        for beside in &mut reader.beside {
            let status = beside.group.0.try_wait().unwrap();
            assert_eq!(status, None, "ended by itself: {}", beside.command);
        }
        reader
    }

    async fn does(&mut self, block: &Block, shown: Option<&Block>) {
        let text = self.here(&block.text);
        match &block.kind {
            Kind::Run => {
                let command = self.ids.real(&text);
                let Some(shown) = shown else {
                    return drop(
                        self.runs(&command, block.line)
                            .await
                            .unwrap_or_else(|e| panic!("{e}")),
                    );
                };
                let expected = self.here(&shown.text);
                if only_looks(&command) {
                    // What is looked at may still be under way.
                    return eventually(PATIENCE, "what the page shows", async || {
                        let said = self.runs(&command, block.line).await?;
                        self.ids.compare(&expected, &said)
                    })
                    .await;
                }
                let said = self.runs(&command, block.line).await;
                let compared = said.and_then(|said| self.ids.compare(&expected, &said));
                compared.unwrap_or_else(|error| panic!("line {}: {error}", shown.line));
            }
            Kind::Beside => self.starts(&text),
            Kind::File(name) => std::fs::write(self.path(name), text).unwrap(),
            Kind::Server | Kind::NotRun | Kind::Program(_) | Kind::Shown | Kind::Read => {}
        }
    }

    /// As it stands in the page, for the server of this test.
    fn here(&self, text: &str) -> String {
        text.replace(SERVER_PORT, &self.server.port().to_string())
            .replace(HTTP_PORT, &self.http_port)
            .replace("cargo run", &format!("'{}'", example().display()))
    }

    /// Runs a block to its end; what it said on stdout and stderr, as one who sits before it sees it.
    async fn runs(&self, command: &str, line: usize) -> Result<String, String> {
        let child = self
            .shell(&format!("exec 2>&1\n{command}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut group = Group(child);
        let mut stdout = group.0.stdout.take().unwrap();
        let mut said = Vec::new();
        let reading = tokio::io::AsyncReadExt::read_to_end(&mut stdout, &mut said);
        let ended = tokio::time::timeout(PATIENCE, async {
            reading.await.unwrap();
            group.0.wait().await.unwrap()
        })
        .await;
        let said = String::from_utf8(said).unwrap();
        match ended {
            Ok(status) if status.success() => Ok(said),
            Ok(status) => Err(format!("line {line}: {status}: {command}{said}")),
            Err(_) => Err(format!("line {line}: it does not end: {command}")),
        }
    }

    fn starts(&mut self, text: &str) {
        let command = match text.rsplit_once("&& ") {
            Some((first, last)) => format!("{first}&& exec {last}"),
            None => format!("exec {text}"),
        };
        let said = self.path(&format!("beside-{}.log", self.beside.len()));
        let log = std::fs::File::create(&said).unwrap();
        let child = self
            .shell(&command)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.beside.push(Beside {
            group: Group(child),
            command,
            said,
        });
    }

    fn shell(&self, text: &str) -> Command {
        let ours = Path::new(env!("CARGO_BIN_EXE_redrive")).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let path = std::iter::once(ours.to_owned()).chain(std::env::split_paths(&path));
        let mut command = Command::new("bash");
        command
            .args(["-eu", "-o", "pipefail", "-c", text])
            .current_dir(self.folder.path())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("REDRIVE_URL", self.server.url())
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env_remove("REDRIVE_CONFIG")
            .env_remove("REDRIVE_OUTPUT")
            .env_remove("REDRIVE_LOG")
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends what runs beside as Ctrl-C does; what it said. What is redrive's ends with success.
    pub(super) async fn leaves(mut self) -> String {
        let mut all = String::new();
        for beside in &mut self.beside {
            let process = Pid::from_raw(beside.group.0.id().unwrap().try_into().unwrap()).unwrap();
            kill_process(process, Signal::INT).unwrap();
            let ended = tokio::time::timeout(PATIENCE, beside.group.0.wait()).await;
            let said = std::fs::read_to_string(&beside.said).unwrap();
            let status =
                ended.unwrap_or_else(|_| panic!("{} does not end: {said}", beside.command));
            let python = beside.command.contains("python3");
            assert!(
                python || status.unwrap().success(),
                "{}: {said}",
                beside.command
            );
            all.push_str(&said);
        }
        all
    }
}

/// Whether it can be asked again without changing anything.
fn only_looks(command: &str) -> bool {
    let looks = [
        "redrive stats",
        "redrive dlq list",
        "redrive dlq show",
        "redrive pending",
        "ls ",
    ];
    command
        .lines()
        .all(|line| looks.iter().any(|look| line.starts_with(look)))
}

/// The server of the page, with the options of the page, on a port of the test's own.
async fn start(blocks: &[Block]) -> Server {
    let servers = blocks.iter().filter(|block| block.kind == Kind::Server);
    let lines: Vec<&str> = servers.map(|block| block.text.trim()).collect();
    let [line] = lines.as_slice() else {
        panic!("one server in a page, not {lines:?}");
    };
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[..3], ["redis-server", "--port", SERVER_PORT]);
    let mut server = Server::builder();
    for option in words[3..].chunks(2) {
        server = server.arg(option[0], option[1].trim_matches('"'));
    }
    server.start().await
}

/// Built together with the tests, beside them.
fn example() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let target = here.ancestors().nth(2).unwrap();
    target.join("examples").join("getting_started")
}

fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// A process and all that it started; killed when dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Only while it has not been waited for is the number surely its own.
        let number = self
            .0
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(group) = number {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
