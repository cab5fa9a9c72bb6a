//! The states of prompts and of their twins at one layer, or what a head adds to them, and what is put in place.

use data::{Purpose, Stream, Token};
use nalgebra::{DMatrix, RowDVector};
use probe::{
    Change, Delivery, Edit, Layer, Prompts, Representations, States, Study, Subject, SubjectError, Vectors, Wanted,
};
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};

use super::Donor;
use super::subspace::orthonormal;
use super::twins::Twins;
use crate::measurements::groups::Groups;
use crate::measurements::{directions, random_direction};

/// The states of one layer at some tokens, or what one head of its block adds there.
pub(in crate::measurements) struct AtLayer<'a> {
    pub(super) layer: Layer,
    /// From 1; none for the states.
    head: Option<usize>,
    pub(super) tokens: Vec<AtToken>,
    donors: &'a Donors,
}

/// States, or what is added to them, at one layer and token, each `[n_prompts, d_model]`.
pub(super) struct AtToken {
    token: Token,
    pub(super) own: DMatrix<f64>,
    pub(super) twin: DMatrix<f64>,
    /// `[n_concepts, d_model]`
    means: DMatrix<f64>,
}

/// For every prompt, the prompts and concepts whose states take the place of its own.
pub(super) struct Donors {
    /// Its concept, and its twin's.
    concepts: [Vec<usize>; 2],
    /// Another one of the same concept.
    same_concept: Vec<usize>,
    /// Another one of the same concept whose twin has the concept of its own twin.
    other_twin: Vec<usize>,
    permuted: Vec<usize>,
    directions: Stream,
}

/// Directions for each token, orthonormal columns `[d_model, rank]`.
pub(in crate::measurements) type Bases = Vec<DMatrix<f64>>;

/// States of prompts at one layer, token by token.
pub(super) fn read(
    subject: &dyn Subject,
    prompts: &Prompts,
    layer: Layer,
    tokens: &[Token],
) -> Result<Vec<States>, SubjectError> {
    let wanted = Wanted { layers: vec![layer], ..Wanted::residual(tokens) };
    let mut found = Vec::new();
    subject.read(std::slice::from_ref(prompts), &wanted, &mut |Delivery { states, .. }| {
        found.extend((0..states.tokens.len()).map(|token| states.states(0, token)));
    })?;
    Ok(found)
}

impl<'a> AtLayer<'a> {
    /// Of prompts and their twins, with means over prompts of every concept.
    pub(super) fn read(
        subject: &dyn Subject,
        twins: &'a Twins,
        behind_means: &Prompts,
        (layer, tokens): (Layer, &[Token]),
    ) -> Result<Self, SubjectError> {
        let [own, twin, others] =
            [&twins.prompts, &twins.twins, behind_means].map(|prompts| read(subject, prompts, layer, tokens));
        Ok(Self::of(twins, &behind_means.labels(), (layer, None, tokens), [own?, twin?, others?]))
    }

    /// The same of what each head of the block at `layer` adds.
    pub(in crate::measurements) fn read_heads(
        subject: &dyn Subject,
        twins: &'a Twins,
        behind_means: &Prompts,
        (layer, tokens): (Layer, &[Token]),
    ) -> Result<Vec<Self>, SubjectError> {
        let [own, twin, others] =
            [&twins.prompts, &twins.twins, behind_means].map(|prompts| subject.head_outputs(prompts, layer, tokens));
        let labels = behind_means.labels();
        let of_head = |(head, ((own, twin), others))| {
            let states = [own, twin, others]
                .map(|of: Representations| (0..tokens.len()).map(|token| of.states(0, token)).collect());
            Self::of(twins, &labels, (layer, Some(head), tokens), states)
        };
        Ok((1..).zip(own?.into_iter().zip(twin?).zip(others?)).map(of_head).collect())
    }

    /// Of the states of the prompts, of their twins and of those behind the means, token by token.
    fn of(
        twins: &'a Twins,
        labels: &[usize],
        (layer, head, tokens): (Layer, Option<usize>, &[Token]),
        [own, twin, others]: [Vec<States>; 3],
    ) -> Self {
        let states = own.into_iter().zip(twin).zip(others);
        let at = |(&token, ((own, twin), others)): (&Token, ((States, States), States))| AtToken {
            token,
            own: own.rows().clone(),
            twin: twin.rows().clone(),
            means: Groups::of(others.rows(), labels).mean_rows(),
        };
        Self { layer, head, tokens: tokens.iter().zip(states).map(at).collect(), donors: &twins.donors }
    }

    /// The edit that puts a donor's states in place, as a whole or in a subspace at each token.
    pub(in crate::measurements) fn edit(&self, donor: Donor, bases: Option<&Bases>) -> Edit {
        let change = |(number, here): (usize, &AtToken)| {
            let states = here.with(donor, bases.map(|bases| &bases[number]), self.donors, number);
            let by = Vectors::Each(states.row_iter().map(|row| row.iter().copied().collect()).collect());
            let (layer, token) = (self.layer, here.token);
            match self.head {
                None => Change::Replace { layer, token, by },
                Some(head) => Change::ReplaceHead { layer, head, token, by },
            }
        };
        Edit(self.tokens.iter().enumerate().map(change).collect())
    }
}

impl AtToken {
    /// What takes the place of the own states. In a subspace they keep what lies outside.
    fn with(&self, donor: Donor, basis: Option<&DMatrix<f64>>, donors: &Donors, number: usize) -> DMatrix<f64> {
        let [own_concept, twin_concept] = &donors.concepts;
        let way = match donor {
            Donor::Itself => return self.own.clone(),
            Donor::Random => return &self.own + self.random(basis, donors.directions, number),
            Donor::Twin => &self.twin - &self.own,
            Donor::OtherTwin => self.twin.select_rows(&donors.other_twin) - &self.own,
            Donor::Permuted => self.twin.select_rows(&donors.permuted) - &self.own,
            Donor::SameConcept => self.own.select_rows(&donors.same_concept) - &self.own,
            Donor::ConceptMean => self.means.select_rows(twin_concept) - &self.own,
            Donor::OwnMean => self.means.select_rows(own_concept) - &self.own,
            Donor::MeanDifference => self.means.select_rows(twin_concept) - self.means.select_rows(own_concept),
        };
        &self.own + basis.map_or_else(|| way.clone(), |basis| &way * basis * basis.transpose())
    }

    /// A way as long as that to the twin, of every prompt: in a random direction, or inside a random subspace.
    fn random(&self, basis: Option<&DMatrix<f64>>, stream: Stream, number: usize) -> DMatrix<f64> {
        let (way, [n, d_model]) = (&self.twin - &self.own, [self.own.nrows(), self.own.ncols()]);
        let first = (number * n) as u64;
        let (mut random, as_long) = match basis {
            None => {
                let direction = |i: usize| random_direction(stream, first + i as u64, d_model).transpose();
                (DMatrix::from_rows(&(0..n).map(direction).collect::<Vec<RowDVector<f64>>>()), way)
            }
            Some(basis) => {
                let elsewhere = random_basis(stream, number, d_model, basis.ncols());
                (&way * &elsewhere * elsewhere.transpose(), way * basis * basis.transpose())
            }
        };
        for (mut row, as_long) in random.row_iter_mut().zip(as_long.row_iter()) {
            let norm = row.norm();
            if norm > 0.0 {
                row *= as_long.norm() / norm;
            }
        }
        random
    }
}

impl Donors {
    /// Of prompts and their twins.
    pub(super) fn of(study: &Study, [prompts, twins]: [&Prompts; 2]) -> Self {
        let concepts = [prompts, twins].map(Prompts::labels);
        let mut permuted: Vec<usize> = (0..concepts[0].len()).collect();
        permuted.shuffle(&mut Stream::new(study.seed, Purpose::Shuffle).rng(1 << 62));
        let pairs: Vec<(usize, usize)> = concepts[0].iter().copied().zip(concepts[1].iter().copied()).collect();
        Self {
            same_concept: next_alike(&concepts[0]),
            other_twin: next_alike(&pairs),
            permuted,
            directions: directions(study),
            concepts,
        }
    }
}

/// Random orthonormal columns, all subspaces being equally likely.
pub(super) fn random_basis(stream: Stream, number: usize, d_model: usize, rank: usize) -> DMatrix<f64> {
    // Behind the addresses of directions that prompts have.
    let mut rng = stream.rng((1 << 62) + number as u64);
    orthonormal(DMatrix::from_fn(d_model, rank, |_, _| StandardNormal.sample(&mut rng)))
}

/// For every element the place of the next one that is equal, and that of the first for the last.
fn next_alike<T: PartialEq>(all: &[T]) -> Vec<usize> {
    let next = |i: usize| {
        let behind = (i + 1..all.len()).chain(0..=i).find(|&j| all[j] == all[i]);
        behind.expect("it is equal to itself")
    };
    (0..all.len()).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Linear, study};

    /// States are f32, and answers products of two of them.
    const SINGLE: f64 = 1e-5;

    /// The model made by hand keeps in the second half of its state what it needs to know of the pairs, and the query in the
    /// first: its answer is the product of both. Its twin's has the same query.
    #[test]
    fn interchange_does_all_in_the_half_that_carries_the_concept_and_nothing_in_the_other() {
        let (study, model) = (study(), Linear::new([0.5, 0.5], 0.0));
        let twins = Twins::new(&study, Purpose::Eval, 0, 20).unwrap();
        let others = study.balanced(Purpose::Patch, 0, 20).unwrap();
        let query = Token::X(6);
        let here = AtLayer::read(&model, &twins, &others, (Layer(2), &[query])).unwrap();
        let half = |first: usize| vec![DMatrix::identity(8, 8).columns(first, 4).into_owned()];
        let last = |prompts: &Prompts, edit: Edit| -> Vec<f64> {
            let answers = model.answers(prompts, &[edit]).unwrap().swap_remove(0).into_numbers();
            answers.into_iter().map(|answers| answers[5]).collect()
        };
        let [own, twin] = [&twins.prompts, &twins.twins].map(|prompts| last(prompts, Edit::default()));
        let close = |found: Vec<f64>, expected: &[f64]| {
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < SINGLE)
        };
        let edited = |donor, bases: Option<&Bases>| last(&twins.prompts, here.edit(donor, bases));
        assert!(close(edited(Donor::Twin, None), &twin) && close(edited(Donor::Itself, None), &own));
        assert!(close(edited(Donor::Twin, Some(&half(4))), &twin));
        assert!(close(edited(Donor::Twin, Some(&half(0))), &own));
        // A random direction has a part in both halves; a mean and another prompt have another query.
        for donor in [Donor::Random, Donor::ConceptMean, Donor::OwnMean, Donor::SameConcept, Donor::OtherTwin] {
            let found = edited(donor, None);
            assert!(!close(found.clone(), &twin) && !close(found, &own), "{donor:?}");
        }
    }

    /// The second head keeps two of the four numbers that the query is multiplied with. Its twin's output and that of the
    /// first head are all that the twin's answer takes, and its own output changes nothing.
    #[test]
    fn outputs_of_all_heads_together_make_the_answer_to_the_twin() {
        let (study, model) = (study(), Linear::new([0.0, 0.5], 0.0));
        let twins = Twins::new(&study, Purpose::Eval, 0, 20).unwrap();
        let others = study.balanced(Purpose::Patch, 0, 20).unwrap();
        let heads = AtLayer::read_heads(&model, &twins, &others, (Layer(2), &[Token::X(6)])).unwrap();
        let last = |prompts: &Prompts, edit: Edit| -> Vec<f64> {
            let answers = model.answers(prompts, &[edit]).unwrap().swap_remove(0).into_numbers();
            answers.into_iter().map(|answers| answers[5]).collect()
        };
        let [own, twin] = [&twins.prompts, &twins.twins].map(|prompts| last(prompts, Edit::default()));
        let of = |donor: Donor| heads.iter().map(move |here| here.edit(donor, None));
        let whole = last(&twins.prompts, Edit(of(Donor::Twin).flat_map(|edit| edit.0).collect()));
        assert!(whole.iter().zip(&twin).all(|(found, twin)| (found - twin).abs() < SINGLE));
        let [first, second] = [0, 1].map(|head| last(&twins.prompts, of(Donor::Twin).nth(head).unwrap()));
        for (i, (own, twin)) in own.iter().zip(&twin).enumerate() {
            assert!(((first[i] - own) + (second[i] - own) - (twin - own)).abs() < SINGLE);
        }
        for edit in of(Donor::Itself) {
            let still = last(&twins.prompts, edit);
            assert!(still.iter().zip(&own).all(|(found, own)| (found - own).abs() < SINGLE));
        }
    }

    #[test]
    fn the_next_one_alike_goes_around() {
        assert_eq!(next_alike(&["a", "b", "a", "c", "b", "a"]), [2, 4, 5, 3, 1, 0]);
    }
}
