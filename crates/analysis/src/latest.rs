//! What was measured last, for lists of many runs: only the ends of tables are read.

use record::RecordError;
use serde::Serialize;

use crate::measurements::{held_out_cd, over_all};
use crate::show::Shown;
use crate::{BestLayerRow, MetricRow};

/// What was measured at the newest checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latest {
    /// The model's error over E\[y²\], over all concepts and positions; none where prompts are text.
    pub error: Option<f64>,
    /// The same over the error of the optimal predictor, where the task has one.
    pub over_optimal: Option<f64>,
    /// Held-out CD at the query's x token, with the ends of its 95% interval.
    pub cd: Option<[f64; 3]>,
    /// CD of guessing.
    pub chance: f64,
}

impl Latest {
    /// Of the tables of a run; what was not measured is none.
    ///
    /// # Errors
    /// When a table cannot be read or has other columns.
    pub fn read(shown: &Shown<'_>) -> Result<Self, RecordError> {
        let errors = shown.folder.table::<MetricRow>().newest()?;
        let best = shown.folder.table::<BestLayerRow>().newest()?;
        let error = over_all(&errors).map(|row| row.relative_mse);
        let optimal = shown.optimal_error()?;
        Ok(Self {
            error,
            over_optimal: error.and_then(|error| Some(error / optimal?)),
            cd: held_out_cd(&best).map(|row| [row.score, row.lo, row.hi]),
            chance: 1.0 / shown.legend.concepts.len().max(1) as f64,
        })
    }
}
