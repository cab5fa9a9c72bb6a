//! From the `[task]` section of a configuration to a task of text.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Table;

use super::{BitwiseConfig, FileConfig, PartOfSpeechConfig, TextSettings, TextTask};
use crate::{TaskError, read_table};

/// A task of text as a configuration describes it.
///
/// ```
/// use data::{Place, Purpose, Stream, TextSampler, TextTaskConfig};
///
/// let toml = r#"
///     kind = "bitwise"
///     shots = [0, 4]
///     template = "Input: {input}\nOutput: {output}\n\n"
///     null = false
///     named = true
///     place = "prompt"
///     bits = 5
/// "#;
/// let config = TextTaskConfig::read(&toml.parse().unwrap()).unwrap();
/// assert_eq!(config.settings.place, Place::Prompt);
/// let task = config.build(&|_| unreachable!("no bitwise task reads a file")).unwrap();
/// let sampler = TextSampler::new(task, Stream::new(0, Purpose::Probe));
/// let prompts = sampler.balanced(0, 10);
/// assert_eq!(prompts[0].instruction.as_deref(), Some("Bitwise AND"));
/// assert_eq!(prompts[0].pairs.len(), 5);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TextTaskConfig {
    /// What every task of text is told.
    pub settings: TextSettings,
    /// Which task it is, with its own fields.
    pub kind: TextKind,
}

/// The tasks of text, by the `kind` in their configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum TextKind {
    /// `bitwise`: an operator on two strings of bits.
    Bitwise(BitwiseConfig),
    /// `part_of_speech`: the first word of a class in a sentence.
    PartOfSpeech(PartOfSpeechConfig),
    /// `file`: prompts of your own.
    File(FileConfig),
}

/// A file that a task is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    /// Where it is, which is what messages call it. A single file has the very path that was asked for, and one of a folder
    /// a longer path: a folder may have files that are no part of a corpus, a single file may not.
    pub path: PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Reads all files at a path: the one file, or those of a folder, sorted by name. This crate opens no file itself.
pub type ReadFiles<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<TextFile>>;

impl TextTaskConfig {
    /// The known kinds, in alphabetical order.
    pub const KINDS: [&'static str; 3] = ["bitwise", "file", "part_of_speech"];

    /// Reads a `[task]` section and checks the fields that need no file.
    ///
    /// # Errors
    /// When `kind` is missing or unknown, a field is missing, unknown or of another type, or a value is out of range.
    pub fn read(table: &Table) -> Result<Self, TaskError> {
        let mut own = table.clone();
        let kind = match own.remove("kind") {
            Some(toml::Value::String(kind)) => kind,
            Some(other) => return Err(TaskError::out_of_range("task.kind", "a string", other)),
            None => return Err(TaskError::Shape { reason: "task: missing field `kind`".to_owned() }),
        };
        let shape = |reason| TaskError::Shape { reason };
        let of_kind = |reason: String| match reason.contains("unknown field") {
            true => shape(format!("{reason}, or as in every task of text `{}`", TextSettings::FIELDS.join("`, `"))),
            false => shape(reason),
        };
        let known = Self::KINDS.join(", ");
        let is_common = |name: &str| TextSettings::FIELDS.contains(&name);
        let common = own.iter().filter(|(name, _)| is_common(name)).map(|(name, value)| (name.clone(), value.clone()));
        let common: Table = common.collect();
        own.retain(|name, _| !is_common(name));
        let kind = match kind.as_str() {
            "bitwise" => TextKind::Bitwise(read_table(own, "task").map_err(of_kind)?),
            "file" => TextKind::File(read_table(own, "task").map_err(of_kind)?),
            "part_of_speech" => TextKind::PartOfSpeech(read_table(own, "task").map_err(of_kind)?),
            _ => return Err(TaskError::UnknownKind { kind, known }),
        };
        let settings: TextSettings = read_table(common, "task").map_err(shape)?;
        settings.check()?;
        match &kind {
            TextKind::Bitwise(bitwise) => bitwise.check()?,
            TextKind::PartOfSpeech(part_of_speech) => part_of_speech.check()?,
            TextKind::File(_) => {}
        }
        Ok(Self { settings, kind })
    }

    /// What [`build`](Self::build) reads; nothing where the task is made from no file.
    pub fn path(&self) -> Option<&Path> {
        match &self.kind {
            TextKind::Bitwise(_) => None,
            TextKind::PartOfSpeech(part_of_speech) => Some(&part_of_speech.corpus),
            TextKind::File(file) => Some(&file.file),
        }
    }

    /// The task, made from the files that `read` finds at [`path`](Self::path).
    ///
    /// # Errors
    /// When the files cannot be read, or no task can be made from what they hold.
    pub fn build(&self, read: ReadFiles<'_>) -> Result<Arc<dyn TextTask>, TaskError> {
        let files = |field: &'static str, path: &Path| {
            read(path).map_err(|error| TaskError::material(field, path.display(), format!("cannot be read: {error}")))
        };
        let settings = &self.settings;
        Ok(match &self.kind {
            TextKind::Bitwise(bitwise) => Arc::new(bitwise.build(settings)),
            TextKind::PartOfSpeech(it) => Arc::new(it.build(settings, files("task.corpus", &it.corpus)?)?),
            TextKind::File(it) => Arc::new(it.build(settings, files("task.file", &it.file)?)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Place, WordClass};

    const COMMON: &str = "shots = [0, 4, 10]\ntemplate = \"In: {input}\\nOut: {output}\\n\"\nnull = true\nnamed = false\n\
        place = \"answer\"\n";

    fn read(own: &str) -> Result<TextTaskConfig, TaskError> {
        TextTaskConfig::read(&format!("{COMMON}{own}").parse().unwrap())
    }

    /// Why the task `bitwise` is refused when `from` in its table is `to`.
    fn refused(from: &str, to: &str) -> String {
        let table = format!("{COMMON}kind = \"bitwise\"\nbits = 5\n").replace(from, to);
        TextTaskConfig::read(&table.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_is_read_with_the_settings_that_all_have() {
        let bitwise = read("kind = \"bitwise\"\nbits = 5").unwrap();
        assert_eq!(bitwise.kind, TextKind::Bitwise(BitwiseConfig { bits: 5 }));
        let TextSettings { shots, null, named, place, .. } = &bitwise.settings;
        assert_eq!((shots.as_slice(), *null, *named, *place), ([0, 4, 10].as_slice(), true, false, Place::Answer));
        assert_eq!((bitwise.settings.n_points(), bitwise.path()), (11, None));
        let words = read("kind = \"part_of_speech\"\ncorpus = \"brown\"\nclasses = [\"noun\", \"verb\"]").unwrap();
        let classes = vec![WordClass::Noun, WordClass::Verb];
        assert_eq!(words.kind, TextKind::PartOfSpeech(PartOfSpeechConfig { corpus: "brown".into(), classes }));
        let file = read("kind = \"file\"\nfile = \"mine.jsonl\"").unwrap();
        assert_eq!(file.path(), Some(Path::new("mine.jsonl")));
    }

    #[test]
    fn what_is_wrong_has_its_path() {
        let shots = "task.shots must be a list of at least one number between 0 and 64, ascending and without repeats";
        for (from, to, message) in [
            ("kind = \"bitwise\"", "", "task: missing field `kind`"),
            ("bitwise", "maths", "task.kind must be one of bitwise, file, part_of_speech, but is \"maths\""),
            ("bits = 5", "", "task: missing field `bits`"),
            ("bits = 5", "bits = 33", "task.bits must be between 1 and 32, but is 33"),
            ("bits = 5", "bits = 5\ncolour = 1", "task: unknown field `colour`"),
            ("bits = 5", "bits = 5\ncorpus = \"brown\"", "task: unknown field `corpus`"),
            ("null = true", "", "task: missing field `null`"),
            ("null = true", "null = 1", "task.null must be a boolean, but is 1"),
            ("\"answer\"", "\"end\"", "task.place: unknown variant `end`, expected `prompt` or `answer`"),
            ("{input}", "{inptu}", "task.template must be {input}, then some text"),
            ("[0, 4, 10]", "[]", shots),
            ("[0, 4, 10]", "[4, 4]", shots),
            ("[0, 4, 10]", "[4, 0]", shots),
            ("[0, 4, 10]", "[65]", shots),
            ("[0, 4, 10]", "[-1]", "task.shots[0] must be a whole number of at least 0, but is -1"),
        ] {
            assert!(refused(from, to).starts_with(message), "{to}: {}", refused(from, to));
        }
        for (classes, message) in [
            ("[\"noun\"]", "task.classes must be a list of at least two classes without repeats, but is [\"noun\"]"),
            ("[\"noun\", \"noun\"]", "task.classes must be a list of at least two classes without repeats"),
            ("[\"noun\", \"article\"]", "task.classes[1]: unknown variant `article`"),
        ] {
            let own = format!("kind = \"part_of_speech\"\ncorpus = \"brown\"\nclasses = {classes}");
            let error = read(&own).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_path_that_cannot_be_read_is_named_with_its_reason() {
        let config = read("kind = \"file\"\nfile = \"mine.jsonl\"").unwrap();
        let error = config.build(&|_| Err(io::Error::other("the disk is gone"))).unwrap_err();
        assert_eq!(error.to_string(), "task.file: mine.jsonl cannot be read: the disk is gone");
    }
}
