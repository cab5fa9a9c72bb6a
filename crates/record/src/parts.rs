//! What was finished of work that was stopped.

use std::fs;

use crate::files::{partial, remove_folder, rename, writing};
use crate::{Folder, Maker, RecordError};

const MAKER: &str = "maker.toml";

/// What the name of a folder of parts begins with, before the command.
const UNFINISHED: &str = "unfinished-";

/// The finished parts of work that is not whole yet: a folder each, in one beside the tables that the work is to write.
#[derive(Clone, Debug)]
pub struct Parts {
    folder: Folder,
    maker: Maker,
}

impl Parts {
    /// Those that `maker` finished in `folder`. Those of the same command by another maker go.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(folder: &Folder, maker: &Maker) -> Result<Self, RecordError> {
        let inside = Folder::at(folder.path().join(format!("{UNFINISHED}{}", maker.command)));
        let parts = Self { folder: inside, maker: maker.clone() };
        let made_by = parts.folder.read_toml::<Maker>(MAKER).ok().flatten();
        if made_by.as_ref() != Some(maker) {
            parts.remove()?;
        }
        Ok(parts)
    }

    /// The folder of a part that was finished.
    pub fn get(&self, part: &str) -> Option<Folder> {
        let path = self.folder.path().join(part);
        path.exists().then(|| Folder::at(path))
    }

    /// Adds a part, in the place of one of that name.
    ///
    /// # Errors
    /// When the disk or `fill` fails; the part is not there then.
    pub fn add(&self, part: &str, fill: impl FnOnce(&Folder) -> Result<(), RecordError>) -> Result<(), RecordError> {
        let path = self.folder.path().join(part);
        let partial = partial(&path);
        for before in [&partial, &path].into_iter().filter(|before| before.exists()) {
            remove_folder(before)?;
        }
        if !self.folder.path().exists() {
            Folder::create(self.folder.path())?.write_toml(MAKER, &self.maker)?;
        }
        // Not held while `fill` writes, which holds it itself: a program that is about to leave would let neither go on.
        fill(&Folder::create(&partial)?)?;
        let _writing = writing();
        rename(&partial, &path)
    }

    /// Removes all of them, once the work is whole or is to begin anew.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self) -> Result<(), RecordError> {
        if self.folder.path().exists() { remove_folder(self.folder.path()) } else { Ok(()) }
    }
}

/// Removes the finished parts of every command in `folder`.
///
/// # Errors
/// When the disk fails.
pub fn remove_unfinished(folder: &Folder) -> Result<(), RecordError> {
    let path = folder.path();
    let entries = fs::read_dir(path).map_err(|error| RecordError::io("read", path, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| RecordError::io("read", path, error))?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            remove_folder(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::files::WRITING;

    #[test]
    fn only_the_same_maker_goes_on_from_finished_parts() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path());
        let [cd, sites] = ["cd", "sites"].map(Maker::this_program);
        let other = Maker { options: "step = [0]".parse().unwrap(), ..cd.clone() };
        let open = |maker| Parts::open(&folder, maker).unwrap();
        open(&cd).add("one", |part| part.write("rows", b"1")).unwrap();
        open(&sites).add("one", |part| part.write("rows", b"2")).unwrap();
        let rows = |parts: Parts| parts.get("one").map(|part| fs::read(part.path().join("rows")).unwrap());
        assert_eq!([&cd, &sites].map(|maker| rows(open(maker))), [Some(b"1".to_vec()), Some(b"2".to_vec())]);
        assert_eq!(rows(open(&other)), None);
        assert_eq!(rows(open(&cd)), None);
        for remove in [|parts: Parts, _: &Folder| parts.remove(), |_: Parts, folder: &Folder| remove_unfinished(folder)]
        {
            open(&sites).add("one", |part| part.write("rows", b"2")).unwrap();
            remove(open(&sites), &folder).unwrap();
            assert!(fs::read_dir(place.path()).unwrap().next().is_none());
        }
    }

    #[test]
    fn a_part_is_whole_or_not_there() {
        let place = tempfile::tempdir().unwrap();
        let parts = Parts::open(&Folder::at(place.path()), &Maker::this_program("cd")).unwrap();
        let cut = parts.add("one", |part| {
            part.write("rows", b"1")?;
            Err(RecordError::malformed(place.path(), "what stops it"))
        });
        assert!(cut.is_err() && parts.get("one").is_none());
        parts.add("one", |part| part.write("rows", b"2")).unwrap();
        assert!(parts.get("one").is_some());
    }

    #[test]
    fn a_program_that_waits_to_leave_does_not_stop_a_part_half_way() {
        let place = tempfile::tempdir().unwrap();
        let parts = Parts::open(&Folder::at(place.path()), &Maker::this_program("cd")).unwrap();
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            let added = parts.add("one", |part| {
                std::thread::spawn(|| drop(WRITING.write()));
                std::thread::sleep(Duration::from_millis(200));
                part.write("rows", b"1")
            });
            done.send(added.is_ok())
        });
        assert_eq!(is_done.recv_timeout(Duration::from_secs(30)), Ok(true));
    }
}
