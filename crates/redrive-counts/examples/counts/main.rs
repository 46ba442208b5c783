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

use baseline::{Baseline, Counts, Verdict, compare, highest, lowest, table};

/// How often is counted for a baseline, and at most for a comparison: a part of each count goes by the clock.
const TRIES: usize = 3;

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
    let tools = instructions::made_with();
    let can = instructions::can_be_counted().and_then(|()| {
        let same = renew || before.made_with == tools;
        same.then_some(()).ok_or_else(|| {
            format!(
                "the baseline is one of other tools:\n  then: {}\n  now:  {tools}\nhint: make counts-baseline",
                before.made_with
            )
        })
    });
    if let Err(why) = &can {
        println!("counts: INSTRUCTIONS ARE NOT COUNTED: {why}");
        if renew {
            bail!("a baseline needs all counts; hint: renew it on Linux on x86_64");
        }
    }
    let mut all: Vec<Counts> = Vec::new();
    if renew {
        for _ in 0..TRIES {
            all.push(measure::all(&program, true).await?);
        }
        let now = Baseline {
            made_with: tools,
            counts: highest(&all),
        };
        std::fs::write(file, now.write()).with_context(|| format!("writing {}", file.display()))?;
        println!("counts: written to {}\n\n{}", file.display(), now.write());
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        all.push(measure::all(&program, can.is_ok()).await?);
        let lines = compare(&before.counts, &lowest(&all), can.is_ok());
        println!("{}", table(&lines));
        let too_much = lines.iter().any(|line| line.verdict == Verdict::More);
        if !too_much || all.len() == TRIES {
            return Ok(verdict(&lines));
        }
        println!("counts: some are too much; counting again, the lowest counts\n");
    }
}

fn verdict(lines: &[baseline::Line]) -> ExitCode {
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
    ExitCode::FAILURE
}
