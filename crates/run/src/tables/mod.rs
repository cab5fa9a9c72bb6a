//! Long-format tables. A new probe or metric adds rows and changes no schema and no figure.
//!
//! An empty cell in `concept` or `position` means "over all of them".

mod algorithms;
mod causes;
mod comparison;
mod errors;
mod readings;
mod states;

pub use algorithms::AlgorithmRow;
pub use causes::{PatchRow, PruningRow, TransplantRow};
pub use comparison::{CorrelationRow, CurveRow, LagRow, MeanPairRow, PointRow, ReplacementRow, SweepRow};
pub use errors::{BaselineRow, MetricRow, TrainingRow};
pub use readings::{PairRow, PositionRow, SensitivityRow, SeparationRow, Site, SiteRow};
pub use states::{BestLayerRow, DecodabilityRow, MapRow};

/// Names a row type's file and the step it belongs to.
macro_rules! row {
    ($row:ty, $file:literal, |$r:ident| $step:expr) => {
        impl ::record::Row for $row {
            const FILE: &'static str = $file;
            fn step(&self) -> Option<usize> {
                let $r = self;
                $step
            }
        }
    };
}
pub(crate) use row;
