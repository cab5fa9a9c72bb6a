//! What a command may write where it is told to: nothing but its own earlier output is written over unasked, and a run's own
//! files never are.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::{AnyTable, Folder, RecordError};

/// What every run's folder has.
const CONFIG: &str = "config.toml";
/// What a run's folder has beside that, one of it at least, whichever program made it.
const BESIDE: [&str; 3] = ["legend.toml", "seal.toml", "checkpoints"];

/// Why something stays as it is.
const FOREIGN: &str = "was not written by this command; --force writes over it";

/// A command's output.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// What the command leaves in the first or the last bytes of its files.
    pub mark: &'static str,
    /// Whether what is not the command's may be written over.
    pub force: bool,
}

impl Output {
    /// Nothing, if a file may be written at `path`.
    ///
    /// # Errors
    /// When something is there that the command did not write, unless it is forced to; always when that is a part of a run,
    /// or a link to nothing. A folder is refused by whoever writes.
    pub fn check(self, path: &Path) -> Result<(), RecordError> {
        let occupied = |reason: String| Err(RecordError::Occupied { path: path.to_owned(), reason });
        if path.is_symlink() && !path.exists() {
            return occupied("is a link to nothing".to_owned());
        }
        if !path.is_file() {
            return Ok(());
        }
        match has_mark(path, self.mark).map_err(|error| RecordError::io("read", path, error))? {
            true => Ok(()),
            false => match run_around(path) {
                Some(run) => occupied(format!("is a part of the run {}", run.display())),
                None if self.force => Ok(()),
                None => occupied(FOREIGN.to_owned()),
            },
        }
    }
}

/// Nothing, if tables and figures of those names may be written to a folder.
///
/// # Errors
/// When there are others of those names and `force` is not given: a table is ours by its columns, and a figure if a table of
/// ours is beside it. Always when the folder is a run or lies in one.
pub fn check_folder(
    folder: &Folder,
    tables: &[Box<dyn AnyTable>],
    figures: &[&str],
    force: bool,
) -> Result<(), RecordError> {
    let occupied = |path: &Path, reason: String| Err(RecordError::Occupied { path: path.to_owned(), reason });
    check_outside_runs(folder.path())?;
    if force {
        return Ok(());
    }
    let mut any_ours = false;
    for table in tables {
        match table.is_ours()? {
            Some(false) => return occupied(&folder.path().join(table.file()), FOREIGN.to_owned()),
            ours => any_ours |= ours.is_some(),
        }
    }
    let files = figures.iter().flat_map(|name| ["svg", "png"].map(|kind| folder.path().join(format!("{name}.{kind}"))));
    match files.filter(|_| !any_ours).find(|path| path.exists()) {
        Some(figure) => occupied(&figure, FOREIGN.to_owned()),
        None => Ok(()),
    }
}

/// Nothing, if a folder is no run and lies in none.
///
/// # Errors
/// When it is or does.
pub fn check_outside_runs(folder: &Path) -> Result<(), RecordError> {
    let Some(run) = run_around(folder) else { return Ok(()) };
    let reason = format!("is a part of the run {}; name another folder", run.display());
    Err(RecordError::Occupied { path: folder.to_owned(), reason })
}

/// The run that `path` is or lies in, through links.
pub fn run_around(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let there = absolute.ancestors().find_map(|ancestor| ancestor.canonicalize().ok())?;
    let is_run = |folder: &&Path| folder.join(CONFIG).is_file() && BESIDE.iter().any(|name| folder.join(name).exists());
    there.ancestors().find(is_run).map(Path::to_owned)
}

fn has_mark(path: &Path, mark: &str) -> std::io::Result<bool> {
    /// Within which a mark must lie.
    const BYTES: u64 = 4096;
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    [0, len.saturating_sub(BYTES)].into_iter().try_fold(false, |found, start| {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(BYTES).read_to_end(&mut bytes)?;
        Ok(found || bytes.windows(mark.len()).any(|window| window == mark.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_has_the_mark_is_written_over_unasked() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let [asked, forced] = [false, true].map(|force| Output { mark: "made by a test", force });
        fs::write(path("own"), [&[0; 9000][..], b"made by a test", &[0; 300]].concat()).unwrap();
        fs::write(path("begins"), [b"made by a test", &[0; 9000][..]].concat()).unwrap();
        fs::write(path("own.npz"), "somebody's").unwrap();
        for free in ["nothing", "own", "begins", "."] {
            asked.check(&path(free)).unwrap();
        }
        let refusal = asked.check(&path("own.npz")).unwrap_err().to_string();
        assert!(
            refusal.contains("own.npz would be written over, but was not written by this command; --force"),
            "{refusal}"
        );
        forced.check(&path("own.npz")).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_and_runs_are_seen_through() {
        let place = tempfile::tempdir().unwrap();
        let run = place.path().join("run");
        fs::create_dir_all(run.join("export")).unwrap();
        // As an old program left it, without a legend.
        fs::write(run.join(CONFIG), "").unwrap();
        fs::create_dir(run.join("checkpoints")).unwrap();
        fs::write(run.join("cd.csv"), "step").unwrap();
        fs::write(run.join("export/own.npz"), "made by a test").unwrap();
        let link = |name: &str, to: &Path| std::os::unix::fs::symlink(to, place.path().join(name)).unwrap();
        link("to-table", &run.join("cd.csv"));
        link("to-run", &run);
        link("to-nothing", &place.path().join("absent"));
        let forced = Output { mark: "made by a test", force: true };
        for (name, words) in [
            ("run/cd.csv", "is a part of the run"),
            ("to-table", "is a part of the run"),
            ("to-run/cd.csv", "is a part of the run"),
            ("to-nothing", "is a link to nothing"),
        ] {
            let refusal = forced.check(&place.path().join(name)).unwrap_err().to_string();
            assert!(refusal.contains(words), "{name}: {refusal}");
        }
        for free in ["run/export/own.npz", "run/export/new.npz"] {
            forced.check(&place.path().join(free)).unwrap();
        }
        for (folder, free) in [("run", false), ("to-run/export", false), ("run/new/deeper", false), ("new", true)] {
            let folder = Folder::at(place.path().join(folder));
            assert_eq!(check_folder(&folder, &[], &[], true).is_ok(), free, "{}", folder.path().display());
        }
    }

    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Length {
        step: usize,
        metres: f64,
    }

    impl crate::Row for Length {
        const FILE: &'static str = "lengths.csv";

        fn step(&self) -> Option<usize> {
            Some(self.step)
        }
    }

    #[test]
    fn a_table_is_known_by_its_columns_and_a_figure_by_its_table() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path());
        let check = |force| check_folder(&folder, &[Box::new(folder.table::<Length>())], &["lengths"], force);
        check(false).unwrap();
        fs::write(place.path().join("lengths.png"), "somebody's").unwrap();
        assert!(check(false).unwrap_err().to_string().contains("lengths.png would be written over"));
        check(true).unwrap();
        fs::write(place.path().join("lengths.csv"), "step,feet\n").unwrap();
        assert!(check(false).unwrap_err().to_string().contains("lengths.csv would be written over"));
        folder.table().replace(&[Length { step: 0, metres: 1.0 }]).unwrap();
        check(false).unwrap();
    }
}
