//! What the state of a prompt at one layer and token is changed with.

use data::{ConceptId, Purpose, Stream, TaskError, Token};
use nalgebra::DVector;
use probe::{Change, Delivery, Edit, Layer, Prompts, Study, Subject, SubjectError, Vectors, Wanted};
use rand_distr::{Distribution, StandardNormal};

use super::groups::Groups;

/// Prompts behind a concept's mean activation unless told otherwise.
pub(crate) const MEAN_PROMPTS: u32 = 100;

/// What is done to the residual stream h of a prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Intervention {
    /// h stays as it is, but is put back: the control that must change nothing.
    Nothing,
    /// h is replaced by an activation.
    Replace(Activation),
    /// h + strength · (activation − the mean over concepts): steering.
    Add(Activation, f64),
}

/// An activation that a state is changed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activation {
    /// The mean of a concept.
    Concept(ConceptId),
    /// The mean of Null, whose answers follow no concept.
    Null,
    /// The mean over concepts.
    Overall,
    /// A direction drawn anew for every prompt, its number in the list being the index in the stream, as long as what
    /// the mean of the prompt's own concept would have brought in.
    Random(Stream),
}

/// Mean activations at one token.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Means {
    /// `[layers + 1][n_concepts][d_model]`
    by_layer: Vec<Vec<DVector<f64>>>,
    /// `[layers + 1][d_model]`; empty without Null.
    null: Vec<DVector<f64>>,
}

impl Means {
    /// Means over the prompts of each concept at `token`, at `layers` (none for all), and of Null where there are prompts of
    /// it beside those of the concepts. Every concept has a prompt.
    pub(super) fn of(
        subject: &dyn Subject,
        prompts: Prompts,
        null: Option<Prompts>,
        token: Token,
        layers: &[Layer],
    ) -> Result<Self, SubjectError> {
        let mut by_layer = vec![Vec::new(); subject.anatomy().n_layers + 1];
        let mut of_null = vec![DVector::zeros(0); if null.is_some() { by_layer.len() } else { 0 }];
        let groups: Vec<Prompts> = std::iter::once(prompts).chain(null).collect();
        let wanted = Wanted { layers: layers.to_vec(), ..Wanted::residual(&[token]) };
        subject.read(&groups, &wanted, &mut |Delivery { group, states, .. }| {
            for (index, layer) in states.layers.iter().enumerate() {
                let here = states.states(index, 0);
                match group {
                    0 => by_layer[layer.0] = Groups::of(here.rows(), &states.labels).means,
                    _ => of_null[layer.0] = here.rows().row_mean().transpose(),
                }
            }
        })?;
        Ok(Self { by_layer, null: of_null })
    }

    /// The mean of a concept at a layer, `[d_model]`.
    fn concept(&self, layer: Layer, concept: ConceptId) -> &DVector<f64> {
        &self.by_layer[layer.0][concept.0]
    }

    /// The mean over concepts at a layer, `[d_model]`; every concept counts alike.
    fn overall(&self, layer: Layer) -> DVector<f64> {
        let means = &self.by_layer[layer.0];
        means.iter().sum::<DVector<f64>>() / means.len() as f64
    }
}

impl Intervention {
    /// The edit that does it at a layer and token of prompts, whose concepts are given.
    pub(super) fn edit(self, labels: &[usize], means: &Means, layer: Layer, token: Token) -> Edit {
        Edit::of(match self {
            Self::Nothing => {
                let zero = vec![0.0; means.overall(layer).len()];
                Change::Add { layer, token, what: Vectors::Same(zero) }
            }
            Self::Replace(activation) => {
                let origin = DVector::zeros(means.overall(layer).len());
                Change::Replace { layer, token, by: activation.vectors(labels, means, layer, &origin, 1.0) }
            }
            Self::Add(activation, strength) => {
                let origin = means.overall(layer);
                Change::Add { layer, token, what: activation.vectors(labels, means, layer, &origin, strength) }
            }
        })
    }
}

impl Activation {
    /// `strength` times what it is beyond `origin`.
    fn vectors(self, labels: &[usize], means: &Means, layer: Layer, origin: &DVector<f64>, strength: f64) -> Vectors {
        let values = |vector: DVector<f64>| (vector * strength).as_slice().to_vec();
        match self {
            Self::Concept(concept) => Vectors::Same(values(means.concept(layer, concept) - origin)),
            Self::Null => Vectors::Same(values(&means.null[layer.0] - origin)),
            Self::Overall => Vectors::Same(values(means.overall(layer) - origin)),
            Self::Random(stream) => {
                let random = |(index, &label): (u64, &usize)| {
                    let length = (means.concept(layer, ConceptId(label)) - origin).norm();
                    values(random_direction(stream, index, origin.len()) * length)
                };
                Vectors::Each((0..).zip(labels).map(random).collect())
            }
        }
    }
}

/// The prompts that means are taken over, `per_concept` of every concept.
pub(crate) fn mean_prompts(study: &Study, per_concept: usize) -> Result<Prompts, TaskError> {
    study.balanced(Purpose::Patch, 0, per_concept)
}

/// A strength of steering as it is typed.
pub(super) fn strength(text: &str) -> Result<f64, String> {
    let most = 1e6;
    text.parse()
        .ok()
        .filter(|value: &f64| value.abs() <= most)
        .ok_or_else(|| format!("must be between -{most} and {most}"))
}

/// Strengths from the least to the greatest, each once.
pub(super) fn ascending(mut strengths: Vec<f64>) -> Vec<f64> {
    strengths.sort_by(f64::total_cmp);
    strengths.dedup();
    strengths
}

/// Where the random directions come from.
pub fn directions(study: &Study) -> Stream {
    Stream::new(study.seed, Purpose::Direction)
}

/// A direction of length 1, all directions being equally likely.
pub fn random_direction(stream: Stream, index: u64, d_model: usize) -> DVector<f64> {
    let mut rng = stream.rng(index);
    DVector::from_fn(d_model, |_, _| StandardNormal.sample(&mut rng)).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Counter, study, text_study};

    #[test]
    fn no_prompt_behind_a_mean_is_held_out() {
        let study = study();
        let held_out = study.held_out().unwrap();
        let behind_means = mean_prompts(&study, 50).unwrap();
        assert!(behind_means.pairs().iter().all(|prompt| !held_out.pairs().contains(prompt)));
    }

    fn means() -> Means {
        let by_layer = vec![vec![DVector::from_vec(vec![3.0, 4.0]), DVector::from_vec(vec![1.0, 0.0])]];
        Means { by_layer, null: vec![DVector::from_vec(vec![5.0, -1.0])] }
    }

    /// What replaces or is added to the state of the last of `n` prompts.
    fn vector(what: Intervention, n: usize) -> Vec<f64> {
        match what.edit(&vec![0; n], &means(), Layer(0), Token::X(1)).0.swap_remove(0) {
            Change::Replace { by: vectors, .. } | Change::Add { what: vectors, .. } => vectors.of(n - 1).to_vec(),
            change => panic!("{change:?}"),
        }
    }

    #[test]
    fn vectors_of_a_case_small_enough_for_the_head() {
        assert_eq!(vector(Intervention::Nothing, 1), [0.0, 0.0]);
        assert_eq!(vector(Intervention::Replace(Activation::Concept(ConceptId(1))), 1), [1.0, 0.0]);
        assert_eq!(vector(Intervention::Replace(Activation::Overall), 1), [2.0, 2.0]);
        assert_eq!(vector(Intervention::Replace(Activation::Null), 1), [5.0, -1.0]);
        assert_eq!(vector(Intervention::Add(Activation::Null, 2.0), 1), [6.0, -6.0]);
        assert_eq!(vector(Intervention::Add(Activation::Concept(ConceptId(0)), 2.0), 1), [2.0, 4.0]);
        assert_eq!(vector(Intervention::Add(Activation::Concept(ConceptId(1)), -1.0), 1), [1.0, 2.0]);
    }

    /// States are f32, of numbers below 10.
    const SINGLE: f64 = 1e-5;

    #[test]
    fn means_are_of_each_concept_and_of_null_beside_them() {
        let study = text_study();
        let null = study.null(Purpose::Patch, 0, 500);
        let means = Means::of(&Counter::new(0.5), mean_prompts(&study, 500).unwrap(), null, Token::X(6), &[]).unwrap();
        // m is ± the share at every layer, and of Null its mean is near 0.
        for (layer, m) in [(0, 0.0), (1, 0.5), (2, 1.0)] {
            let [up, down] = [0, 1].map(|concept| means.concept(Layer(layer), ConceptId(concept))[1]);
            assert!((up - m).abs() < SINGLE && (down + m).abs() < SINGLE, "{up} {down}");
            assert!(means.null[layer][1].abs() < 0.1 && means.overall(Layer(layer))[1].abs() < SINGLE);
        }
        let without = Means::of(&Counter::new(0.5), mean_prompts(&study, 2).unwrap(), None, Token::X(6), &[]).unwrap();
        assert!(without.null.is_empty());
    }

    /// A few f64 operations.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn a_random_direction_has_the_length_of_what_the_own_mean_brings_in() {
        let stream = Stream::new(0, Purpose::Direction);
        let length = |what| vector(what, 1).iter().map(|value| value * value).sum::<f64>().sqrt();
        assert!((length(Intervention::Replace(Activation::Random(stream))) - 5.0).abs() < ROUNDING);
        // The mean over concepts is (2, 2).
        let steered = length(Intervention::Add(Activation::Random(stream), 3.0));
        assert!((steered - 3.0 * 5f64.sqrt()).abs() < ROUNDING);
        let [first, second] = [1, 2].map(|n| vector(Intervention::Replace(Activation::Random(stream)), n));
        assert_ne!(first, second, "every prompt has a direction of its own");
    }
}
