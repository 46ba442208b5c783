//! The library's scripts, as they are sent.

use std::path::Path;
use std::{fs, io};

/// What the library puts in front of some of its scripts.
const FRONTS: [&[&str]; 4] = [
    &[],
    &["shared", "burial"],
    &["shared", "burial", "quarantine"],
    &["enlist"],
];

/// The folder of the library's scripts.
pub fn library_scripts() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../redrive/src/redis/scripts"
    ))
}

/// Name and text of each script in a folder: by itself, and behind each of what the library may put in front of it. Which
/// of these is sent is the library's affair.
///
/// # Errors
///
/// If the folder, or a file in it, cannot be read.
pub fn scripts(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let text = |name: &&str| {
        let text = fs::read_to_string(folder.join(name).with_extension("lua"));
        format!("{}\n", text.unwrap_or_default())
    };
    let fronts = FRONTS.map(|front| front.iter().map(text).collect::<String>());
    let mut scripts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "lua") {
            let text = fs::read_to_string(&path)?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let texts = fronts.iter().map(|front| format!("{front}{text}"));
            scripts.extend(texts.map(|text| (name.clone().into_owned(), text)));
        }
    }
    Ok(scripts)
}
