//! A comparison on disk: its tables and figures.

use plots::PlotError;
use probe::ProbeKind;
use record::Folder;

use super::correlation_figure::cd_against_error;
use super::curves_figure::comparison;
use super::ends_figure::ends;
use super::lags_figure::lags;
use super::replacement_figure::replacement;
use super::{Compared, Comparison, SweepRow};
use crate::MeasureError;
use crate::measurements::mean_pairs;
use crate::show::once_each;

/// Writes every table and figure of a comparison to `out`, with the accuracy of `probe` beside the error, and returns
/// the ends of the runs.
///
/// # Errors
/// When a table cannot be read, a figure not be drawn, or a file not be written.
pub fn write_comparison(runs: &[Compared], probe: ProbeKind, out: &Folder) -> Result<Vec<SweepRow>, MeasureError> {
    let found = Comparison::read(runs, probe)?;
    let concepts = concepts(runs);
    out.table().replace(&found.runs)?;
    out.table().replace(&found.points)?;
    out.table().replace(&found.curves)?;
    out.table().replace(&found.lags)?;
    out.table().replace(&found.correlations)?;
    out.table().replace(&found.replacements)?;
    out.table().replace(&found.pairs)?;
    let figures = [
        ("comparison", comparison(&found.curves, probe, &concepts)),
        ("cd_against_error", cd_against_error(&found.points, &found.correlations, probe, &concepts)),
        ("ends", ends(&found.runs, probe)),
        ("lags", lags(&found.lags, probe, &concepts)),
        ("replacement", replacement(&found.replacements)),
        ("pairs", mean_pairs(&found.pairs)),
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

/// The concepts of all runs, each once, in the order of their tasks.
fn concepts(runs: &[Compared]) -> Vec<String> {
    let of_run = |run: &Compared| run.legend.concepts.iter().map(|concept| concept.name.clone()).collect::<Vec<_>>();
    once_each(runs.iter().flat_map(of_run))
}
