//! What the server counts of itself, and what was spent between two looks; pure.

use tokio::time::Instant;

use super::row::Cost;

/// One look at `INFO`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    at: Instant,
    core_s: f64,
    commands: u64,
    reads: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// What went on between two looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) wall_s: f64,
    pub(crate) core_s: f64,
    pub(crate) commands: f64,
    pub(crate) reads: f64,
    bytes_in: f64,
    bytes_out: f64,
}

impl Meter {
    pub(crate) fn read(info: &str, at: Instant) -> Self {
        // Of the thread that runs commands, where the server tells: 6.2 and later.
        let main = seconds(
            info,
            "used_cpu_user_main_thread",
            "used_cpu_sys_main_thread",
        );
        let core_s = main.or_else(|| seconds(info, "used_cpu_user", "used_cpu_sys"));
        let count = |name| Self::number(info, name).unwrap_or_default();
        Self {
            at,
            core_s: core_s.unwrap_or_default(),
            commands: count("total_commands_processed"),
            reads: count("total_reads_processed"),
            bytes_in: count("total_net_input_bytes"),
            bytes_out: count("total_net_output_bytes"),
        }
    }

    pub(crate) fn number(info: &str, name: &str) -> Option<u64> {
        value(info, name)?.parse().ok()
    }

    pub(crate) fn since(self, before: Self) -> Spent {
        Spent {
            wall_s: self.at.duration_since(before.at).as_secs_f64(),
            core_s: self.core_s - before.core_s,
            commands: difference(self.commands, before.commands),
            reads: difference(self.reads, before.reads),
            bytes_in: difference(self.bytes_in, before.bytes_in),
            bytes_out: difference(self.bytes_out, before.bytes_out),
        }
    }
}

impl Spent {
    /// What part of the time the server's core was busy.
    pub(crate) fn busy(&self) -> f64 {
        self.core_s / self.wall_s.max(f64::MIN_POSITIVE)
    }

    /// For each of so many messages.
    pub(crate) fn for_each(&self, messages: f64) -> Cost {
        Cost {
            commands: self.commands / messages,
            round_trips: self.reads / messages,
            bytes_in: self.bytes_in / messages,
            bytes_out: self.bytes_out / messages,
            server_us: self.core_s * 1e6 / messages,
            server_core: self.busy(),
        }
    }
}

fn seconds(info: &str, user: &str, system: &str) -> Option<f64> {
    let of = |name| value(info, name)?.parse::<f64>().ok();
    Some(of(user)? + of(system)?)
}

fn value<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(named, _)| *named == name)
        .map(|(_, value)| value.trim())
}

fn difference(now: u64, before: u64) -> f64 {
    now.saturating_sub(before) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_spent_lies_between_two_looks() {
        let info = |core: &str, commands: u64| {
            format!(
                "# CPU\r\nused_cpu_sys:9\r\nused_cpu_user:9\r\nused_cpu_sys_main_thread:{core}\r\n\
                 used_cpu_user_main_thread:1.5\r\ntotal_commands_processed:{commands}\r\n\
                 total_net_input_bytes:0\r\ntotal_net_output_bytes:0\r\n"
            )
        };
        let at = Instant::now();
        let before = Meter::read(&info("0.5", 100), at);
        let spent = Meter::read(&info("1.5", 350), at + Duration::from_secs(2)).since(before);
        assert!((spent.busy() - 0.5).abs() < 1e-6);
        let cost = spent.for_each(100.0);
        assert!((cost.commands - 2.5).abs() < 1e-9);
        assert!((cost.server_us - 10_000.0).abs() < 1e-6);
    }

    #[test]
    fn an_old_server_tells_of_the_whole_process() {
        let meter = Meter::read("used_cpu_sys:1.0\r\nused_cpu_user:2.0\r\n", Instant::now());
        assert!((meter.core_s - 3.0).abs() < 1e-9);
    }
}
