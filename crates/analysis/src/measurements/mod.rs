//! Everything that can be asked of a model, one folder a question.
//!
//! A [`Measurement`] plans, measures and shows. It knows no backend and no program: it asks a [`Subject`] and gives rows.
//! [`ALL`] is the list that the commands, their help, the tables, the figures and the report go over.

mod accuracy;
mod algorithms;
mod baselines;
mod components;
pub(crate) mod decodability;
mod effect;
mod entry;
mod errors;
mod groups;
mod head_ablation;
mod head_interchange;
mod head_map;
mod head_scores;
mod held_out;
mod interchange;
mod interval;
mod intervene;
mod intervention;
mod layer_exchange;
mod needs;
mod options;
mod patching;
mod positions;
mod projections;
mod sensitivity;
mod separation;
mod session;
pub(crate) mod shots;
mod tdnv;

use std::fmt::Debug;

use clap::Args;
use probe::{Study, Subject};
use record::{AnyTable, Folder, RecordError, Row};
use serde::Serialize;

pub use accuracy::{Accuracy, AccuracyRow, AnswerRow, CorrelationOfText, cd_accuracy};
pub use algorithms::{AlgorithmRow, AlgorithmTrace, Algorithms, nearest};
pub use baselines::{BaselineRow, Baselines};
pub use components::{ComponentOutputs, ComponentRow};
pub use decodability::{
    BestLayerRow, Decodability, DecodabilityRow, LabelledStates, Selection, control_rows, decodability_rows,
    rows_of_states,
};
pub use entry::{Append, Entry, LiveEntry, Planned};
pub use errors::{Errors, MetricRow, Split};
pub use head_ablation::{AblationRow, HeadAblation};
pub use head_interchange::{HeadInterchange, HeadInterchangeRow};
pub use head_scores::{HeadScoreRow, HeadScores};
pub use held_out::HeldOut;
pub use interchange::{Donor, Interchange, InterchangeRow, Places, Subspace, Target};
pub use interval::{Bootstrap, Estimate, OverResamples};
pub use intervene::{Intervene, InterventionKind, InterventionRow};
pub use intervention::{directions, random_direction};
pub use layer_exchange::{ExchangeRow, LayerExchange};
pub use needs::Needs;
pub use options::{NoOptions, OneStep, Steps};
pub use patching::{PatchKind, PatchRow, Patching};
pub use positions::{AlongPrompt, PositionRow, Reader};
pub use projections::{MapMethod, MapRow, Plane, Projection, Projections, principal_components, umap};
pub use sensitivity::{Sensitivity, SensitivityRow};
pub use separation::{PairRow, Separation, SeparationRow, Separations, Statistic, measure_separation};
pub use session::{MeasureError, Session};
pub use tdnv::{TaskVariance, TdnvRow};

pub(crate) use decodability::held_out_cd;
pub(crate) use errors::over_all;
pub(crate) use intervention::{MEAN_PROMPTS, mean_prompts};
pub(crate) use projections::principal_axes;
pub(crate) use separation::mean_pairs;

use crate::show::{Section, Shown};

/// Every measurement, in the order of the report.
pub const ALL: &[Entry] = &[
    Entry::of::<errors::Errors>(),
    Entry::of::<baselines::Baselines>(),
    Entry::of::<accuracy::Accuracy>(),
    Entry::of::<decodability::Decodability>(),
    Entry::of::<positions::AlongPrompt>(),
    Entry::of::<components::ComponentOutputs>(),
    Entry::of::<separation::Separations>(),
    Entry::of::<tdnv::TaskVariance>(),
    Entry::of::<algorithms::AlgorithmTrace>(),
    Entry::of::<projections::Projections>(),
    Entry::of::<patching::Patching>(),
    Entry::of::<intervene::Intervene>(),
    Entry::of::<interchange::Interchange>(),
    Entry::of::<head_interchange::HeadInterchange>(),
    Entry::of::<head_ablation::HeadAblation>(),
    Entry::of::<head_scores::HeadScores>(),
    Entry::of::<layer_exchange::LayerExchange>(),
    Entry::of::<sensitivity::Sensitivity>(),
];

/// What training measures at every checkpoint, in this order.
pub const LIVE: &[LiveEntry] = &[LiveEntry::of::<errors::Errors>(), LiveEntry::of::<decodability::Decodability>()];

/// A question to the models of a run.
pub trait Measurement: 'static {
    /// What the command is called.
    const NAME: &'static str;
    /// What it does, in one line of the command's help.
    const ABOUT: &'static str;
    /// What it needs of prompts; checked before [`plan`](Self::plan).
    const NEEDS: Needs;
    /// Names of the figures that [`show`](Self::show) may draw.
    const FIGURES: &'static [&'static str] = &[];

    /// What a user can choose; recorded with the tables.
    type Options: Args + Serialize;
    /// The options, checked and complete. What was finished by another plan is not used.
    type Plan: Debug;
    /// What is written.
    type Rows: Rows;

    /// Checks the options; every refusal comes from here, before anything is locked or written.
    ///
    /// # Errors
    /// When an option is outside its range, or the models or tables that the plan depends on cannot be read.
    fn plan(options: Self::Options, session: &Session<'_>) -> Result<Self::Plan, MeasureError>;

    /// Does what was planned.
    ///
    /// # Errors
    /// When a model cannot be read.
    fn measure(plan: &Self::Plan, session: &Session<'_>) -> Result<Self::Rows, MeasureError>;

    /// The sections of the report, from tables alone; of tables that are not there, none.
    ///
    /// # Errors
    /// When a table cannot be read or a figure not be drawn.
    fn show(_: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        Ok(Vec::new())
    }
}

/// A measurement that training takes at every checkpoint.
pub trait Live: Measurement {
    /// The rows of one model.
    ///
    /// # Errors
    /// When the model cannot be read.
    fn at(study: &Study, subject: &dyn Subject, step: usize) -> Result<Self::Rows, MeasureError>;

    /// What a person who watches the training wants to see of them.
    fn headline(rows: &Self::Rows, shown: &Shown<'_>) -> Option<String>;
}

/// The rows of one or more tables.
pub trait Rows: Default + Send {
    /// The tables, empty or not.
    fn tables(folder: &Folder) -> Vec<Box<dyn AnyTable>>;

    /// What stands in the tables.
    ///
    /// # Errors
    /// When a table cannot be read.
    fn read(folder: &Folder) -> Result<Self, RecordError>;

    /// Writes the tables anew.
    ///
    /// # Errors
    /// When the disk fails.
    fn replace(&self, folder: &Folder) -> Result<(), RecordError>;

    /// Adds to the tables.
    ///
    /// # Errors
    /// When the disk fails, or a table there has other columns.
    fn append(&self, folder: &Folder) -> Result<(), RecordError>;

    /// Adds more rows of the same tables.
    fn join(&mut self, more: Self);
}

impl<R: Row> Rows for Vec<R> {
    fn tables(folder: &Folder) -> Vec<Box<dyn AnyTable>> {
        vec![Box::new(folder.table::<R>())]
    }

    fn read(folder: &Folder) -> Result<Self, RecordError> {
        folder.table().read()
    }

    fn replace(&self, folder: &Folder) -> Result<(), RecordError> {
        folder.table().replace(self)
    }

    fn append(&self, folder: &Folder) -> Result<(), RecordError> {
        folder.table().append(self)
    }

    fn join(&mut self, more: Self) {
        self.extend(more);
    }
}

impl<A: Row, B: Row> Rows for (Vec<A>, Vec<B>) {
    fn tables(folder: &Folder) -> Vec<Box<dyn AnyTable>> {
        vec![Box::new(folder.table::<A>()), Box::new(folder.table::<B>())]
    }

    fn read(folder: &Folder) -> Result<Self, RecordError> {
        Ok((folder.table().read()?, folder.table().read()?))
    }

    fn replace(&self, folder: &Folder) -> Result<(), RecordError> {
        folder.table().replace(&self.0)?;
        folder.table().replace(&self.1)
    }

    fn append(&self, folder: &Folder) -> Result<(), RecordError> {
        folder.table().append(&self.0)?;
        folder.table().append(&self.1)
    }

    fn join(&mut self, (first, second): Self) {
        self.0.extend(first);
        self.1.extend(second);
    }
}

/// At most `most` of the values, evenly spread, with the first and the last among them.
pub(crate) fn spread<T: Copy>(values: &[T], most: usize) -> Vec<T> {
    let chosen = most.min(values.len());
    (0..chosen).map(|index| values[index * (values.len() - 1) / (chosen - 1).max(1)]).collect()
}

/// Ascending, each once.
pub(crate) fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}
