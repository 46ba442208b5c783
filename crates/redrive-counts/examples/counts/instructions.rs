//! How many instructions of the client a message takes: the program under valgrind's callgrind, with fewer messages
//! and with more. The difference is what messages take; what it takes to start and to end is in both.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::baseline::{Counts, INSTRUCTIONS};
use super::profile::Profile;

/// A step on the way of a message, as the functions that it begins in. One with a `*` is any that begins so; what one
/// of `less` takes inside of these is another step.
struct Step {
    name: &'static str,
    functions: &'static [&'static str],
    less: &'static [&'static str],
}

const REPLY: &str = "<redrive::redis::received::Reading<redrive::delivery::Delivery, \
    <redrive::redis::seat::RedisSeat as redrive::backend::Seat>::receive::{closure#0}::{closure#1}>>::go_on";
const CODEC: &str =
    "<redrive_counts::Counted as redrive::codec::Decode<redrive_counts::Order>>::decode";

const STEPS: [Step; 4] = [
    // From the bytes of a reply to deliveries, and JSON of ten fields.
    Step {
        name: "decode",
        functions: &[REPLY, CODEC],
        less: &[],
    },
    // Taken in, held, handed to a task, run.
    Step {
        name: "dispatch",
        functions: &[
            "<redrive::processor::run::Run>::receive",
            "<redrive::processor::run::Run>::start_ready",
            "<redrive::processor::crew::Crew>::set_to_work",
            "tokio::runtime::task::raw::poll::<redrive::processor::crew::hand::*",
        ],
        less: &[CODEC],
    },
    // From what the handler said to how its message ends.
    Step {
        name: "judge",
        functions: &["<redrive::processor::run::Run>::runs_ended"],
        less: &[],
    },
    // Put together, written, confirmed.
    Step {
        name: "settle",
        functions: &[
            "<redrive::processor::run::Run>::send_settlements",
            "redrive::processor::settler::send::{closure#0}",
            "tokio::runtime::task::raw::poll::<*redis::aio::*",
            "<redrive::processor::run::Run>::settled",
        ],
        less: &[],
    },
];

/// Counts of one run of the program: of the steps, in their order, then of all.
pub(crate) type Run = Vec<(&'static str, u64)>;

/// Whether instructions are counted on this machine, or why not.
pub(crate) fn can_be_counted() -> Result<(), String> {
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    if (system, machine) == ("linux", "x86_64") {
        return Ok(());
    }
    Err(format!(
        "the baseline is one of Linux on x86_64, and this is {system} on {machine}; CI counts them"
    ))
}

/// The tools whose change changes counts.
pub(crate) fn made_with() -> String {
    let tools = [
        ("rustc", "--version"),
        ("valgrind", "--version"),
        ("ldd", "--version"),
    ];
    let told = tools.map(|(tool, argument)| {
        let output = Command::new(tool).arg(argument).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let line = text
            .ok()
            .and_then(|text| text.lines().next().map(str::to_owned));
        line.unwrap_or_else(|| format!("no {tool}"))
    });
    told.join(", ")
}

/// Runs the program under callgrind over as many messages as are there.
pub(crate) fn count(program: &Path, url: &str, many: u64) -> Result<Run> {
    let folder = TempDir::new()?;
    let file = folder.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["-q", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args([url, "drain", &many.to_string()])
        // The same ways of copying memory on every machine, whatever its processor can do.
        .env(
            "GLIBC_TUNABLES",
            "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM",
        )
        .env_remove("LD_PRELOAD")
        .output()
        .context("running valgrind; hint: `make test-needs` installs it")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!(
            "valgrind with {}: {}\n{said}",
            program.display(),
            output.status
        );
    }
    let text = fs::read_to_string(&file).context("reading what callgrind wrote")?;
    let profile = Profile::read(&text).context("reading what callgrind wrote")?;
    let mut run = Run::new();
    for step in &STEPS {
        let sum = |functions: &[&str]| functions.iter().map(|function| profile.of(function)).sum();
        let (all, less): (Result<u64>, Result<u64>) = (sum(step.functions), sum(step.less));
        run.push((step.name, all?.saturating_sub(less?)));
    }
    run.push(("drain", profile.total()));
    Ok(run)
}

/// What one message takes, of two runs and the messages that the second had more.
pub(crate) fn for_each(fewer: &Run, more: &Run, messages: u64) -> Counts {
    let pairs = fewer.iter().zip(more);
    pairs
        .map(|((name, fewer), (_, more))| {
            let each = more.saturating_sub(*fewer) as f64 / messages as f64;
            (format!("{INSTRUCTIONS}{name}"), each)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_takes_to_start_does_not_count() {
        let fewer = vec![("decode", 1_500), ("drain", 11_000)];
        let more = vec![("decode", 3_500), ("drain", 31_000)];
        let each = for_each(&fewer, &more, 10);
        assert_eq!(each["instructions/decode"], 200.0);
        assert_eq!(each["instructions/drain"], 2_000.0);
    }
}
