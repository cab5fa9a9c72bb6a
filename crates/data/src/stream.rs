//! Random numbers by seed, purpose and index.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What random numbers are for. Two purposes never share a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Prompts to train on.
    Train,
    /// Held-out prompts the error is measured on.
    Eval,
    /// Prompts whose hidden states are probed.
    Probe,
    /// Prompts whose mean activations are patched in.
    Patch,
    /// Initial weights.
    Init,
    /// Permutations of labels for the control probe.
    Shuffle,
    /// Directions in the space of hidden states, for the control of patching.
    Direction,
    /// Sets of prompts drawn with replacement, for intervals.
    Bootstrap,
    /// Samples of a map's optimiser.
    Map,
    /// Inputs that adapters do not see while they are trained.
    Dropout,
}

/// Addressed randomness: a generator is a pure function of (seed, purpose, index).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    seed: u64,
    purpose: Purpose,
}

impl Stream {
    /// The stream of a seed for a purpose.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, purpose }
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What its random numbers are for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The generator at `index`: ChaCha8 keyed by seed and purpose, its stream number the index.
    pub fn rng(&self, index: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8] = match self.purpose {
            Purpose::Train => 0,
            Purpose::Eval => 1,
            Purpose::Probe => 2,
            Purpose::Patch => 3,
            Purpose::Init => 4,
            Purpose::Shuffle => 5,
            Purpose::Direction => 6,
            Purpose::Bootstrap => 7,
            Purpose::Map => 8,
            Purpose::Dropout => 9,
        };
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        rng
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn first(seed: u64, purpose: Purpose, index: u64) -> u64 {
        Stream::new(seed, purpose).rng(index).next_u64()
    }

    #[test]
    fn an_address_gives_the_same_numbers_every_time() {
        assert_eq!(first(7, Purpose::Train, 3), first(7, Purpose::Train, 3));
    }

    #[test]
    fn every_part_of_the_address_matters() {
        let here = first(7, Purpose::Train, 3);
        assert_ne!(here, first(8, Purpose::Train, 3));
        assert_ne!(here, first(7, Purpose::Eval, 3));
        assert_ne!(here, first(7, Purpose::Train, 4));
    }
}
