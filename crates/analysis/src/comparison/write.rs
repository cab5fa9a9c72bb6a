//! A comparison on disk: its tables and figures.

use plots::PlotError;
use probe::ProbeKind;
use record::{AnyTable, Folder, RecordError, check_folder};

use super::correlation_figure::cd_against_error;
use super::curves_figure::comparison;
use super::ends_figure::ends;
use super::lags_figure::lags;
use super::replacement_figure::replacement;
use super::{Compared, Comparison, CorrelationRow, CurveRow, LagRow, MeanPairRow, PointRow, ReplacementRow, SweepRow};
use crate::MeasureError;
use crate::measurements::mean_pairs;
use crate::show::once_each;

const FIGURES: [&str; 6] = ["comparison", "cd_against_error", "ends", "lags", "replacement", "pairs"];

/// Nothing, if a comparison may be written to `out`.
///
/// # Errors
/// When something of the same name is there that no comparison wrote and `force` is not given, or `out` is in a run.
pub fn check_comparison(out: &Folder, force: bool) -> Result<(), RecordError> {
    let tables: [Box<dyn AnyTable>; 7] = [
        Box::new(out.table::<SweepRow>()),
        Box::new(out.table::<PointRow>()),
        Box::new(out.table::<CurveRow>()),
        Box::new(out.table::<LagRow>()),
        Box::new(out.table::<CorrelationRow>()),
        Box::new(out.table::<ReplacementRow>()),
        Box::new(out.table::<MeanPairRow>()),
    ];
    check_folder(out, &tables, &FIGURES, force)
}

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
        comparison(&found.curves, probe, &concepts),
        cd_against_error(&found.points, &found.correlations, probe, &concepts),
        ends(&found.runs, probe),
        lags(&found.lags, probe, &concepts),
        replacement(&found.replacements),
        mean_pairs(&found.pairs),
    ];
    for (name, svg) in FIGURES.into_iter().zip(figures) {
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
