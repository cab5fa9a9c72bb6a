//! Long-format tables. A new probe or metric adds rows and changes no schema and no figure.
//!
//! An empty cell in `concept` or `position` means "over all of them".

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{RunError, io_error};

/// A row type and the table it belongs to.
pub trait Row: Serialize + DeserializeOwned {
    /// File name inside the run directory.
    const FILE: &'static str;
    /// Training step the row was measured at; rows behind the checkpoint that a run goes on from are dropped.
    /// `None` for rows that do not depend on training.
    fn step(&self) -> Option<usize>;
}

/// Squared error of the model on the fixed held-out prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// Which prompts: `eval`.
    pub split: String,
    /// Name of the concept.
    pub concept: Option<String>,
    /// 1-based pair whose y is predicted, from the pairs before it.
    pub position: Option<usize>,
    /// Mean squared error, in units of y².
    pub mse: f64,
    /// `mse` divided by the mean of y² over the same prompts and positions' task.
    pub relative_mse: f64,
}

/// One training step. It depends on that step alone, so that a run which was stopped and went on has the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// Mean squared error on the batch of this step, in units of y².
    pub loss: f64,
    /// Global gradient norm at this step, before clipping.
    pub gradient_norm: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
}

/// Squared error of a closed-form predictor on the same held-out prompts as [`MetricRow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineRow {
    /// `zero`, `ridge`, `bayes`, `oracle`, or a custom task's own.
    pub predictor: String,
    /// Name of the concept.
    pub concept: Option<String>,
    /// 1-based pair whose y is predicted.
    pub position: Option<usize>,
    /// Mean squared error, in units of y².
    pub mse: f64,
    /// `mse` divided by the mean of y².
    pub relative_mse: f64,
    /// Mean posterior probability of the true concept, for predictors that infer it.
    pub posterior: Option<f64>,
}

/// How well a probe reads the concept from one layer at one token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecodabilityRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// 0 is the embedding, l the residual stream after block l.
    pub layer: usize,
    /// `x10` is the x token of pair 10, `y9` the y token of pair 9.
    pub token: String,
    /// `knn`, or `knn_shuffled` for the control with permuted labels.
    pub probe: String,
    /// Name of the concept.
    pub concept: Option<String>,
    /// Mean accuracy over the resamples, 0 to 1.
    pub score: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Lower end of the 95% interval over resamples.
    pub lo: f64,
    /// Upper end of the 95% interval over resamples.
    pub hi: f64,
    /// Resamples.
    pub n: usize,
}

/// Decodability at the best layer, chosen fairly (`held_out`) and as the paper does (`optimistic`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestLayerRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::token`].
    pub token: String,
    /// `held_out`: layer chosen on one half of the resamples, score on the other. `optimistic`: both on all.
    pub selection: String,
    /// The chosen layer.
    pub layer: usize,
    /// Mean accuracy, 0 to 1.
    pub score: f64,
    /// Lower end of the 95% interval over the resamples scored.
    pub lo: f64,
    /// Upper end of the 95% interval over the resamples scored.
    pub hi: f64,
}

/// One prompt's hidden state in the plane of its first two principal components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`].
    pub layer: usize,
    /// As in [`DecodabilityRow::token`].
    pub token: String,
    /// Name of the prompt's concept.
    pub concept: String,
    /// First principal component.
    pub pc1: f64,
    /// Second principal component.
    pub pc2: f64,
    /// Share of the variance that the first component carries, 0 to 1.
    pub explained_1: f64,
    /// Share of the variance that the second component carries, 0 to 1.
    pub explained_2: f64,
}

macro_rules! row {
    ($row:ty, $file:literal, |$r:ident| $step:expr) => {
        impl Row for $row {
            const FILE: &'static str = $file;
            fn step(&self) -> Option<usize> {
                let $r = self;
                $step
            }
        }
    };
}
row!(MetricRow, "metrics.csv", |row| Some(row.step));
row!(TrainingRow, "training.csv", |row| Some(row.step));
row!(BaselineRow, "baselines.csv", |_row| None);
row!(DecodabilityRow, "cd.csv", |row| Some(row.step));
row!(BestLayerRow, "cd_best.csv", |row| Some(row.step));
row!(MapRow, "map.csv", |row| Some(row.step));

/// One table of a run.
#[derive(Clone, Debug)]
pub struct Table<R> {
    path: PathBuf,
    row: PhantomData<R>,
}

impl<R: Row> Table<R> {
    pub(crate) fn new(run: &Path) -> Self {
        Self { path: run.join(R::FILE), row: PhantomData }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All complete rows; none when the table does not exist. A last line cut short by a crash is left out.
    pub fn read(&self) -> Result<Vec<R>, RunError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let text = self.complete_lines()?;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.deserialize().map(|row| row.map_err(|error| self.malformed(&error))).collect()
    }

    /// Adds rows at the end and hands them to the operating system before it returns.
    pub fn append(&self, rows: &[R]) -> Result<(), RunError> {
        let fail = |error| io_error("append to", &self.path, error);
        let file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(fail)?;
        let fresh = file.metadata().map_err(fail)?.len() == 0;
        write_rows(BufWriter::new(file), rows, fresh).map_err(fail)
    }

    /// Writes the whole table anew, under another name first.
    pub fn replace(&self, rows: &[R]) -> Result<(), RunError> {
        let partial = self.path.with_extension("csv.partial");
        let fail = |error| io_error("write", &partial, error);
        write_rows(BufWriter::new(File::create(&partial).map_err(fail)?), rows, true).map_err(fail)?;
        std::fs::rename(&partial, &self.path).map_err(fail)
    }

    /// Drops the rows measured after `step`, and whatever a crash left half-written.
    pub fn truncate_after(&self, step: usize) -> Result<(), RunError> {
        if !self.path.exists() {
            return Ok(());
        }
        let mut rows = self.read()?;
        rows.retain(|row| row.step().is_none_or(|measured| measured <= step));
        self.replace(&rows)
    }

    /// Removes all rows.
    pub fn clear(&self) -> Result<(), RunError> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", &self.path, error)),
            _ => Ok(()),
        }
    }

    fn complete_lines(&self) -> Result<String, RunError> {
        let fail = |error| io_error("read", &self.path, error);
        let mut reader = BufReader::new(File::open(&self.path).map_err(fail)?);
        let (mut text, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).map_err(fail)? > 0 {
            if line.ends_with('\n') {
                text.push_str(&line);
            }
            line.clear();
        }
        Ok(text)
    }

    fn malformed(&self, error: &csv::Error) -> RunError {
        RunError::Malformed { path: self.path.clone(), reason: error.to_string() }
    }
}

fn write_rows<R: Serialize>(sink: impl Write, rows: &[R], header: bool) -> std::io::Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(header).from_writer(sink);
    for row in rows {
        writer.serialize(row).map_err(std::io::Error::other)?;
    }
    writer.flush()
}
