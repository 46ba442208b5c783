//! The library's scripts, as it sends them.

use std::sync::LazyLock;

use redrive_testkit::{library_scripts, scripts};

/// Those that cannot stand by themselves are no scripts, and the server says so.
pub(super) fn texts() -> &'static [String] {
    static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let texts = scripts(library_scripts()).unwrap().into_iter();
        texts.map(|(_, text)| text).collect()
    });
    &TEXTS
}
