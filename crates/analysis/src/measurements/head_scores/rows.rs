//! Scores of attention heads; intervals are at 95%, by bootstrap over prompts.

use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// How much one attention head looks for what came before, and how much of the concept its mean output brings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadScoreRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// The layer that the head's block writes, from 1.
    pub layer: Layer,
    /// The head, from 1.
    pub head: usize,
    /// Mean attention from an x that comes again to the y behind its first occurrence, 0 to 1.
    pub induction: f64,
    /// Lower end of the interval of `induction`.
    pub induction_lo: f64,
    /// Upper end of the interval of `induction`.
    pub induction_hi: f64,
    /// The same of a head that attends to all tokens so far alike.
    pub chance: f64,
    /// What the mean output over prompts of the concept takes from the error at the query of prompts with permuted ys, as a
    /// share of the mean of y².
    pub function_vector: f64,
    /// Lower end of the interval of `function_vector`.
    pub function_vector_lo: f64,
    /// Upper end of the interval of `function_vector`.
    pub function_vector_hi: f64,
    /// `function_vector` less the same with the mean over the other concepts: what the concept brings, and not any mean.
    pub concept_part: f64,
    /// Lower end of the interval of `concept_part`.
    pub concept_part_lo: f64,
    /// Upper end of the interval of `concept_part`.
    pub concept_part_hi: f64,
    /// Prompts of every concept that the scores are taken over.
    pub n: usize,
}

row!(HeadScoreRow, "heads.csv", |row| Some(row.step));
