//! The rows of the table: hidden states in a plane.

use data::Token;
use probe::Layer;
use serde::{Deserialize, Serialize};

use crate::row::row;

/// How states were brought into a plane, in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapMethod {
    /// Principal components.
    Pca,
    /// t-SNE, in tables of older programs only.
    Tsne,
    /// UMAP.
    Umap,
}

impl MapMethod {
    /// Name in text.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pca => "principal components",
            Self::Umap => "UMAP",
            Self::Tsne => "t-SNE",
        }
    }
}

/// One prompt's hidden state in a plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapRow {
    /// How the states were brought into the plane.
    pub method: MapMethod,
    /// Optimizer steps taken.
    pub step: usize,
    /// As in [`DecodabilityRow::layer`](crate::DecodabilityRow::layer).
    pub layer: Layer,
    /// As in [`DecodabilityRow::token`](crate::DecodabilityRow::token).
    pub token: Token,
    /// Name of the prompt's concept.
    pub concept: String,
    /// First coordinate.
    pub x: f64,
    /// Second coordinate.
    pub y: f64,
    /// Share of the variance along x, 0 to 1; empty where the method has none.
    pub explained_x: Option<f64>,
    /// Share of the variance along y, 0 to 1; empty where the method has none.
    pub explained_y: Option<f64>,
}

row!(MapRow, "map.csv", |row| Some(row.step));
