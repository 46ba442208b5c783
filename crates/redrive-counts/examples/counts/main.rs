//! Counts what a message costs, and holds it against `docs/counts.txt`. Run by `make counts`, and by
//! `make counts-baseline`, which writes that file.
//!
//! `counts PROGRAM BASELINE [renew]`: PROGRAM is `redrive-counts`, built with optimisation.
#![expect(
    clippy::print_stdout,
    reason = "what it counts is what it is there to say"
)]

mod baseline;
mod instructions;
mod measure;
mod profile;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use baseline::{Baseline, Verdict, compare, table};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (program, file, renew) = match words.as_slice() {
        [program, file] => (program, file, false),
        [program, file, word] if word == "renew" => (program, file, true),
        _ => bail!("expected: counts PROGRAM BASELINE [renew]"),
    };
    let (program, file) = (PathBuf::from(program), Path::new(file));
    // Before anything is measured: a file that cannot be read is known at once.
    let before = if renew {
        Baseline::default()
    } else {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("reading {}; hint: make counts-baseline", file.display()))?;
        Baseline::read(&text).with_context(|| format!("reading {}", file.display()))?
    };
    let can = instructions::can_be_counted();
    if let Err(why) = &can {
        println!("counts: INSTRUCTIONS ARE NOT COUNTED: {why}");
        if renew {
            bail!("a baseline needs all counts; hint: renew it on Linux on x86_64");
        }
    }
    let counts = measure::all(&program, can.is_ok()).await?;
    let now = Baseline {
        made_with: instructions::made_with(),
        counts,
    };
    if renew {
        std::fs::write(file, now.write()).with_context(|| format!("writing {}", file.display()))?;
        println!("counts: written to {}\n\n{}", file.display(), now.write());
        return Ok(ExitCode::SUCCESS);
    }
    let lines = compare(&before.counts, &now.counts, can.is_ok());
    println!("{}", table(&lines));
    Ok(verdict(&lines, &before.made_with, &now.made_with))
}

fn verdict(lines: &[baseline::Line], before: &str, now: &str) -> ExitCode {
    let has = |verdict| lines.iter().any(|line| line.verdict == verdict);
    if has(Verdict::Less) {
        println!(
            "counts: some are more than 5 % below the baseline: `make counts-baseline` keeps that"
        );
    }
    if !has(Verdict::More) && !has(Verdict::Unknown) && !has(Verdict::Missing) {
        println!("counts: none is more than 5 % above the baseline");
        return ExitCode::SUCCESS;
    }
    if has(Verdict::More) {
        println!("counts: FAILED: a message costs more than 5 % more than the baseline says");
        println!(
            "hint: where that is meant, `make counts-baseline`, and say in the commit what it buys"
        );
    }
    if has(Verdict::Unknown) || has(Verdict::Missing) {
        println!(
            "counts: FAILED: the baseline has other counts than were made; hint: make counts-baseline"
        );
    }
    if before != now {
        println!(
            "hint: the baseline was made with other tools, which may be why:\n  then: {before}\n  now:  {now}"
        );
    }
    ExitCode::FAILURE
}
