//! Numbers as NumPy's archives.

use std::io::{Cursor, Result as IoResult, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::{Output, RecordError, write_together};

/// Arrays on their way into an `.npz` file.
pub struct Npz {
    path: std::path::PathBuf,
    archive: ZipWriter<Cursor<Vec<u8>>>,
}

/// A number as NumPy has it.
pub trait Number {
    /// Its type by NumPy's name.
    const TYPE: &'static str;
    /// Its bytes, the lowest first.
    fn append_to(self, bytes: &mut Vec<u8>);
}

macro_rules! number {
    ($type:ty, $name:literal) => {
        impl Number for $type {
            const TYPE: &'static str = $name;
            fn append_to(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    };
}
number!(f32, "<f4");
number!(f64, "<f8");
number!(i64, "<i8");

impl Npz {
    /// Writes the arrays that `fill` adds, with the mark of `output` as the archive's comment. They are an archive in memory
    /// first, since one in a file is finished when it is dropped, where nobody hears that the disk is full.
    ///
    /// # Errors
    /// When something is at `path` that may not be written over, the disk fails, or `fill` does.
    pub fn write(
        path: &Path,
        output: Output,
        fill: impl FnOnce(&mut Self) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        output.check(path)?;
        let mut npz = Self { path: path.to_owned(), archive: ZipWriter::new(Cursor::default()) };
        npz.archive.set_comment(output.mark);
        fill(&mut npz)?;
        let bytes = npz.archive.finish().map_err(|error| RecordError::io("write", path, error.into()))?.into_inner();
        write_together(&[(path, bytes)])
    }

    /// Adds an array as `numpy.savez` does: a file `name.npy`, not compressed, of a header and the numbers.
    ///
    /// # Errors
    /// When the archive cannot be written.
    ///
    /// # Source
    /// NumPy's `numpy.lib.format`, version 1.0: the header is a Python dictionary behind ten bytes that say what comes,
    /// filled with spaces so that the numbers begin at a multiple of 64.
    pub fn array<T: Number>(
        &mut self,
        name: &str,
        shape: &[usize],
        values: impl Iterator<Item = T>,
    ) -> Result<(), RecordError> {
        self.add(name, shape, values).map_err(|error| RecordError::io("write", &self.path, error))
    }

    fn add<T: Number>(&mut self, name: &str, shape: &[usize], values: impl Iterator<Item = T>) -> IoResult<()> {
        let lengths: String = shape.iter().map(|length| format!("{length}, ")).collect();
        let header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({lengths}), }}", T::TYPE);
        let filled = (header.len() + 11).next_multiple_of(64) - 11;
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(filled + 1).map_err(std::io::Error::other)?.to_le_bytes());
        bytes.extend(format!("{header:<filled$}\n").bytes());
        let begin = bytes.len();
        values.for_each(|value| value.append_to(&mut bytes));
        debug_assert_eq!(bytes.len() - begin, shape.iter().product::<usize>() * size_of::<T>(), "{name} has its shape");
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        self.archive.start_file(format!("{name}.npy"), stored.large_file(bytes.len() > 1 << 31))?;
        self.archive.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_what_numpy_writes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.npz");
        Npz::write(&path, Output { mark: "made by a test", force: false }, |npz| {
            npz.array("a", &[2, 1], [1.5_f32, -2.0].into_iter())?;
            npz.array("k", &[], std::iter::once(10_i64))
        })
        .unwrap();
        let archive = std::fs::read(path).unwrap();
        let mut expected =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, ), }".to_vec();
        expected.resize(127, b' ');
        expected.extend(b"\n\x00\x00\xc0\x3f\x00\x00\x00\xc0");
        let contains = |bytes: &[u8]| archive.windows(bytes.len()).any(|window| window == bytes);
        assert!(contains(&expected) && contains(b"a.npy") && contains(b"k.npy"));
        assert!(contains(b"'shape': (), }") && contains(b"\n\x0a\0\0\0\0\0\0\0"));
    }
}
