//! Prompts from a file of NumPy's arrays.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::archive::{Archive, Array};
use super::{USABLE, is_usable};
use crate::checks::check_size;
use crate::{Concept, ConceptId, Draws, Prompt, PromptShape, Purpose, Task, TaskError};

/// The field that names the file.
const FIELD: &str = "task.file";

/// Configuration of [`Arrays`].
///
/// The file is an `.npz` archive, as `numpy.savez` and `numpy.savez_compressed` write it:
///
/// | array | shape | values |
/// |---|---|---|
/// | `xs` | `[n, n_points, d_x]` | f32 or f64, −1e15 to 1e15 |
/// | `ys` | `[n, n_points]` | f32 or f64, −1e15 to 1e15 |
/// | `concept` | `[n]` | whole numbers from 0, every one of which occurs |
/// | `concept_names` | `[n_concepts]` | text; `C1`, `C2`, … where there is no such array |
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArraysConfig {
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of what it holds, in 64 hexadecimal digits.
    pub sha256: String,
    /// Which of its prompts are for what.
    pub division: Division,
}

/// How many prompts of every concept are set apart, from the first on in the order of the file, in this order. All others are
/// trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Division {
    /// For the held-out error.
    pub eval: usize,
    /// For probing, all resamples together.
    pub probe: usize,
    /// For means that are patched in.
    pub patch: usize,
}

impl Division {
    /// The prompts of a concept with `n` of them that are for `purpose`, by their place among those of the concept.
    fn part(self, purpose: Purpose, n: usize) -> Range<usize> {
        let (probe, patch) = (self.eval, self.eval + self.probe);
        match purpose {
            Purpose::Eval => 0..probe,
            Purpose::Probe => probe..patch,
            Purpose::Patch => patch..self.all(),
            _ => self.all()..n,
        }
    }

    fn all(self) -> usize {
        self.eval.saturating_add(self.probe).saturating_add(self.patch)
    }
}

impl ArraysConfig {
    /// SHA-256 of a file, in hexadecimal digits.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sha256(file: &Path) -> Result<String, TaskError> {
        Ok(digest(&read(file)?))
    }

    /// Reads the file and checks all of it.
    ///
    /// # Errors
    /// When it cannot be read, is another than that of the configuration, or holds no prompts of concepts.
    pub fn build(&self) -> Result<Arrays, TaskError> {
        let bytes = read(&self.file)?;
        let found = digest(&bytes);
        if found != self.sha256 {
            let trouble = format!("must have the SHA-256 {} (task.sha256), but has {found}", self.sha256);
            return Err(self.refuse(trouble));
        }
        let mut archive = Archive::new(bytes).map_err(|trouble| self.refuse(trouble))?;
        let mut arrays =
            || Ok::<_, String>((archive.numbers("xs")?, archive.numbers("ys")?, archive.whole_numbers("concept")?));
        let (xs, ys, concept) = arrays().map_err(|trouble| self.refuse(trouble))?;
        let shape = self.check_shapes(&xs, &ys, &concept)?;
        for (name, array) in [("xs", &xs), ("ys", &ys)] {
            if let Some(place) = array.values.iter().position(|&value| !is_usable(value)) {
                let prompt = place / (array.values.len() / concept.values.len());
                return Err(self.refuse(format!("has a value in {name}[{prompt}] that is not {USABLE}")));
            }
        }
        if ys.values.iter().all(|y| *y == 0.0) {
            return Err(self.refuse("has only zeros in ys, by whose mean square every error is divided"));
        }
        let names = archive.texts("concept_names").map_err(|trouble| self.refuse(trouble))?;
        let names = names.map(|names| names.values);
        let members = self.members(&concept.values, names.as_ref().map(Vec::len))?;
        let names = names.unwrap_or_else(|| (1..=members.len()).map(|number| format!("C{number}")).collect());
        self.check_names(&names, &members)?;
        // The rows of a concept ascend: those to train on begin at one of them.
        let first: Vec<usize> = members.iter().map(|rows| rows[self.division.all()]).collect();
        let concept_of: Vec<usize> = concept.values.iter().map(|&concept| concept as usize).collect();
        let training: Vec<usize> = (0..concept_of.len()).filter(|&row| row >= first[concept_of[row]]).collect();
        let weight = |rows: &Vec<usize>| (rows.len() - self.division.all()) as f64 / training.len() as f64;
        let concepts = names.into_iter().zip(&members).map(|(name, rows)| Concept { name, weight: weight(rows) });
        let (concepts, division) = (concepts.collect(), self.division);
        Ok(Arrays { shape, xs: xs.values, ys: ys.values, concept_of, concepts, members, training, division })
    }

    fn check_shapes(&self, xs: &Array<f32>, ys: &Array<f32>, concept: &Array<i64>) -> Result<PromptShape, TaskError> {
        let [n, n_points, d_x] = xs.shape[..] else {
            return Err(self.refuse(format!("has xs of the shape {:?}, which must be [n, n_points, d_x]", xs.shape)));
        };
        for (name, found, expected) in [("ys", &ys.shape, vec![n, n_points]), ("concept", &concept.shape, vec![n])] {
            if *found != expected {
                let of_xs = &xs.shape;
                let must = format!("must be {expected:?} as its xs are {of_xs:?}");
                return Err(self.refuse(format!("has {name} of the shape {found:?}, which {must}")));
            }
        }
        check_size("n_points of task.file", n_points)?;
        check_size("d_x of task.file", d_x)?;
        if n == 0 {
            return Err(self.refuse("has no prompts"));
        }
        Ok(PromptShape { n_points, d_x })
    }

    /// The rows of every concept.
    fn members(&self, concept: &[i64], named: Option<usize>) -> Result<Vec<Vec<usize>>, TaskError> {
        // More could not all have a prompt.
        let most = named.unwrap_or(concept.len()) as i64;
        if let Some(row) = concept.iter().position(|concept| !(0..most).contains(concept)) {
            let range = format!("must be a whole number from 0 to {}", most - 1);
            return Err(self.refuse(format!("has concept[{row}] = {}, which {range}", concept[row])));
        }
        let largest = concept.iter().max().map_or(0, |&largest| largest as usize + 1);
        let mut members = vec![Vec::new(); named.unwrap_or(largest)];
        concept.iter().zip(0..).for_each(|(&concept, row)| members[concept as usize].push(row));
        match members.iter().position(Vec::is_empty) {
            Some(empty) => Err(self.refuse(format!("has no prompt of concept {empty}"))),
            None => Ok(members),
        }
    }

    /// Checks that every concept has a name of its own, and prompts to train on.
    fn check_names(&self, names: &[String], members: &[Vec<usize>]) -> Result<(), TaskError> {
        for (at, (name, rows)) in names.iter().zip(members).enumerate() {
            if name.trim().is_empty() || name.contains(char::is_control) || names[..at].contains(name) {
                let range = "which must be a name of its own, on one line";
                return Err(self.refuse(format!("has concept_names[{at}] = {name:?}, {range}")));
            }
            let (there, apart) = (rows.len(), self.division.all());
            if there <= apart {
                let sizes = "eval, probe and patch in task.division";
                let range = format!("below the number of prompts of the concept {name} ({there})");
                return Err(TaskError::out_of_range(format!("the sum of {sizes}"), range, apart));
            }
        }
        Ok(())
    }

    fn refuse(&self, trouble: impl Into<String>) -> TaskError {
        TaskError::material(FIELD, self.file.display(), trouble)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TaskError> {
    let trouble = |error| format!("cannot be read: {error}; if it was moved, correct {FIELD}");
    std::fs::read(file).map_err(|error| TaskError::material(FIELD, file.display(), trouble(error)))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Prompts of a file, each for one purpose.
///
/// Training takes those that are left to it in the order of the file, and starts over at their end; a concept is as frequent
/// as it is among them.
#[derive(Clone, Debug)]
pub struct Arrays {
    shape: PromptShape,
    /// `[n][n_points * d_x]`.
    xs: Vec<f32>,
    /// `[n][n_points]`.
    ys: Vec<f32>,
    concept_of: Vec<usize>,
    concepts: Vec<Concept>,
    /// The rows of every concept, ascending.
    members: Vec<Vec<usize>>,
    /// The rows to train on, ascending.
    training: Vec<usize>,
    division: Division,
}

impl Arrays {
    fn prompt(&self, row: usize) -> Prompt {
        let PromptShape { n_points, d_x } = self.shape;
        let width = n_points * d_x;
        Prompt {
            concept: ConceptId(self.concept_of[row]),
            xs: self.xs[row * width..(row + 1) * width].to_vec(),
            ys: self.ys[row * n_points..(row + 1) * n_points].to_vec(),
        }
    }

    /// The rows of `concept` for `purpose`.
    fn part(&self, concept: ConceptId, purpose: Purpose) -> &[usize] {
        let rows = &self.members[concept.0];
        &rows[self.division.part(purpose, rows.len())]
    }
}

impl Task for Arrays {
    fn shape(&self) -> PromptShape {
        self.shape
    }

    fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// Any of the concept's prompts to train on.
    fn sample(&self, concept: ConceptId, rng: &mut dyn Rng) -> Prompt {
        let rows = self.part(concept, Purpose::Train);
        self.prompt(rows[rng.random_range(..rows.len())])
    }

    fn draw(&self, draws: &Draws) -> Result<Vec<Prompt>, TaskError> {
        let numbers = (draws.before as usize..).take(draws.count);
        let purpose = draws.stream.purpose();
        let Some(concept) = draws.concept else {
            if purpose != Purpose::Train {
                let field = format!("the concept of prompts for the purpose {purpose:?}");
                return Err(TaskError::out_of_range(field, "named, for they lie apart concept by concept", "absent"));
            }
            return Ok(numbers.map(|number| self.prompt(self.training[number % self.training.len()])).collect());
        };
        let rows = self.part(concept, purpose);
        let asked = draws.before as usize + draws.count;
        if asked > rows.len() {
            let name = &self.concepts[concept.0].name;
            let field = format!("the number of prompts of {name} for the purpose {purpose:?}");
            let range = format!("at most those that task.division leaves for it ({})", rows.len());
            return Err(TaskError::out_of_range(field, range, asked));
        }
        Ok(numbers.map(|number| self.prompt(rows[number])).collect())
    }

    fn stock(&self, concept: ConceptId, purpose: Purpose) -> Option<usize> {
        Some(self.part(concept, purpose).len())
    }
}

#[cfg(test)]
mod tests;
