//! Fuzz of the URLs of servers.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use redrive_testkit::fuzz_bytes;

use super::super::Tls;
use super::super::connection::Address;
use super::SECRET;
use crate::error::ErrorKind;

/// The parts of URLs, in any order, the password wherever it may have slipped to.
fn urls() -> impl Strategy<Value = String> {
    let parts = [
        "redis",
        "rediss",
        "unix",
        "redis+unix",
        "http",
        "valkey",
        "memory",
        ":",
        "/",
        "//",
        "://",
        "@",
        "?",
        "#",
        "&",
        "=",
        "%",
        "%2F",
        "%zz",
        "[",
        "]",
        "[::1]",
        "host",
        "127.0.0.1",
        "6379",
        "65536",
        "-1",
        "0",
        "15",
        "db",
        "user",
        "pass",
        "protocol",
        "resp3",
        "insecure",
        " ",
        "é",
        "\0",
        "\n",
        SECRET,
    ];
    let soup = vec(select(parts.to_vec()), 0..12).prop_map(|parts| parts.concat());
    let schemes = select(vec!["redis", "rediss", "unix", "redis+unix"]);
    let nearly = (schemes, "[a-z%:@/?#]{0,3}", "[a-z0-9./:\\[\\]%@?#&=]{0,14}");
    let nearly = nearly
        .prop_map(|(scheme, slip, rest)| format!("{scheme}://user:{slip}{SECRET}{slip}@{rest}"));
    prop_oneof![soup, nearly, "\\PC{0,20}"]
}

/// Whatever is taken for a URL: nothing panics, a refusal is the user's to mend and has a cure, and
/// neither it nor the address that is shown holds the password.
#[test]
fn fuzz_of_server_urls_panics_0() {
    let read = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    fuzz_bytes("server URLs", &urls(), read, |url| {
        match Address::parse(&url, &Tls::default()) {
            Ok(address) => {
                // A password in the place of the host is a host.
                let is_password = url.contains("://user:") && !url.contains("unix");
                let shown = format!("{address:?}");
                prop_assert!(
                    !is_password || !shown.contains(SECRET),
                    "{} is shown",
                    shown
                );
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Invalid);
                prop_assert!(error.cure().is_some());
                let told = format!("{error} {error:?}");
                prop_assert!(!told.contains(SECRET), "{}", told);
            }
        }
        Ok(())
    });
}
