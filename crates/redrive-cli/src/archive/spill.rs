//! The file that a full queue spills to: one gzip member after another, each a whole export.
//!
//! What was appended is on the disk before anybody is told so. Several processes of a machine may share a
//! file. A member that a crash cut off is found by the next one who opens the file, and put aside; nothing
//! else ever is.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redrive::{Appending, Bytes, Spill};
use rustix::fs::{FlockOperation, OFlags, flock};

use super::member;
use super::target::folder;
use crate::terminal::{note, shown};

/// How long another process may hold the file.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A file that dead letters are spilled to.
#[derive(Clone, Debug)]
pub(crate) struct SpillFile {
    path: PathBuf,
    known: Arc<Mutex<Option<Known>>>,
}

/// Up to where which file was seen to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    device: u64,
    inode: u64,
    end: u64,
}

impl SpillFile {
    /// The file at this path; makes it where it is missing, readable by its owner alone.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = Self {
            path: path.to_owned(),
            known: Arc::default(),
        };
        file.locked()?;
        Ok(file)
    }

    fn append_now(&self, export: &[u8]) -> io::Result<()> {
        let member = member::packed(export)?;
        let (mut file, known) = self.locked()?;
        let end = known.end;
        let written = file
            .seek(SeekFrom::Start(end))
            .and_then(|_| file.write_all(&member))
            .and_then(|()| file.sync_all())
            // A name that is not on the disk is no file after a power failure.
            .and_then(|()| match end {
                0 => sync_folder(&self.path),
                _ => Ok(()),
            })
            .and_then(|()| self.is_still_there(&known));
        if let Err(error) = written {
            // Half a member; where this fails too, the next one to open the file does it.
            let _ = file.set_len(end);
            return Err(error);
        }
        *self.known() = Some(Known {
            end: end + member.len() as u64,
            ..known
        });
        Ok(())
    }

    /// The file, no other process writing to it, and up to where it is whole: it ends there.
    fn locked(&self) -> io::Result<(File, Known)> {
        let file = opened(&self.path)?;
        let until = Instant::now() + PATIENCE;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(error.into());
            }
            if Instant::now() > until {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "another process has had the file locked for ten seconds",
                ));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let there = file.metadata()?;
        let mut known = Known {
            device: there.dev(),
            inode: there.ino(),
            end: there.len(),
        };
        self.is_still_there(&known)?;
        let before = *self.known();
        if before == Some(known) {
            return Ok((file, known));
        }
        // Members that were seen whole are not looked at again.
        let same = before.filter(|before| {
            (before.device, before.inode) == (known.device, known.inode) && before.end <= known.end
        });
        let start = same.map_or(0, |before| before.end);
        let end = member::whole_up_to(&file, start, known.end)?;
        if end < known.end {
            let aside = put_aside(&self.path, &file, end)?;
            file.set_len(end)?;
            file.sync_all()?;
            note(&format!(
                "{}: the last {} bytes are half an export, and were put aside in {}: after a crash of a worker what \
                 is in them is still in the queue; after anything else `redrive dlq import --salvage` reads what \
                 is whole",
                shown(&self.path.display().to_string()),
                known.end - end,
                shown(&aside.display().to_string())
            ));
        }
        known.end = end;
        *self.known() = Some(known);
        Ok((file, known))
    }

    /// What is written to a file that was moved or deleted meanwhile is not where it is looked for.
    fn is_still_there(&self, known: &Known) -> io::Result<()> {
        let there = std::fs::symlink_metadata(&self.path)?;
        if (there.dev(), there.ino()) == (known.device, known.inode) {
            return Ok(());
        }
        Err(io::Error::other("another file has come by this name"))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spill for SpillFile {
    fn append(&self, export: Bytes) -> Appending<'_> {
        let file = self.clone();
        Box::pin(async move {
            let appending = tokio::task::spawn_blocking(move || file.append_now(&export));
            appending
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)))
        })
    }
}

/// Opens it for reading and writing; never through a link, and never another's: what is in a dead letter is
/// not for everybody.
fn opened(path: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).mode(0o600);
    how.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    let mut file = how.open(path);
    if file
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::NotFound)
    {
        file = how.clone().create_new(true).open(path);
        if file
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::AlreadyExists)
        {
            // Somebody else was faster.
            file = how.open(path);
        }
    }
    let file = file.map_err(|error| match std::fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => {
            io::Error::new(error.kind(), "it is a link, which is not followed")
        }
        _ => error,
    })?;
    let there = file.metadata()?;
    if !there.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    if there.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "it belongs to another user",
        ));
    }
    Ok(file)
}

/// Keeps what the file holds from here on in one of its own, named after it: who cut the file nobody knows.
fn put_aside(path: &Path, mut file: &File, from: u64) -> io::Result<PathBuf> {
    for number in 1_u32.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".torn-{number}"));
        let aside = PathBuf::from(name);
        let mut how = OpenOptions::new();
        let made = how.write(true).create_new(true).mode(0o600).open(&aside);
        let mut torn = match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            made => made?,
        };
        let copied = file
            .seek(SeekFrom::Start(from))
            .and_then(|_| io::copy(&mut file, &mut torn))
            .and_then(|_| torn.sync_all())
            .and_then(|()| sync_folder(&aside));
        if let Err(error) = copied {
            // A half of a half is of no use, and would be there again with each try.
            let _ = std::fs::remove_file(&aside);
            return Err(error);
        }
        return Ok(aside);
    }
    Err(io::Error::other("too many files were put aside"))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(folder(path)) {
        Ok(folder) => folder.sync_all(),
        // Who may write in a folder need not be able to read it.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use flate2::{Compression, GzBuilder};

    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled.jsonl.gz");
        (folder, path)
    }

    fn read(path: &Path) -> String {
        let mut text = String::new();
        let mut from = flate2::read::MultiGzDecoder::new(File::open(path).unwrap());
        from.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_is_appended_comes_back_in_its_order() {
        let (_folder, path) = file();
        let spill = SpillFile::open(&path).unwrap();
        let other = SpillFile::open(&path).unwrap();
        spill.append_now(b"one\n").unwrap();
        other.append_now(b"two\n").unwrap();
        spill.append_now(b"three\n").unwrap();
        assert_eq!(read(&path), "one\ntwo\nthree\n");
        let rights = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(rights, 0o600);
    }

    #[test]
    fn wherever_a_crash_cuts_the_last_one_it_alone_is_put_aside() {
        let (folder, path) = file();
        SpillFile::open(&path)
            .unwrap()
            .append_now(b"one\n")
            .unwrap();
        let first = fs::metadata(&path).unwrap().len();
        SpillFile::open(&path)
            .unwrap()
            .append_now(b"two\n")
            .unwrap();
        let whole = fs::read(&path).unwrap();
        for end in first as usize..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            SpillFile::open(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), first, "{end}");
            let torn = folder.path().join("spilled.jsonl.gz.torn-1");
            let cut = &whole[first as usize..end];
            if cut.is_empty() {
                assert!(!torn.exists());
            } else {
                assert_eq!(fs::read(&torn).unwrap(), cut);
                fs::remove_file(torn).unwrap();
            }
        }
        fs::write(&path, &whole).unwrap();
        SpillFile::open(&path)
            .unwrap()
            .append_now(b"three\n")
            .unwrap();
        assert_eq!(read(&path), "one\ntwo\nthree\n");
    }

    #[test]
    fn members_of_other_makers_are_walked_by_unpacking_and_cut_alike() {
        let (_folder, path) = file();
        let foreign = |text: &[u8]| {
            let mut packer = GzBuilder::new()
                .filename("x")
                .write(Vec::new(), Compression::fast());
            packer.write_all(text).unwrap();
            packer.finish().unwrap()
        };
        let mut bytes = foreign(b"one\n");
        bytes.extend(member::packed(b"two\n").unwrap());
        bytes.extend(foreign(b"three\n"));
        fs::write(&path, &bytes).unwrap();
        SpillFile::open(&path)
            .unwrap()
            .append_now(b"four\n")
            .unwrap();
        assert_eq!(read(&path), "one\ntwo\nthree\nfour\n");
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        SpillFile::open(&path)
            .unwrap()
            .append_now(b"five\n")
            .unwrap();
        assert_eq!(read(&path), "one\ntwo\nfive\n");
    }

    #[test]
    fn what_is_no_spill_or_damaged_is_left_as_it_is() {
        let (_folder, path) = file();
        let mut broken = member::packed(b"one\n").unwrap();
        let last = broken.len() - 6;
        broken[last] ^= 1;
        let mut behind = member::packed(b"one\n").unwrap();
        behind.extend(b"and more");
        for bytes in [b"my diary\n".to_vec(), broken, behind] {
            fs::write(&path, &bytes).unwrap();
            let refused = SpillFile::open(&path).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidData, "{refused}");
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn a_link_a_folder_and_a_pipe_are_refused_and_nothing_is_made_behind_them() {
        let (folder, path) = file();
        let victim = folder.path().join("victim");
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let refused = SpillFile::open(&path).unwrap_err();
        assert!(refused.to_string().contains("it is a link"), "{refused}");
        assert!(!victim.exists());
        assert!(SpillFile::open(folder.path()).is_err());
        assert!(SpillFile::open(&folder.path().join("no").join("such")).is_err());
    }

    /// The bug that this prevents: a file that somebody had moved away and deleted was written to, the
    /// dead letters were removed, and were nowhere.
    #[test]
    fn a_file_that_was_moved_away_is_not_written_to() {
        let (folder, path) = file();
        let spill = SpillFile::open(&path).unwrap();
        spill.append_now(b"one\n").unwrap();
        let away = folder.path().join("away");
        fs::rename(&path, &away).unwrap();
        spill.append_now(b"two\n").unwrap();
        assert_eq!(
            (read(&away), read(&path)),
            ("one\n".to_owned(), "two\n".to_owned())
        );
    }

    #[test]
    fn several_at_once_lose_nothing() {
        let (_folder, path) = file();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let spill = SpillFile::open(&path).unwrap();
                scope.spawn(move || {
                    for turn in 0..25 {
                        let line = format!("{worker} {turn}\n");
                        spill.append_now(line.as_bytes()).unwrap();
                    }
                });
            }
        });
        assert_eq!(read(&path).lines().count(), 100);
    }
}
