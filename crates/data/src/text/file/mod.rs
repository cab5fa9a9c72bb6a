//! Prompts of your own.

mod lines;

use std::collections::HashMap;
use std::path::PathBuf;

use rand::{Rng, RngExt};
use serde::Deserialize;

use self::lines::{Line, read_lines};
use super::settings::Concepts;
use super::{PARTS, TextFile, TextPair, TextPrompt, TextSettings, TextTask};
use crate::{Concept, ConceptId, Purpose, TaskError};

/// Fewest lines of a concept, half of them to train on: of fewer, a handful of prompts would be drawn again and again.
const MIN_LINES: usize = 20;

/// Configuration of the task `file`.
///
/// | field | unit | range |
/// |---|---|---|
/// | `file` | | a file in which every line is a prompt |
///
/// A line is an object of JSON:
///
/// | key | value |
/// |---|---|
/// | `concept` | its name; `Null` is no name |
/// | `demonstrations` | a list of pairs `["input", "answer"]`, at least as many as the most `shots`; of more, the last are used |
/// | `query` | the input behind them |
/// | `answer` | its answer |
/// | `instruction` | what names the concept; needed where `named` is true, and the same in all lines of a concept |
///
/// A file has at least two concepts, in the order in which they first appear, with at least 20 lines each. Of the lines of
/// a concept, counted from 0, the even ones are trained on and means are taken over them; the odd ones are measured. A
/// prompt is a line drawn at random. Under Null it has the inputs of any line, and answers drawn from all lines.
///
/// No two lines ask the same, because the concepts could not be told apart or a prompt to train on would be measured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// Where the prompts are.
    pub file: PathBuf,
}

impl FileConfig {
    /// The task on the lines of `files`, which has to be one file.
    ///
    /// # Errors
    /// When it is not one file in UTF-8, a line is not as above, or a concept has too few of them.
    pub(super) fn build(&self, settings: &TextSettings, files: Vec<TextFile>) -> Result<File, TaskError> {
        let refused = |trouble| TaskError::material("task.file", self.file.display(), trouble);
        let [file] = files.as_slice() else {
            return Err(refused(format!("must be one file, but is {} files", files.len())));
        };
        let shots = settings.n_points() - 1;
        let lines = read_lines(&file.path, &file.bytes, shots)?;
        let mut groups: Vec<Group> = Vec::new();
        for line in &lines {
            let group = match groups.iter().position(|group| group.concept == line.concept) {
                Some(known) => &mut groups[known],
                None => {
                    groups.push(Group { concept: line.concept.clone(), ..Group::default() });
                    groups.last_mut().expect("just pushed")
                }
            };
            group.add(line, settings.named).map_err(|trouble| self.at(line.number, trouble))?;
        }
        self.check_unlike(&lines, settings.named)?;
        if groups.len() < 2 {
            return Err(refused(format!("must have at least two concepts, but has {}", groups.len())));
        }
        if let Some(Group { concept, size, .. }) = groups.iter().find(|group| group.size < MIN_LINES) {
            let trouble =
                format!("must have at least {MIN_LINES} lines of every concept, but has {size} of {concept:?}");
            return Err(refused(trouble));
        }
        let concepts = settings.concepts(groups.iter().map(|group| group.concept.as_str()));
        Ok(File { groups, n_points: settings.n_points(), named: settings.named, concepts })
    }

    /// Errors when two lines ask the same.
    fn check_unlike(&self, lines: &[Line], named: bool) -> Result<(), TaskError> {
        let mut seen: HashMap<_, &Line> = HashMap::new();
        for line in lines {
            let (demonstrations, query) = line.asked();
            let asked = (named.then_some(&line.instruction), demonstrations, query);
            if let Some(other) = seen.insert(asked, line) {
                let trouble = if other.concept == line.concept {
                    format!("repeats line {}", other.number)
                } else {
                    let (this, that) = (&line.concept, &other.concept);
                    format!("cannot be told from line {}: {this:?} and {that:?} ask the same", other.number)
                };
                return Err(self.at(line.number, trouble));
            }
        }
        Ok(())
    }

    fn at(&self, line: usize, trouble: String) -> TaskError {
        lines::refused(&self.file, line, trouble)
    }
}

/// The part of the lines that prompts of `purpose` are drawn from. A line is a whole prompt, so what means are taken over must
/// not be measured.
fn part(purpose: Purpose) -> usize {
    match purpose {
        Purpose::Patch => super::part(Purpose::Train),
        other => super::part(other),
    }
}

/// The prompts of a concept.
#[derive(Debug, Default)]
struct Group {
    concept: String,
    instruction: Option<String>,
    size: usize,
    /// The pairs of every prompt, by part.
    prompts: [Vec<Vec<TextPair>>; PARTS],
}

impl Group {
    fn add(&mut self, line: &Line, named: bool) -> Result<(), String> {
        if self.size == 0 {
            self.instruction.clone_from(&line.instruction);
        }
        if self.instruction != line.instruction {
            return Err(format!("must have the instruction of the other lines of {:?}, but has another", self.concept));
        }
        if named && self.instruction.is_none() {
            return Err("must have an instruction, because task.named is true, but has none".to_owned());
        }
        self.prompts[self.size % PARTS].push(line.pairs.clone());
        self.size += 1;
        Ok(())
    }
}

/// Prompts as a file has them.
#[derive(Debug)]
pub(super) struct File {
    groups: Vec<Group>,
    n_points: usize,
    named: bool,
    concepts: Concepts,
}

impl File {
    /// One of all lines of a part, whatever its concept.
    fn any(&self, part: usize, rng: &mut dyn Rng) -> &[TextPair] {
        let lines: usize = self.groups.iter().map(|group| group.prompts[part].len()).sum();
        let mut all = self.groups.iter().flat_map(|group| &group.prompts[part]);
        all.nth(rng.random_range(0..lines)).expect("a number below the number of lines")
    }
}

impl TextTask for File {
    fn n_points(&self) -> usize {
        self.n_points
    }

    fn concepts(&self) -> &[Concept] {
        &self.concepts.all
    }

    fn null(&self) -> Option<ConceptId> {
        Some(self.concepts.null)
    }

    fn stock(&self, concept: ConceptId, purpose: Purpose) -> Option<usize> {
        self.groups.get(concept.0).map(|group| group.prompts[part(purpose)].len())
    }

    fn sample(&self, concept: ConceptId, purpose: Purpose, rng: &mut dyn Rng) -> TextPrompt {
        let part = part(purpose);
        let Some(group) = self.groups.get(concept.0) else {
            let mut pairs = self.any(part, rng).to_vec();
            for pair in &mut pairs {
                let line = self.any(part, rng);
                pair.answer.clone_from(&line[rng.random_range(0..line.len())].answer);
            }
            return TextPrompt { concept, instruction: None, pairs };
        };
        let prompts = &group.prompts[part];
        let pairs = prompts[rng.random_range(0..prompts.len())].clone();
        TextPrompt { concept, instruction: group.instruction.clone().filter(|_| self.named), pairs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::settings::check_contract;
    use crate::{Place, Stream, Template};

    fn settings(named: bool, null: bool) -> TextSettings {
        let template = Template::new("{input} = {output}\n").unwrap();
        TextSettings { shots: vec![0, 2], template, null, named, place: Place::Prompt }
    }

    /// Line `i` of a concept: three numbers in, and the same numbers behind the concept's name out.
    fn line(concept: &str, i: usize) -> String {
        let demonstration = |j: usize| format!("[\"{i} {j}\", \"{concept} {i} {j}\"]");
        let demonstrations = [0, 1, 2].map(demonstration).join(", ");
        format!(
            "{{\"concept\": \"{concept}\", \"demonstrations\": [{demonstrations}], \"query\": \"{i}\", \
             \"answer\": \"{concept} {i}\", \"instruction\": \"Say {concept}\"}}\n"
        )
    }

    fn lines(each: usize) -> String {
        (0..each).map(|i| line("red", i) + &line("blue", i)).collect()
    }

    fn build(text: &str, settings: &TextSettings) -> Result<File, TaskError> {
        let files = vec![TextFile { path: "mine.jsonl".into(), bytes: text.into() }];
        FileConfig { file: "mine.jsonl".into() }.build(settings, files)
    }

    fn inputs(task: &File, concept: usize, purpose: Purpose) -> Vec<Vec<String>> {
        let draw = |index| task.sample(ConceptId(concept), purpose, &mut Stream::new(0, purpose).rng(index));
        let inputs = |prompt: TextPrompt| prompt.pairs.into_iter().map(|pair| pair.input).collect();
        (0..50).map(|index| inputs(draw(index))).collect()
    }

    #[test]
    fn the_contract_of_a_task_of_text_is_kept() {
        for (named, null) in [(false, false), (true, true)] {
            let settings = settings(named, null);
            check_contract(&build(&lines(40), &settings).unwrap(), &settings);
        }
    }

    #[test]
    fn a_prompt_is_a_line_with_its_last_demonstrations() {
        let task = build(&lines(20), &settings(true, false)).unwrap();
        let names: Vec<&str> = task.concepts().iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["red", "blue"]);
        let prompt = task.sample(ConceptId(1), Purpose::Probe, &mut Stream::new(0, Purpose::Probe).rng(0));
        assert_eq!(prompt.instruction.as_deref(), Some("Say blue"));
        let i = &prompt.pairs[2].input;
        let expected = [format!("{i} 1"), format!("{i} 2"), i.clone()];
        let expected = expected.map(|input| TextPair { answer: format!("blue {input}"), input });
        assert_eq!(prompt.pairs, expected);
    }

    #[test]
    fn what_is_measured_is_neither_trained_on_nor_part_of_a_mean() {
        let task = build(&lines(20), &settings(false, false)).unwrap();
        let (train, probe) = (inputs(&task, 0, Purpose::Train), inputs(&task, 0, Purpose::Probe));
        assert!(train.iter().all(|prompt| !probe.contains(prompt)));
        let (means, scored) = (inputs(&task, 0, Purpose::Patch), inputs(&task, 0, Purpose::Eval));
        assert!(means.iter().all(|prompt| !scored.contains(prompt)));
        // The lines of both concepts have the same inputs, so Null shows that its part is theirs.
        assert!(inputs(&task, 2, Purpose::Train).iter().all(|prompt| !probe.contains(prompt)));
    }

    #[test]
    fn answers_under_null_come_from_all_lines() {
        let task = build(&lines(20), &settings(true, true)).unwrap();
        let draw = |index| task.sample(ConceptId(2), Purpose::Patch, &mut Stream::new(0, Purpose::Patch).rng(index));
        let answers: Vec<String> = (0..100).flat_map(|i| draw(i).pairs).map(|pair| pair.answer).collect();
        let red = answers.iter().filter(|answer| answer.starts_with("red")).count();
        // Half of 300, within five standard deviations.
        assert!((107..194).contains(&red), "{red}");
    }

    #[test]
    fn a_file_that_no_task_can_be_made_from_is_refused_in_a_sentence() {
        let all = lines(20);
        let third = |from: &str, to: &str| {
            let third = all.lines().nth(2).unwrap();
            assert!(third.contains(from), "{third}");
            all.replacen(third, &third.replacen(from, to, 1), 1)
        };
        let line_3 = |trouble: &str| format!("mine.jsonl, line 3, {trouble}");
        for (text, message) in [
            (String::new(), "mine.jsonl must have at least two concepts, but has 0".to_owned()),
            (all.replace("blue", "red"), line_3("").replace("line 3, ", "line 2, repeats line 1")),
            (lines(19), "mine.jsonl must have at least 20 lines of every concept, but has 19 of \"red\"".to_owned()),
            (
                (0..20).map(|i| line("red", i)).collect(),
                "mine.jsonl must have at least two concepts, but has 1".to_owned(),
            ),
            (
                third("Say red", "Say it"),
                "mine.jsonl, line 3, must have the instruction of the other lines of".to_owned(),
            ),
            (third("red 1 2", "\\n"), line_3("must have answers with text in one line, but has \"\\n\"")),
            (
                third("\"answer\": \"red 1\"", "\"answer\": \" \""),
                line_3("must have answers with text in one line, but has \" \""),
            ),
            (third("\"red 1 1\"", "\"a\\nb\""), line_3("must have answers with text in one line, but has \"a\\nb\"")),
            (third("\"query\"", "\"qeury\""), line_3("unknown field `qeury`")),
            (third("\"query\": \"1\", ", ""), line_3("missing field `query`")),
            (third("{", ""), line_3("is no object of JSON")),
            (
                third("[\"1 0\", \"red 1 0\"], [\"1 1\", \"red 1 1\"], ", ""),
                line_3("must have at least 2 demonstrations, but has 1"),
            ),
            (third("\"concept\": \"red\"", "\"concept\": \"Null\""), line_3("must have another concept than \"Null\"")),
            (
                third("\"concept\": \"red\"", "\"concept\": \" \""),
                line_3("must have a concept with a name, but has \" \""),
            ),
        ] {
            let error = build(&text, &settings(false, false)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("task.file: {message}")), "{error}\n{message}");
        }
        let twins = all.replace("\"blue ", "\"red ");
        let error = build(&twins, &settings(false, false)).unwrap_err().to_string();
        let expected = "task.file: mine.jsonl, line 2, cannot be told from line 1: \"blue\" and \"red\" ask the same";
        assert_eq!(error, expected);
        assert!(build(&twins, &settings(true, false)).is_ok(), "what names the concept tells them apart");
        let unnamed = all.replace(", \"instruction\": \"Say red\"", "");
        let error = build(&unnamed, &settings(true, false)).unwrap_err().to_string();
        assert!(error.contains("line 1, must have an instruction, because task.named is true"), "{error}");
        let files = FileConfig { file: "mine".into() }.build(&settings(false, false), Vec::new());
        assert_eq!(files.unwrap_err().to_string(), "task.file: mine must be one file, but is 0 files");
    }

    #[test]
    fn a_file_in_another_encoding_is_refused() {
        for (bytes, found) in [(b"\xff\xfe{\0".to_vec(), "UTF-16"), (b"caf\xe9".to_vec(), "another encoding")] {
            let files = vec![TextFile { path: "mine.jsonl".into(), bytes }];
            let error = FileConfig { file: "mine.jsonl".into() }.build(&settings(false, false), files).unwrap_err();
            assert_eq!(error.to_string(), format!("task.file: mine.jsonl must be UTF-8, but is {found}"));
        }
    }
}
