//! The real binary, built once for the whole sweep.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Beside the binaries of this crate: the same folder, the same profile.
pub(super) fn redrive() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let beside = Path::new(env!("CARGO_BIN_EXE_sweep-worker"));
        let folder = beside.parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "-p", "redrive-cli", "--bin", "redrive"]);
        // What cargo tells the test about itself would make it build the dependencies anew that look at it.
        let told = std::env::vars_os().map(|(name, _)| name);
        for name in told.filter(|name| is_of_this_run(&name.to_string_lossy())) {
            build.env_remove(name);
        }
        if folder.ends_with("release") {
            build.arg("--release");
        }
        build.arg("--target-dir").arg(folder.parent().unwrap());
        assert!(build.status().unwrap().success(), "building redrive");
        folder.join("redrive")
    });
    &BUILT
}

fn is_of_this_run(name: &str) -> bool {
    let stays = ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE"];
    (name.starts_with("CARGO") && !stays.contains(&name)) || name.starts_with("NEXTEST")
}
