//! What a measurement works with, and what can go wrong.

use data::Token;
use probe::{Layer, ProbeError, ProbeKind, Study, Subject, SubjectError, Subjects};
use record::{Folder, Parts, RecordError};
use thiserror::Error;

use super::{BestLayerRow, Rows, Selection, sorted, spread};

/// Checkpoints looked at where a command is not told which.
const MILESTONES: usize = 4;

/// The models, the questions, and the folder of the tables.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// What is asked.
    pub study: &'a Study,
    /// The models.
    pub subjects: &'a dyn Subjects,
    /// Where tables are.
    pub folder: &'a Folder,
    /// Is told how the work goes on.
    pub progress: &'a dyn Fn(&str),
    /// Where the rows of models that were measured are kept until all are, if anywhere.
    pub(super) parts: Option<&'a Parts>,
}

/// Why a measurement was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// What was asked for is outside its range.
    #[error("{field} must be {range}, but is {value}")]
    OutOfRange {
        /// The option, or the path of a setting.
        field: String,
        /// The allowed values.
        range: String,
        /// The value found.
        value: String,
    },
    /// A setting of the study does not allow it.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The prompts to ask with could not be made.
    #[error(transparent)]
    Task(#[from] data::TaskError),
    /// The model could not be asked.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A table could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A figure could not be drawn.
    #[error(transparent)]
    Plot(#[from] plots::PlotError),
}

impl MeasureError {
    pub(crate) fn out_of_range(field: &str, range: impl Into<String>, value: impl ToString) -> Self {
        Self::OutOfRange { field: field.to_owned(), range: range.into(), value: value.to_string() }
    }
}

impl<'a> Session<'a> {
    /// Of all of these.
    pub fn new(study: &'a Study, subjects: &'a dyn Subjects, folder: &'a Folder, progress: &'a dyn Fn(&str)) -> Self {
        Self { study, subjects, folder, progress, parts: None }
    }

    /// Goes over the models at `steps`, telling each step before it is measured, and joins what `measure` finds. What was
    /// found before the same work was stopped is not measured again. A measurement does this once.
    pub(crate) fn over_steps<R: Rows>(
        &self,
        steps: &[usize],
        mut measure: impl FnMut(&dyn Subject, usize) -> Result<R, MeasureError>,
    ) -> Result<R, MeasureError> {
        let mut rows = R::default();
        for &step in steps {
            let part = format!("step-{step}");
            let before = self.parts.and_then(|parts| parts.get(&part));
            // What cannot be read is measured again.
            if let Some(found) = before.and_then(|part| R::read(&part).ok()) {
                (self.progress)(&format!("step {step}: measured before"));
                rows.join(found);
                continue;
            }
            (self.progress)(&format!("step {step}"));
            let found = measure(&*self.subjects.at(step)?, step)?;
            if let Some(parts) = self.parts.filter(|_| steps.len() > 1) {
                parts.add(&part, |part| found.replace(part))?;
            }
            rows.join(found);
        }
        Ok(rows)
    }

    /// The steps asked for, which must be there, or a few from the first to the last.
    pub(crate) fn milestones(&self, asked: Vec<usize>) -> Result<Vec<usize>, MeasureError> {
        self.steps(asked, MILESTONES)
    }

    /// The steps asked for, which must be there, or at most `most` from the first to the last.
    pub(crate) fn steps(&self, asked: Vec<usize>, most: usize) -> Result<Vec<usize>, MeasureError> {
        asked.iter().try_for_each(|&step| self.subjects.require(step))?;
        Ok(if asked.is_empty() { spread(&self.subjects.steps()?, most) } else { sorted(asked) })
    }

    /// The step asked for, which must be there, or the last.
    pub(crate) fn step(&self, asked: Option<usize>) -> Result<usize, MeasureError> {
        let Some(step) = asked else { return Ok(self.subjects.last_step()?) };
        self.subjects.require(step)?;
        Ok(step)
    }

    /// The steps asked for, which must be there, or the last.
    pub(crate) fn steps_or_last(&self, asked: Vec<usize>) -> Result<Vec<usize>, MeasureError> {
        if asked.is_empty() { Ok(vec![self.subjects.last_step()?]) } else { self.steps(asked, 1) }
    }

    /// The layers asked for, ascending, or all of them.
    pub(crate) fn layers_or_all(&self, flag: &str, asked: Vec<usize>) -> Result<Vec<Layer>, MeasureError> {
        let all = || (0..=self.subjects.anatomy().n_layers).map(Layer).collect();
        let layers = self.layers(flag, asked)?;
        Ok(if layers.is_empty() { all() } else { layers })
    }

    /// The layers asked for, ascending.
    pub(crate) fn layers(&self, flag: &str, asked: Vec<usize>) -> Result<Vec<Layer>, MeasureError> {
        self.layers_from(0, flag, asked)
    }

    /// The same, of which none may be before the layer `first`.
    pub(crate) fn layers_from(&self, first: usize, flag: &str, asked: Vec<usize>) -> Result<Vec<Layer>, MeasureError> {
        let last = self.subjects.anatomy().n_layers;
        match asked.iter().find(|layer| !(first..=last).contains(*layer)) {
            Some(layer) => {
                Err(MeasureError::out_of_range(flag, format!("between {first} and model.n_layers ({last})"), layer))
            }
            None => Ok(sorted(asked).into_iter().map(Layer).collect()),
        }
    }

    /// The layer at which CD is best at the end of training, chosen on one half of the resamples; the last one where it
    /// was not measured.
    pub(crate) fn best_layer(&self, token: Token) -> Result<Layer, MeasureError> {
        let rows = self.folder.table::<BestLayerRow>().read()?;
        let cd = |row: &&BestLayerRow| row.probe == ProbeKind::CD && row.selection == Selection::HeldOut;
        let last = rows.iter().filter(cd).rfind(|row| row.token == token);
        Ok(last.map_or(Layer(self.subjects.anatomy().n_layers), |row| row.layer))
    }

    /// [`best_layer`](Self::best_layer) of every probed token.
    pub(crate) fn best_layers(&self) -> Result<Vec<Layer>, MeasureError> {
        self.study.tokens.iter().map(|&token| self.best_layer(token)).collect()
    }
}
