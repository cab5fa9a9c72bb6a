//! Which parameters training may change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The parameters that training may change; all others are frozen: they get no gradient, so they do not enter the
/// gradient norm, and no update, so they keep their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Free {
    /// Every one; the only choice with which a latent is free.
    All,
    /// Those of the first n blocks: not of read-in and positions, so that as many are free as in the last n.
    First(usize),
    /// Those of the last n blocks, not of the read-out.
    Last(usize),
    /// Those of the final norm and the read-out.
    ReadOut,
}

impl Free {
    /// Errors unless it fits a model of `n_layers` blocks; `field` is its path in the configuration.
    ///
    /// # Errors
    /// When the number of blocks is not between 1 and `n_layers`.
    pub fn check(self, field: &'static str, n_layers: usize) -> Result<(), ModelError> {
        match self {
            Self::First(n) | Self::Last(n) if !(1..=n_layers).contains(&n) => Err(ModelError::OutOfRange {
                field,
                range: format!("all, or first=N or last=N with N between 1 and model.n_layers ({n_layers})"),
                value: n.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the parameter of that name is free in a model of `n_layers` blocks.
    pub(crate) fn has(self, name: &str, n_layers: usize) -> bool {
        let block = name.strip_prefix("blocks.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        match block {
            Some(block) => self.has_block(block + 1, n_layers),
            None if name.starts_with("final_norm.") || name.starts_with("read_out.") => self.has_read_out(),
            None => self.has_embedding(),
        }
    }

    /// Whether all is free that is neither in a block nor in the read-out.
    pub(crate) fn has_embedding(self) -> bool {
        self == Self::All
    }

    /// Whether the final norm and the read-out are free.
    pub(crate) fn has_read_out(self) -> bool {
        matches!(self, Self::All | Self::ReadOut)
    }

    /// Whether the block that writes `layer` is free in a model of `n_layers` blocks.
    pub(crate) fn has_block(self, layer: usize, n_layers: usize) -> bool {
        match self {
            Self::All => true,
            Self::First(n) => layer <= n,
            Self::Last(n) => layer > n_layers.saturating_sub(n),
            Self::ReadOut => false,
        }
    }
}

impl fmt::Display for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::First(n) => write!(f, "first={n}"),
            Self::Last(n) => write!(f, "last={n}"),
            Self::ReadOut => f.write_str("read_out"),
        }
    }
}

impl FromStr for Free {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let found = match text.split_once('=') {
            None if text == "all" => Some(Self::All),
            None if text == "read_out" => Some(Self::ReadOut),
            Some(("first", n)) => n.parse().ok().map(Self::First),
            Some(("last", n)) => n.parse().ok().map(Self::Last),
            _ => None,
        };
        found.ok_or_else(|| ModelError::OutOfRange {
            field: "free",
            range: "all, first=N, last=N or read_out".to_owned(),
            value: text.to_owned(),
        })
    }
}
