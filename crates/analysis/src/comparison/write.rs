//! A comparison on disk: its tables and figures.

use plots::PlotError;
use run::{ComparisonDir, Experiment, ProbeKind, RunDir, SweepRow};

use crate::drawings;
use crate::{Comparison, FigureError};

/// Writes every table and figure of a comparison to `out`, with the accuracy of `probe` beside the error, and returns
/// the ends of the runs.
///
/// # Errors
/// When a table cannot be read, a figure not be drawn, or a file not be written.
pub fn write_comparison(
    runs: &[(RunDir, Experiment)],
    probe: ProbeKind,
    out: &ComparisonDir,
) -> Result<Vec<SweepRow>, FigureError> {
    let found = Comparison::read(runs, probe)?;
    out.table().replace(&found.runs)?;
    out.table().replace(&found.points)?;
    out.table().replace(&found.curves)?;
    out.table().replace(&found.lags)?;
    out.table().replace(&found.correlations)?;
    out.table().replace(&found.replacements)?;
    out.table().replace(&found.pairs)?;
    let figures = [
        ("comparison", drawings::comparison(&found.curves, probe)),
        ("cd_against_error", drawings::cd_against_error(&found.points, &found.correlations, probe)),
        ("ends", drawings::ends(&found.runs, probe)),
        ("lags", drawings::lags(&found.lags, probe)),
        ("replacement", drawings::replacement(&found.replacements)),
        ("pairs", drawings::mean_pairs(&found.pairs)),
    ];
    for (name, svg) in figures {
        match svg {
            Ok(svg) => out.write_plot(name, &svg, &plots::png(&svg)?)?,
            // That of another comparison in the same folder would not be of these tables.
            Err(PlotError::Empty { .. }) => out.remove_plot(name)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found.runs)
}
