//! Scalars as TensorBoard's event files.

use std::collections::BTreeMap;
use std::path::Path;

use crc32c::crc32c;

use crate::{Output, RecordError, write_together};

/// What the first event of a file says of its format.
const FILE_VERSION: &str = "brain.Event:2";

/// Scalars by the step that they belong to, each with its tag.
pub type Scalars = BTreeMap<u64, Vec<(String, f32)>>;

/// Writes an event file: one event for each step, with all its scalars. Nothing in it depends on the clock: the wall time of
/// an event, in seconds since 1970, is its step. The mark of `output` is the name of the writer in the first event.
///
/// # Errors
/// When something is at `path` that may not be written over, or the disk fails.
///
/// # Source
/// `event.proto` and `summary.proto` of TensorBoard; `record_writer.h` of TensorFlow for the frame around a message.
pub fn write_events(path: &Path, output: Output, scalars: &Scalars) -> Result<(), RecordError> {
    output.check(path)?;
    let mut bytes = framed(&beginning(output.mark));
    for (step, scalars) in scalars {
        bytes.extend(framed(&event(*step, scalars)));
    }
    write_together(&[(path, bytes)])
}

/// The event that every file begins with: `file_version` (3) and `source_metadata` (10) with `writer` (1).
fn beginning(writer: &str) -> Vec<u8> {
    let source = Message::default().text(1, writer.as_bytes());
    Message::default().text(3, FILE_VERSION.as_bytes()).text(10, &source.0).0
}

/// An event with `wall_time` (1), `step` (2) and `summary` (5), in which each `value` (1) has `tag` (1) and `simple_value` (2).
fn event(step: u64, scalars: &[(String, f32)]) -> Vec<u8> {
    let summary = scalars.iter().fold(Message::default(), |summary, (tag, scalar)| {
        summary.text(1, &Message::default().text(1, tag.as_bytes()).float(2, *scalar).0)
    });
    Message::default().double(1, step as f64).whole(2, step).text(5, &summary.0).0
}

/// A protocol buffer on its way: fields by their numbers, each behind a key of number and kind.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn whole(self, field: u64, value: u64) -> Self {
        self.varint(field << 3).varint(value)
    }

    fn double(self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | 1).bytes(&value.to_le_bytes())
    }

    /// Text, or a message in this one.
    fn text(self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2).varint(value.len() as u64).bytes(value)
    }

    fn float(self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5).bytes(&value.to_le_bytes())
    }

    /// Seven bits a byte, the lowest first; the eighth says that more come.
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 1 << 7 {
            self.0.push(value as u8 | 1 << 7);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

/// A message with its length before it, and a checksum behind each of the two.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let [of_length, of_message] = [&length, message].map(|bytes| masked(crc32c(bytes)).to_le_bytes());
    [&length, &of_length[..], message, &of_message].concat()
}

/// A checksum that may stand among the bytes that another one is of.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by TensorBoard 2.21: `RecordWriter`, and `SerializeToString` of its events.
    #[test]
    fn files_are_what_tensorboard_writes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.tfevents");
        let scalars = vec![("training.loss".to_owned(), 0.25), ("cd.score/layer=1".to_owned(), -1.5)];
        let output = Output { mark: "a test", force: false };
        write_events(&path, output, &BTreeMap::from([(300, scalars)])).unwrap();
        let expected: &[u8] = b"\x19\0\0\0\0\0\0\0\x8b\xf1\x08(\x1a\rbrain.Event:2R\x08\n\x06a testf\x0ew*\
            =\0\0\0\0\0\0\0`I\xf1\xec\t\0\0\0\0\0\xc0r@\x10\xac\x02*/\n\x14\n\rtraining.loss\x15\0\0\x80>\
            \n\x17\n\x10cd.score/layer=1\x15\0\0\xc0\xbfN\xe5\x0f\x05";
        assert_eq!(std::fs::read(path).unwrap(), expected);
    }
}
