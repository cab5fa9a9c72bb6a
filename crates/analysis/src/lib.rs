//! Every question to a model, the comparison of runs, and the report; nothing trains.
//!
//! A [`Measurement`] is a question to the models of a run, its tables and its figures; [`ALL`] lists them. [`Comparison`]
//! puts several runs side by side, and [`write_report`] draws what the tables of one say. The library asks a
//! [`Subject`](probe::Subject) and writes to a [`Folder`](record::Folder): it knows no backend and no training run. Its
//! feature `cli`, on by default, is the command line that brings them.

#[cfg(feature = "cli")]
mod cli;
mod comparison;
mod exploration;
mod export;
#[cfg(test)]
mod fake;
mod latest;
mod measurements;
#[cfg(test)]
mod planted;
mod report;
mod row;
mod scalars;
mod show;
mod style;
mod summary;
mod tuning;

#[cfg(feature = "cli")]
pub use cli::{
    Allowed, CliError, Command, Common, Compare, Explore, Export, Listed, Machine, MeasureCommand, OfRun, Overrides,
    PageArgs, Remeasure, command_line, compared, explored, legend_of, measure_now, note_trained, note_unfinished,
    report_run, say_summary, say_sweep,
};
pub use comparison::{
    Compared, Comparison, CorrelationMethod, CorrelationRow, Crossing, CurveRow, FallFrom, LagRow, MeanPairRow,
    Measure, OverRuns, PointRow, Replacement, ReplacementRow, Scope, SweepRow, check_comparison, crossing, differences,
    group_labels, pearson, spearman, write_comparison,
};
pub use exploration::{EXPLORE, Explored, check_page};
pub use export::{StatesExport, write_prompts};
pub use latest::Latest;
pub use measurements::*;
pub use report::{Frame, write_report};
pub use scalars::{scalars, write_scalars};
pub use show::{Section, Shown};
pub use summary::{ConceptSummary, DecodabilitySummary, MissingTable, Summary, has_emerged};
pub use tuning::{TunedRun, TuningRow, check_tuning, tuning_rows, write_tuning};
