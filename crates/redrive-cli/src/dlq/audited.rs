//! Who does something to dead letters, and why: flags of the commands that change a queue.

use clap::Args as ClapArgs;
use redrive::{Audit, AuditOutcome};

use super::bulk::Ended;
use crate::failure::Failure;
use crate::terminal::clipped;

/// How long the name of a person or a machine may be, in bytes.
const LONGEST: usize = 127;

/// What `dlq audit` will say of it.
#[derive(ClapArgs, Debug)]
pub(crate) struct Audited {
    /// Who does it, for `redrive dlq audit`; the default is user@host (REDRIVE_AS)
    #[arg(long = "as", id = "as", value_name = "NAME", help_heading = "Audit")]
    who: Option<String>,
    /// Why, for `redrive dlq audit`: a sentence, or the number of a ticket
    #[arg(long, value_name = "TEXT", help_heading = "Audit")]
    because: Option<String>,
}

impl Audited {
    pub(crate) fn audit(&self) -> Result<Audit, Failure> {
        let who = self.who.clone().unwrap_or_else(whoever);
        let audit = Audit::by(who).map_err(|error| failed("--as", &error))?;
        match &self.because {
            Some(because) => audit
                .because(because)
                .map_err(|error| failed("--because", &error)),
            None => Ok(audit),
        }
    }
}

fn failed(flag: &str, error: &redrive::Error) -> Failure {
    Failure::usage(format!("{flag}: {error}")).hint(error.cure().unwrap_or("say it in fewer words"))
}

/// How the audit tells this end; `None` where it is not to be waited for any more.
pub(super) fn outcome(ended: &Ended) -> Option<AuditOutcome> {
    match ended {
        Ended::Whole => Some(AuditOutcome::Done),
        Ended::Stopped(_) => Some(AuditOutcome::Stopped),
        Ended::Failed(_) => Some(AuditOutcome::Failed),
        Ended::Insisted(_) => None,
    }
}

/// `user@host`, as far as this machine tells.
fn whoever() -> String {
    let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let user = user.unwrap_or_else(|| {
        let uid = rustix::process::getuid().as_raw();
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        named(uid, &users).unwrap_or_else(|| format!("uid-{uid}"))
    });
    let names = rustix::system::uname();
    let host = names.nodename().to_string_lossy();
    let host = if host.is_empty() { "localhost" } else { &host };
    format!("{}@{}", clipped(&user, LONGEST), clipped(host, LONGEST))
}

/// The user of this number, by the lines of `/etc/passwd`.
fn named(uid: u32, users: &str) -> Option<String> {
    let uid = uid.to_string();
    let mut lines = users.lines().map(|line| line.split(':'));
    lines.find_map(|mut parts| {
        let name = parts.next().filter(|name| !name.is_empty())?;
        (parts.nth(1) == Some(&uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_number_and_whoever_it_is_has_a_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\n\n:x:7:\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(named(1_000, users).as_deref(), Some("ann"));
        assert_eq!(named(0, users).as_deref(), Some("root"));
        assert_eq!(named(7, users), None);
        assert_eq!(named(1, users), None);
        let (user, host) = whoever()
            .split_once('@')
            .map(|(u, h)| (u.len(), h.len()))
            .unwrap();
        assert!((1..=LONGEST).contains(&user) && (1..=LONGEST).contains(&host));
    }
}
