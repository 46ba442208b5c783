//! What callgrind wrote: how many instructions each function took, with all that it called; pure.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};

/// Instructions by function, in it and in what it called.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    inclusive: HashMap<String, u64>,
    total: u64,
}

impl Profile {
    /// Reads a file of callgrind. In it a function is `fn=(7) name`, later `fn=(7)`; behind that are lines of a position
    /// and a cost, its own, and behind `calls=` one with the cost of that call.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut names: HashMap<&str, &str> = HashMap::new();
        let mut profile = Self::default();
        let mut costs: HashMap<&str, u64> = HashMap::new();
        let (mut function, mut is_call) = (None, false);
        for line in text.lines() {
            if let Some(named) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
                let (number, name) = named.split_once(' ').unwrap_or((named, ""));
                if !name.is_empty() {
                    names.insert(number, name);
                }
                if line.starts_with("fn=") {
                    function = Some(number);
                }
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
                let cost = line.split_whitespace().nth(1).unwrap_or("0");
                let cost: u64 = cost.parse().with_context(|| format!("a cost: {line}"))?;
                if !is_call {
                    profile.total += cost;
                }
                is_call = false;
                *costs
                    .entry(function.context("a cost of no function")?)
                    .or_default() += cost;
            }
        }
        for (number, cost) in costs {
            let name = names.get(number).context("a function without a name")?;
            *profile.inclusive.entry((*name).to_owned()).or_default() += cost;
        }
        Ok(profile)
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The instructions of a function. `a*b*` is all whose names begin with `a`, have `b` in them, and are no part of
    /// another one.
    ///
    /// # Errors
    ///
    /// If there is none: then something was renamed, or put into its caller, and nothing is counted.
    pub(crate) fn of(&self, pattern: &str) -> Result<u64> {
        let meant = |name: &str| match pattern.strip_suffix('*') {
            None => name == pattern,
            Some(pattern) => {
                let (start, part) = pattern.split_once('*').unwrap_or((pattern, ""));
                name.starts_with(start) && name.contains(part) && name.ends_with('>')
            }
        };
        let mut found = self
            .inclusive
            .iter()
            .filter(|(name, _)| meant(name))
            .peekable();
        if found.peek().is_none() {
            bail!(
                "no function called {pattern} was run; hint: if it has another name now, say so in \
                 crates/redrive-counts/examples/counts/instructions.rs; if the compiler puts it into its caller, it needs \
                 #[inline(never)]"
            );
        }
        Ok(found.map(|(_, cost)| cost).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "# callgrind format\nversion: 1\nevents: Ir\n\nob=(1) /bin/x\nfl=(1) ???\n\
        fn=(1) main\n0 10\ncfn=(2) crate::decode\ncalls=2 0\n0 90\n* 5\n\nfn=(2)\n0 60\ncob=(2) libc\n\
        cfn=(3) malloc\ncalls=2 0\n0 30\n\nob=(2)\nfn=(3)\n0 30\n\nfn=(4) poll::<crate::hand>\n0 7\n\nfn=(5) poll::<crate::hand>::{closure}\n0 2\n\ntotals: 114\n";

    #[test]
    fn a_function_takes_what_it_calls() {
        let profile = Profile::read(WRITTEN).unwrap();
        assert_eq!(profile.total(), 114);
        assert_eq!(profile.of("main").unwrap(), 105);
        assert_eq!(profile.of("crate::decode").unwrap(), 90);
        assert_eq!(profile.of("malloc").unwrap(), 30);
        assert_eq!(profile.of("poll::<*").unwrap(), 7);
        assert_eq!(profile.of("poll::<*hand*").unwrap(), 7);
        assert!(profile.of("poll::<*foot*").is_err());
    }

    #[test]
    fn a_function_that_is_not_there_is_an_error() {
        let profile = Profile::read(WRITTEN).unwrap();
        assert!(profile.of("crate::settle").is_err());
        assert!(profile.of("decode").is_err());
        assert!(Profile::read("fn=(1) main\n0 many\n").is_err());
    }
}
