//! The weights of a model with its adapters in them, so that whatever measures a model measures a tuned one.

use rayon::prelude::*;

use super::Adapters;
use super::adapter::Factors;
use crate::PretrainedError;
use crate::decoder::WeightSource;

/// The weights of `source`, W + (α/r) B A where there is an adapter.
pub struct Merged<'a> {
    /// The model as it was trained.
    pub source: &'a dyn WeightSource,
    /// What was learnt on top of it.
    pub adapters: &'a Adapters,
}

impl Merged<'_> {
    fn adapter_of(&self, name: &str) -> Option<&Factors> {
        let map = name.strip_suffix(".weight")?;
        self.adapters.factors.iter().find(|factors| factors.place.name == map)
    }

    /// Adds the adapter's part to one row of a map, in f64.
    fn add(&self, factors: &Factors, row: usize, to: &mut [f32]) {
        let (rank, scale) = (self.adapters.config.rank, self.adapters.config.scale());
        let mut sums = vec![0.0; to.len()];
        for (up, down) in factors.up[row * rank..][..rank].iter().zip(factors.down.chunks_exact(to.len())) {
            sums.iter_mut().zip(down).for_each(|(sum, down)| *sum += f64::from(*up) * f64::from(*down));
        }
        to.iter_mut().zip(sums).for_each(|(to, sum)| *to = (f64::from(*to) + scale * sum) as f32);
    }
}

impl WeightSource for Merged<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, PretrainedError> {
        let mut found = self.source.tensor(name, shape)?;
        if let Some(factors) = self.adapter_of(name) {
            let rows = found.par_chunks_exact_mut(factors.place.inputs).enumerate();
            rows.for_each(|(row, to)| self.add(factors, row, to));
        }
        Ok(found)
    }

    fn rows(&self, name: &str, rows: &[usize], columns: usize) -> Result<Vec<f32>, PretrainedError> {
        let mut found = self.source.rows(name, rows, columns)?;
        if let Some(factors) = self.adapter_of(name) {
            found.par_chunks_exact_mut(columns).zip(rows).for_each(|(to, row)| self.add(factors, *row, to));
        }
        Ok(found)
    }
}
