//! One running generator, and how it is spoken to.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::{USABLE, is_usable};
use crate::{Concept, ConceptId, Draws, Prompt, PromptShape, Purpose};

/// Characters of a line that a generator answers, at most; a program of another kind may never end one.
const LONGEST_LINE: u64 = 1 << 16;

/// What prompts are drawn for, by its name in a request.
const PURPOSES: [(&str, Purpose); 4] =
    [("train", Purpose::Train), ("eval", Purpose::Eval), ("probe", Purpose::Probe), ("patch", Purpose::Patch)];

pub(super) fn purpose_named(name: &str) -> Option<Purpose> {
    PURPOSES.iter().find(|(known, _)| *known == name).map(|(_, purpose)| *purpose)
}

/// Concepts of a task, at most.
const MOST_CONCEPTS: usize = 4096;

/// Source: <https://learn.microsoft.com/windows/win32/procthread/process-creation-flags>.
#[cfg(windows)]
const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;

/// A generator that was started and has said what it draws.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<Patient>,
}

/// How long an answer may take. A generator that does not flush what it writes takes for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that a thread of its own reads, which are waited for so long and no longer.
#[derive(Debug)]
struct Patient {
    bytes: Receiver<Vec<u8>>,
    patience: Duration,
    /// Those that came and were not taken yet.
    rest: Vec<u8>,
}

impl Patient {
    fn new(mut answers: ChildStdout, patience: Duration) -> std::io::Result<Self> {
        let (sender, bytes) = sync_channel(4);
        let read = move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = answers.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().spawn(read)?;
        Ok(Self { bytes, patience, rest: Vec::new() })
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() {
            match self.bytes.recv_timeout(self.patience) {
                Ok(bytes) => self.rest = bytes,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => return Err(ErrorKind::TimedOut.into()),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

/// What a generator says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    pub(super) version: String,
    pub(super) shape: PromptShape,
    pub(super) concepts: Vec<Concept>,
}

impl Worker {
    /// Starts `command` in `folder`. It gets a process group of its own, so that a Ctrl-C at the terminal reaches this program
    /// alone, which saves what there is; it ends when its standard input does.
    pub(super) fn start(command: &[String], folder: &Path, patience: Duration) -> Result<Self, String> {
        let [program, arguments @ ..] = command else { return Err("must name a program".to_owned()) };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(windows)]
        std::os::windows::process::CommandExt::creation_flags(&mut command, CREATE_NEW_PROCESS_GROUP);
        let refuse = |error| {
            format!("could not be started in {}: {error}; if it was moved, correct task.folder", folder.display())
        };
        let mut child = command.spawn().map_err(refuse)?;
        let (asks, answers) = (child.stdin.take(), child.stdout.take());
        let (Some(asks), Some(answers)) = (asks, answers) else { return Err("has no standard streams".to_owned()) };
        let answers = Patient::new(answers, patience).map_err(|error| format!("cannot be listened to: {error}"))?;
        Ok(Self { child, asks, answers: BufReader::with_capacity(1 << 16, answers) })
    }

    /// What it says of itself: version, shape, and concepts.
    pub(super) fn describe(&mut self) -> Result<Description, String> {
        let version = self.ask_line("version")?;
        let shape = self.ask_line("shape")?;
        let numbers: Vec<usize> = shape.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [n_points, d_x] = numbers[..] else {
            return Err(format!("must answer `shape` with n_points and d_x, but answered {shape:?}"));
        };
        let count = self.ask_line("concepts")?;
        let known = count.parse().ok().filter(|known| (1..=MOST_CONCEPTS).contains(known));
        let refuse =
            || format!("must answer `concepts` with their number, 1 to {MOST_CONCEPTS}, but answered {count:?}");
        let known: usize = known.ok_or_else(refuse)?;
        let mut concepts = Vec::new();
        for _ in 0..known {
            let line = self.line("concepts")?;
            let parts = line.split_once(' ').and_then(|(weight, name)| Some((weight.parse::<f64>().ok()?, name)));
            let Some((weight, name)) = parts else {
                return Err(format!("must name each concept by `weight name`, but answered {line:?}"));
            };
            concepts.push(Concept { name: name.to_owned(), weight });
        }
        Ok(Description { version, shape: PromptShape { n_points, d_x }, concepts })
    }

    /// Asks for prompts. An answer that is none of them is named with its place.
    pub(super) fn draw(&mut self, draws: &Draws, description: &Description) -> Result<Vec<Prompt>, String> {
        let Draws { stream, first, count, concept, .. } = draws;
        let purpose = PURPOSES.iter().find(|(_, purpose)| *purpose == stream.purpose());
        let (purpose, _) = purpose.ok_or_else(|| format!("draws no prompts for the purpose {:?}", stream.purpose()))?;
        let asked = concept.map_or("-1".to_owned(), |ConceptId(concept)| concept.to_string());
        let request = format!("sample {} {purpose} {first} {count} {asked}", stream.seed());
        self.ask(&request)?;
        let PromptShape { n_points, d_x } = description.shape;
        let mut bytes = vec![0; count * 4 * (1 + n_points * (d_x + 1))];
        self.answers.read_exact(&mut bytes).map_err(|error| self.silent(&request, &error))?;
        let words: Vec<[u8; 4]> = bytes.as_chunks().0.to_vec();
        let prompts = words.chunks_exact(1 + n_points * (d_x + 1)).map(|words| {
            let number = |word: &[u8; 4]| f32::from_le_bytes(*word);
            let (xs, ys) = words[1..].split_at(n_points * d_x);
            let prompt = |id| Prompt {
                concept: ConceptId(id),
                xs: xs.iter().map(number).collect(),
                ys: ys.iter().map(number).collect(),
            };
            let found = i32::from_le_bytes(words[0]);
            let id = usize::try_from(found).ok().filter(|&id| id < description.concepts.len());
            match id {
                None => Err(format!("there is no concept {found}")),
                Some(id) if concept.is_some_and(|asked| asked.0 != id) => Err(format!("its concept is {id}")),
                Some(_) if !words[1..].iter().all(|word| is_usable(number(word))) => {
                    Err(format!("it has a value that is not {USABLE}"))
                }
                Some(id) => Ok(prompt(id)),
            }
        });
        let refuse = |(index, prompt): (u64, Result<Prompt, String>)| {
            prompt.map_err(|reason| format!("gave a prompt {index} to `{request}` that cannot be: {reason}"))
        };
        (*first..).zip(prompts).map(refuse).collect()
    }

    fn ask_line(&mut self, request: &str) -> Result<String, String> {
        self.ask(request)?;
        self.line(request)
    }

    fn ask(&mut self, request: &str) -> Result<(), String> {
        let sent = self.asks.write_all(format!("{request}\n").as_bytes()).and_then(|()| self.asks.flush());
        sent.map_err(|error| self.silent(request, &error))
    }

    fn line(&mut self, request: &str) -> Result<String, String> {
        let mut line = String::new();
        let read = (&mut self.answers).take(LONGEST_LINE).read_line(&mut line);
        match (read, line.strip_suffix('\n')) {
            (Ok(_), Some(line)) => Ok(line.trim_end_matches('\r').to_owned()),
            (Err(error), _) => Err(self.silent(request, &error)),
            (Ok(0), _) => Err(self.silent(request, &ErrorKind::UnexpectedEof.into())),
            (Ok(_), None) => Err(format!("must answer `{request}` with lines of text")),
        }
    }

    /// Why there is no answer.
    fn silent(&mut self, request: &str, error: &std::io::Error) -> String {
        if error.kind() == ErrorKind::TimedOut {
            let patience = self.answers.get_ref().patience;
            return format!("has not answered `{request}` for {patience:?}; does it flush what it writes?");
        }
        drop(self.child.kill());
        let status = self.child.wait().map_or("no exit status".to_owned(), |status| status.to_string());
        format!("ended with {status} when it was asked for `{request}`; what it said itself stands above")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_keeps_its_answer_is_not_waited_for_forever() {
        let command = ["sh", "-c", "read request; sleep 60"].map(str::to_owned);
        let patience = Duration::from_millis(100);
        let mut worker = Worker::start(&command, Path::new("."), patience).unwrap();
        let said = worker.describe().unwrap_err();
        assert_eq!(said, "has not answered `version` for 100ms; does it flush what it writes?");
    }
}
