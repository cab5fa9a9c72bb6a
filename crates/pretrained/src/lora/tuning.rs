//! Adapters on a device, beside the maps of a block.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use data::Stream;
use kernels::Kernels;
use rand::Rng;

use super::adapter::{AdapterConfig, AdapterPlace, Factors};
use crate::decoder::{Linear, MapPlace, Tune, head_by_head, side_by_side};
use crate::folder::Part;

/// A and B of an adapter on a device; the rows of B in the order of the block's columns.
pub(crate) type Pair<B> = [Tensor<B, 2>; 2];

/// Adapters at work.
pub(crate) struct Tuning<'a, B: Backend> {
    pub(crate) config: &'a AdapterConfig,
    pub(crate) places: &'a [AdapterPlace],
    /// A pair for every place.
    pub(crate) factors: &'a [Pair<B>],
    pub(crate) dropout: Option<Dropout<'a>>,
}

/// Which inputs of adapters are left out. A mask is a function of the seed, the example and the adapter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout<'a> {
    pub(crate) stream: Stream,
    pub(crate) probability: f64,
    /// Number and tokens of every example among the rows.
    pub(crate) examples: &'a [(u64, usize)],
}

impl<B: Kernels> Tune<B> for Tuning<'_, B> {
    fn apply(&self, layer: usize, place: MapPlace, map: &Linear<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let here = self.places.iter().enumerate().filter(|(_, at)| at.layer == layer && at.map == place);
        let here: Vec<(usize, &AdapterPlace)> = here.collect();
        if here.is_empty() {
            return map.forward(x);
        }
        let y = map.forward(x.clone());
        let [_, width] = y.dims();
        let inner = joined(here.iter().map(|(number, _)| self.inner(*number, x.clone())).collect(), 1);
        y + inner.matmul(self.up(&here, width).transpose())
    }
}

impl<B: Kernels> Tuning<'_, B> {
    /// (α/r) A x, `[rows, rank]`
    fn inner(&self, number: usize, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let x = match &self.dropout {
            Some(dropout) => {
                let shape = x.dims();
                let mask = dropout.mask(number as u64, self.places.len() as u64, shape[1]);
                let mask = Tensor::from_data(TensorData::new(mask, shape), &x.device());
                x * mask
            }
            None => x,
        };
        x.matmul(self.factors[number][0].clone().transpose()) * self.config.scale()
    }

    /// The factors B of all adapters of a map as one, `[width, adapters · rank]`: a column block each, with 0 where an
    /// adapter does not write. One product then adds to the whole map, where parts would have to be copied together.
    fn up(&self, here: &[(usize, &AdapterPlace)], width: usize) -> Tensor<B, 2> {
        let (rank, count) = (self.config.rank, here.len());
        let nothing = |rows, columns| Tensor::zeros([rows, columns], &self.factors[0][0].device());
        let (mut parts, mut end) = (Vec::new(), 0);
        for (at, (number, place)) in here.iter().enumerate() {
            parts.push(nothing(place.first - end, count * rank));
            let up = self.factors[*number][1].clone();
            let row = vec![nothing(place.outputs, at * rank), up, nothing(place.outputs, (count - 1 - at) * rank)];
            parts.push(joined(row, 1));
            end = place.first + place.outputs;
        }
        parts.push(nothing(width - end, count * rank));
        joined(parts, 0)
    }
}

/// Matrices along one axis as one; empty ones are left out.
fn joined<B: Backend>(mut parts: Vec<Tensor<B, 2>>, axis: usize) -> Tensor<B, 2> {
    parts.retain(|part| part.dims()[axis] > 0);
    if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, axis) }
}

impl Dropout<'_> {
    /// 0 for what is left out and 1/(1 − p) for what is kept, so that the mean stays: `[rows, inputs]`.
    fn mask(&self, adapter: u64, adapters: u64, inputs: usize) -> Vec<f32> {
        let least = (self.probability * f64::from(u32::MAX)) as u32;
        let kept = (1.0 - self.probability).recip() as f32;
        let mut mask = Vec::with_capacity(self.examples.iter().map(|(_, tokens)| tokens * inputs).sum());
        for (example, tokens) in self.examples {
            let mut rng = self.stream.rng(example * adapters + adapter);
            mask.extend((0..tokens * inputs).map(|_| if rng.next_u32() < least { 0.0 } else { kept }));
        }
        mask
    }
}

impl Factors {
    /// On a device.
    pub(crate) fn upload<B: Backend>(&self, rank: usize, d_head: usize, device: &B::Device) -> Pair<B> {
        let Self { place, down, up } = self;
        let up = if place.part == Part::QueryKeyValue { side_by_side(up, d_head * rank) } else { up.clone() };
        let tensor = |values, shape: [usize; 2]| Tensor::from_data(TensorData::new(values, shape), device);
        [tensor(down.clone(), [rank, place.inputs]), tensor(up, [place.outputs, rank])]
    }

    /// Of the tensors that [`upload`](Self::upload) made, or such as belong to them.
    pub(crate) fn download<B: Backend>(place: &AdapterPlace, pair: &Pair<B>, d_head: usize) -> Self {
        let [[rank, _], _] = pair.each_ref().map(Tensor::dims);
        let [down, up] = pair.clone().map(|tensor| tensor.into_data().to_vec::<f32>().expect("factors are f32"));
        let up = if place.part == Part::QueryKeyValue { head_by_head(&up, d_head * rank) } else { up };
        Self { place: place.clone(), down, up }
    }
}

#[cfg(test)]
mod tests {
    use data::Purpose;

    use super::*;

    fn dropout(probability: f64, examples: &[(u64, usize)]) -> Dropout<'_> {
        Dropout { stream: Stream::new(5, Purpose::Dropout), probability, examples }
    }

    #[test]
    fn a_mask_keeps_the_mean() {
        let mask = dropout(0.3, &[(0, 200), (1, 300)]).mask(1, 4, 100);
        let left_out = mask.iter().filter(|value| **value == 0.0).count() as f64 / mask.len() as f64;
        // Six standard deviations of 50,000 draws.
        assert!((left_out - 0.3).abs() < 0.013, "{left_out}");
        assert!(mask.iter().all(|value| *value == 0.0 || (value * 0.7 - 1.0).abs() < 1e-6));
        assert!(dropout(0.0, &[(0, 9)]).mask(0, 1, 50).iter().all(|value| *value == 1.0));
    }

    #[test]
    fn a_mask_belongs_to_its_example_and_adapter() {
        let both = dropout(0.5, &[(6, 3), (7, 2)]).mask(2, 4, 40);
        assert_eq!(both[3 * 40..], dropout(0.5, &[(7, 2)]).mask(2, 4, 40)[..]);
        assert_ne!(both, dropout(0.5, &[(6, 3), (7, 2)]).mask(3, 4, 40));
        assert_ne!(both[..80], both[120..]);
    }
}
