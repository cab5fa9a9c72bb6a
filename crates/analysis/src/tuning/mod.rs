//! Tuned language models beside the model that they come from.

mod figure;

use plots::PlotError;
use probe::Layer;
use record::{Folder, RecordError, check_folder};
use serde::{Deserialize, Serialize};

use crate::measurements::decodability::at_best_layer;
use crate::measurements::shots::shots_before;
use crate::row::row;
use crate::show::Shown;
use crate::{AccuracyRow, DecodabilityRow, MeasureError};

/// A run of a language model: the model as it was, or tuned.
#[derive(Clone, Debug)]
pub struct TunedRun<'a> {
    /// What it is called in table and figure.
    pub name: String,
    /// What was trained, as `first=10`; empty where nothing was.
    pub trainable: String,
    /// Its tables.
    pub shown: Shown<'a>,
}

/// Answers and CD of one run at its last step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningRow {
    /// The run.
    pub run: String,
    /// What was trained; empty where nothing was.
    pub trainable: String,
    /// Name of the concept; none for all of them, which count alike.
    pub concept: Option<String>,
    /// Demonstrations ahead of the query.
    pub shots: usize,
    /// Share of exact answers, 0 to 1.
    pub accuracy: f64,
    /// Lower end of the 95% interval of `accuracy`, Wilson's.
    pub lo: f64,
    /// Upper end of it.
    pub hi: f64,
    /// Mean natural logarithm of the right answer's probability, in nats.
    pub log_probability: f64,
    /// The layer with the best CD; none where it was not measured.
    pub layer: Option<Layer>,
    /// CD there, 0 to 1.
    pub cd: Option<f64>,
    /// Prompts.
    pub n: usize,
}

row!(TuningRow, "tuning.csv", |_row| None);

/// The rows of every run, in their order.
///
/// # Errors
/// When a table cannot be read.
pub fn tuning_rows(runs: &[TunedRun<'_>]) -> Result<Vec<TuningRow>, MeasureError> {
    let mut rows = Vec::new();
    for run in runs {
        let read = at_best_layer(&run.shown.rows()?, &run.shown.rows()?);
        let answers: Vec<AccuracyRow> = run.shown.rows()?;
        let last = answers.iter().map(|row| row.step).max();
        for row in answers.into_iter().filter(|row| Some(row.step) == last) {
            let same = |read: &&DecodabilityRow| {
                (read.step, shots_before(read.token), &read.concept) == (row.step, row.shots, &row.concept)
            };
            let read = read.iter().find(same);
            rows.push(TuningRow {
                run: run.name.clone(),
                trainable: run.trainable.clone(),
                shots: row.shots,
                accuracy: row.accuracy,
                lo: row.lo,
                hi: row.hi,
                log_probability: row.log_probability,
                layer: read.map(|read| read.layer),
                cd: read.map(|read| read.score),
                n: row.n,
                concept: row.concept,
            });
        }
    }
    Ok(rows)
}

/// Nothing, if a comparison of tuned models may be written to `out`.
///
/// # Errors
/// When something of the same name is there that no such comparison wrote and `force` is not given, or `out` is in a run.
pub fn check_tuning(out: &Folder, force: bool) -> Result<(), RecordError> {
    check_folder(out, &[Box::new(out.table::<TuningRow>())], &["tuning"], force)
}

/// Writes `tuning.csv` and the figure `tuning` to `out`, and returns the rows. The first run is the model before tuning; with
/// it alone there is no figure.
///
/// # Errors
/// When a table cannot be read, the figure not be drawn, or a file not be written.
pub fn write_tuning(runs: &[TunedRun<'_>], out: &Folder) -> Result<Vec<TuningRow>, MeasureError> {
    let rows = tuning_rows(runs)?;
    out.table().replace(&rows)?;
    match figure::tuning(&rows) {
        Ok(svg) => out.write_plot("tuning", &svg, &plots::png(&svg)?)?,
        Err(PlotError::Empty { .. }) => out.remove_plot("tuning")?,
        Err(error) => return Err(error.into()),
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use data::Legend;

    use super::*;
    use crate::fake::{Counter, text_study};
    use crate::{Accuracy, Decodability, Live, Rows};

    #[test]
    fn runs_stand_beside_each_other_at_their_last_step() {
        let (study, place) = (text_study(), tempfile::tempdir().unwrap());
        let legend = Legend::of_text(study.task.text().as_ref());
        let folders = [0.0, 0.5].map(|share| {
            let folder = Folder::create(&place.path().join(share.to_string())).unwrap();
            for (step, share) in [(0, 0.0), (9, share)] {
                Accuracy::at(&study, &Counter::new(share), step).unwrap().append(&folder).unwrap();
                Decodability::at(&study, &Counter::new(share), step).unwrap().append(&folder).unwrap();
            }
            folder
        });
        let run = |((name, trainable), folder): ((&str, &str), _)| TunedRun {
            name: name.to_owned(),
            trainable: trainable.to_owned(),
            shown: Shown { folder, legend: &legend },
        };
        let runs: Vec<TunedRun<'_>> = [("base", ""), ("tuned", "first=1")].into_iter().zip(&folders).map(run).collect();
        let out = Folder::create(&place.path().join("out")).unwrap();
        let rows = write_tuning(&runs, &out).unwrap();
        assert_eq!(out.table::<TuningRow>().read().unwrap(), rows);
        assert!(out.path().join("tuning.svg").exists());
        // Two numbers of demonstrations, for each all concepts, up and down.
        let of = |name: &str| rows.iter().filter(move |row| row.run == name && row.shots == 5).collect::<Vec<_>>();
        assert_eq!((rows.len(), of("base").len(), of("tuned").len()), (12, 3, 3));
        assert_eq!((of("base")[0].accuracy, of("tuned")[0].accuracy), (0.0, 1.0));
        assert!(of("tuned")[0].cd > of("base")[0].cd && of("tuned")[0].layer == Some(Layer(1)));
        assert_eq!(of("tuned")[1].trainable, "first=1");
        write_tuning(&runs[..1], &out).unwrap();
        assert!(!out.path().join("tuning.svg").exists(), "one run is no comparison");
    }
}
