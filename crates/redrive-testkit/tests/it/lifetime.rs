//! No server outlives its test, however the test ends.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use redrive_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::SOON;

/// A test runner that gives up on a test kills it; `kill -9` leaves no destructor to run. Even a server that is
/// frozen, and so deaf to anything but SIGKILL, has to go.
#[tokio::test]
async fn a_killed_test_process_leaves_no_server_and_no_directory() {
    for frozen in [false, true] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_holds-a-server"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, directory) = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .find_map(|line| {
                let (pid, directory) = line.strip_prefix("holding ")?.split_once(' ')?;
                Some((Pid::from_raw(pid.parse().ok()?)?, PathBuf::from(directory)))
            })
            .unwrap();
        assert!(test_kill_process(pid).is_ok());
        assert!(directory.exists());
        if frozen {
            kill_process(pid, Signal::STOP).unwrap();
        }

        child.kill().unwrap();
        child.wait().unwrap();

        eventually(SOON, "the server is gone", async || {
            test_kill_process(pid).is_err()
        })
        .await;
        eventually(SOON, "its directory is gone", async || !directory.exists()).await;
    }
}
