//! A file that is made: nobody sees it before it is whole, and nobody's file is overwritten unasked.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::random;
use crate::failure::Failure;

/// Whether a file that is there may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Kept,
    Replaced,
}

/// A file that is being made: under a name of its own beside where it will be, gone again if it is
/// dropped.
pub(crate) struct Target {
    path: PathBuf,
    beside: PathBuf,
    existing: Existing,
    file: File,
    whole: bool,
}

impl Target {
    /// Whether there is room for it under this name, without making anything.
    pub(crate) fn check(path: &Path, existing: Existing) -> Result<(), Failure> {
        if path.file_name().is_none() {
            return Err(Failure::usage(format!("{} names no file", path.display()))
                .hint("--to takes the name of the file to make"));
        }
        // Not through a link: what it leads to is somebody else's.
        let there = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            there => there.map_err(|error| failed("looking for", path, &error))?,
        };
        match existing {
            Existing::Kept => Err(exists(path)),
            Existing::Replaced if there.is_file() || there.is_symlink() => Ok(()),
            Existing::Replaced => Err(Failure::new(format!(
                "{} is no file that can be replaced",
                path.display()
            ))
            .hint("for a pipe or a device say --to -, and send stdout there")),
        }
    }

    /// Begins it: readable by its owner alone.
    pub(crate) fn create(path: &Path, existing: Existing) -> Result<Self, Failure> {
        Self::check(path, existing)?;
        let beside = folder(path).join(format!(".redrive-{}", random()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .map_err(|error| {
                failed("making a file beside", path, &error)
                    .hint("its folder has to be there, and to be writable")
            })?;
        Ok(Self {
            path: path.to_owned(),
            beside,
            existing,
            file,
            whole: false,
        })
    }

    /// Where what is in it is written to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, now that it is whole, and answers its size. Where another has come by that
    /// name meanwhile, that one stays.
    pub(crate) fn publish(mut self) -> Result<u64, Failure> {
        let path = self.path.clone();
        let failing = |error: io::Error| failed("writing", &path, &error);
        self.file.sync_all().map_err(failing)?;
        let size = self.file.metadata().map_err(failing)?.len();
        match self.existing {
            Existing::Replaced => fs::rename(&self.beside, &path).map_err(failing)?,
            Existing::Kept => self.take_the_name().map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => exists(&path),
                _ => failing(error),
            })?,
        }
        self.whole = true;
        // The name survives a power failure only when the folder has; who may write in a folder need not be
        // able to read it.
        if let Ok(folder) = File::open(folder(&path)) {
            folder.sync_all().map_err(failing)?;
        }
        Ok(size)
    }

    /// A second name, then without the first: unlike a renaming this never replaces.
    fn take_the_name(&self) -> io::Result<()> {
        match fs::hard_link(&self.beside, &self.path) {
            Ok(()) => fs::remove_file(&self.beside),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
            // A file system without second names: what comes between these two is lost.
            Err(_) => match fs::symlink_metadata(&self.path) {
                Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(&self.beside, &self.path),
            },
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.whole {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != OsStr::new("") => parent,
        _ => Path::new("."),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(format!("{} is there already", path.display()))
        .hint("name another file, or say --force to replace it")
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{doing} {}: {error}", path.display()))
}
