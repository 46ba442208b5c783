//! What a user lacks for what it is there for.

use super::facts::{Rights, Role, Told};
use super::finding::{Finding, FindingCode, Place, Severity};
use crate::names::StreamKey;

/// Rights that a worker or an operator of this stream needs, and this user does not have.
pub(super) fn missing(told: &Told<Rights>, stream: &StreamKey) -> Option<Finding> {
    let place = Place::stream(stream);
    let rights = match told {
        Told::Yes(rights) => rights,
        Told::No(why) => {
            let what = "the rights of this user";
            // Alike for all streams.
            return Some(Finding::not_checked(Place::server(), what, why));
        }
    };
    if rights.missing.is_empty() {
        return None;
    }
    let (severity, does, then) = match rights.role {
        Role::Worker => (
            Severity::Critical,
            "read the group",
            "a worker ends as soon as it needs that",
        ),
        Role::Operator => (
            Severity::Warning,
            "remove dead letters",
            "some of what is done with dead letters fails",
        ),
        Role::Other => return None,
    };
    let user = &rights.user;
    let lacks = rights.missing.join(" ");
    let meaning = format!("the user {user} may {does}, and lacks {lacks}: {then}");
    let mut cure = ["redis-cli", "ACL", "SETUSER", user]
        .map(str::to_owned)
        .to_vec();
    cure.extend(rights.missing.iter().cloned());
    Some(Finding::new(FindingCode::MissingRights, severity, place, meaning).cure(cure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_missed_by_who_works_and_not_by_who_looks() {
        let judged = |role, missing: &[&str]| {
            let rights = Rights {
                user: "u".to_owned(),
                role,
                missing: missing.iter().map(|one| (*one).to_owned()).collect(),
            };
            let stream = StreamKey::new("orders").unwrap();
            super::missing(&Told::Yes(rights), &stream)
        };
        assert_eq!(judged(Role::Worker, &[]), None);
        assert_eq!(judged(Role::Other, &["+xadd"]), None);
        let found = judged(Role::Worker, &["+xclaim", "~orders:dlq"]).unwrap();
        assert_eq!(found.severity, Severity::Critical);
        let cure = ["redis-cli", "ACL", "SETUSER", "u", "+xclaim", "~orders:dlq"];
        assert_eq!(found.cure.unwrap(), cure);
        let found = judged(Role::Operator, &["+xdel"]).unwrap();
        assert_eq!(found.severity, Severity::Warning);
    }
}
