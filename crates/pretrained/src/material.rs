//! What a run is made of beside its configuration, known by its contents: corpora, and the folders of its models.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use record::{Folder, Seal};
use sha2::{Digest, Sha256};

use crate::PretrainedError;

/// Bytes that are hashed by one thread at a time.
const PIECE: u64 = 1 << 24;

/// SHA-256 of what lies at each path, by the path.
pub(crate) type Material = BTreeMap<String, String>;

/// The material at some paths: files, or folders with all their files that `belongs` takes.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn material<'a>(
    paths: impl IntoIterator<Item = &'a PathBuf>,
    belongs: fn(&Path) -> bool,
) -> Result<Material, PretrainedError> {
    let of = |path: &'a PathBuf| {
        let files = files_at(path).map_err(|error| PretrainedError::io("read", path, error))?;
        let files: Vec<PathBuf> = files.into_iter().filter(|file| file == path || belongs(file)).collect();
        Ok((path.display().to_string(), digest(&files)?))
    };
    paths.into_iter().map(of).collect()
}

/// Checks that material is what the run in `folder` was made of; what its seal does not mention may be anything.
///
/// # Errors
/// When it was changed since. Names it, and says what to do.
pub(crate) fn check(folder: &Folder, found: &Material) -> Result<(), PretrainedError> {
    let sealed = Seal::read(folder)?.map(|seal| seal.files().clone()).unwrap_or_default();
    let changed = found.iter().find(|(path, found)| sealed.get(*path).is_some_and(|sealed| sealed != *found));
    let Some((path, found)) = changed else { return Ok(()) };
    let reason = format!(
        "its SHA-256 must be {}, as when {} was made, but is {found}; put back what was there, or measure it as a run of \
         its own with another name: lm measure --set name=NAME",
        sealed[path],
        folder.path().display(),
    );
    Err(PretrainedError::file(Path::new(path), reason))
}

/// The file at a path, or all files of the folder there by name, but for hidden ones, which systems put there by themselves.
pub(crate) fn files_at(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    let is_hidden = |file: &Path| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    files.retain(|file| file.is_file() && !is_hidden(file));
    files.sort();
    Ok(files)
}

/// SHA-256 of the names and contents of files: of the digests of their pieces, several of which are read at a time.
fn digest(files: &[PathBuf]) -> Result<String, PretrainedError> {
    let mut pieces = Vec::new();
    let mut whole = Sha256::new();
    for file in files {
        let length = fs::metadata(file).map_err(|error| PretrainedError::io("read", file, error))?.len();
        whole.update(format!("{:?} {length}\n", file.file_name().unwrap_or_default()));
        pieces.extend((0..length).step_by(PIECE as usize).map(|start| (file, start)));
    }
    let of_piece = |(file, start): (&PathBuf, u64)| {
        let read = || {
            let (mut opened, mut bytes) = (File::open(file)?, Vec::new());
            opened.seek(SeekFrom::Start(start))?;
            opened.take(PIECE).read_to_end(&mut bytes)?;
            Ok(Sha256::digest(bytes))
        };
        read().map_err(|error| PretrainedError::io("read", file, error))
    };
    let digests: Vec<_> = pieces.into_par_iter().map(of_piece).collect::<Result<_, _>>()?;
    digests.iter().for_each(|digest| whole.update(digest));
    Ok(record::hex(&whole.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_and_a_name_are_seen_and_what_does_not_belong_is_not() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().to_owned();
        let of = || material([&folder], |file| file.extension().is_some_and(|kind| kind == "txt")).unwrap();
        fs::write(folder.join("one.txt"), vec![1; PIECE as usize + 5]).unwrap();
        let before = of();
        fs::write(folder.join("other.md"), "note").unwrap();
        fs::write(folder.join(".hidden.txt"), "note").unwrap();
        assert_eq!(of(), before);
        fs::rename(folder.join("one.txt"), folder.join("two.txt")).unwrap();
        let renamed = of();
        assert_ne!(renamed, before);
        let mut bytes = fs::read(folder.join("two.txt")).unwrap();
        bytes[PIECE as usize + 4] = 2;
        fs::write(folder.join("two.txt"), bytes).unwrap();
        assert_ne!(of(), renamed);
    }
}
