//! What a checkpoint knows, what its parts do, and how runs compare.
//!
//! A [`Probe`] guesses the concept of prompts from their hidden states, [`Representations`]; [`decodability`] asks how
//! often it is right, layer by layer; [`HeldOut`] measures errors beside the closed-form predictors'. Beside them are the
//! commands on a finished run: readings of its states, causes (patched states, heads off, transplanted layers), maps, exports,
//! and the comparison of several runs. The rest turns tables into figures and a report; nothing trains.
//!
//! ```
//! use analysis::{Distance, Knn, Probe, States};
//! use nalgebra::DMatrix;
//!
//! // Two planted concepts, apart along the first coordinate.
//! let labels: Vec<usize> = (0..40).map(|i| i / 20).collect();
//! let states = DMatrix::from_fn(40, 2, |i, j| if j == 0 { 9.0 * labels[i] as f64 } else { i as f64 / 40.0 });
//! let knn = Knn { neighbours: 10, distance: Distance::Euclidean };
//! assert_eq!(knn.guess(&States::new(states), &[&labels])[0], labels);
//! ```

mod algorithms;
mod causes;
mod cli;
mod comparison;
mod decodability;
mod drawings;
mod errors;
mod export;
mod figures;
mod interval;
mod maps;
mod probes;
mod readings;
mod stages;
mod states;
mod summary;

pub use algorithms::{Algorithms, nearest};
pub use causes::{
    Activation, Intervened, Intervention, Means, PatchPlan, intervene, patch, predict_patched, prune, transplants,
    write_patching, write_pruning, write_transplants,
};
pub use cli::{CliError, Command, Compare, Machine, command_line, reproduction, say_summary, say_sweep};
pub use comparison::{Comparison, Crossing, OverRuns, crossing, group_labels, pearson, spearman, write_comparison};
pub use decodability::{Decodability, DecodabilityTables, decodability, resample_prompts, resample_states};
pub use drawings::{
    algorithms, cd_against_error, comparison, emergence, ends, heatmap, lags, maps, mean_pairs, pairs, patching,
    patching_sweep, positions, pruning, reading, replacement, separation, sites, steering, transplant,
};
pub use errors::HeldOut;
pub use export::{ExportError, StatesExport, write_gpt2, write_prompts};
pub use figures::{FigureError, write_report};
pub use interval::{Bootstrap, Estimate};
pub use maps::{MapMethod, Plane, principal_components, tsne, umap};
pub use probes::{Centroid, Distance, Knn, Linear, Probe, Quadratic, States, probes};
pub use readings::{
    MapPlan, Separation, measure_separation, write_map, write_positions, write_sensitivity, write_separation,
    write_sites,
};
pub use stages::{write_algorithms, write_baselines, write_decodability};
pub use states::{Representations, predict};
pub use summary::{ConceptSummary, DecodabilitySummary, Summary};
