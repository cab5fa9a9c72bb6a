//! Prompts with their twins, and how far answers go from the one to the other.

use data::{Predictor, Prompt, Purpose, Role};
use probe::{Answers, Edit, Prompts, Study, Subject, SubjectError};
use rayon::prelude::*;

use super::states::Donors;
use super::{MeasureError, Target};
use crate::measurements::{Bootstrap, Estimate};

/// Prompts, their twins, and the answers that closed-form predictors give to the last pair.
///
/// A twin has the same x's, and noise and weights drawn alike, under another concept.
pub(in crate::measurements) struct Twins {
    pub(in crate::measurements) prompts: Prompts,
    pub(super) twins: Prompts,
    /// The optimal answers to the prompts.
    pub(super) own: Vec<f64>,
    /// Where answers would go, `[targets][n_prompts]`.
    targets: Vec<(Target, Vec<f64>)>,
    bootstrap: Bootstrap,
    pub(super) donors: Donors,
}

/// How far answers went.
pub(in crate::measurements) struct Way {
    pub(in crate::measurements) target: Target,
    pub(in crate::measurements) slope: Estimate,
    /// Weight of the own answer in the answers.
    pub(in crate::measurements) own_weight: f64,
    /// Weight of the target.
    pub(in crate::measurements) target_weight: Estimate,
}

impl Twins {
    /// A balanced set of the study's task.
    ///
    /// # Errors
    /// When the task has one concept, no optimal predictor, or no prompts that differ in their concept alone.
    pub(in crate::measurements) fn new(
        study: &Study,
        purpose: Purpose,
        set: u64,
        per_concept: usize,
    ) -> Result<Self, MeasureError> {
        let refused = |range, value| Err(MeasureError::out_of_range("the task of interchange", range, value));
        if study.concepts().len() < 2 {
            return refused("one of at least 2 concepts", study.concepts().len().to_string());
        }
        let predictors = study.task.pairs().predictors();
        let with_role = |role| predictors.iter().find(|predictor| predictor.role() == role);
        let Some(optimal) = with_role(Role::Optimal) else {
            return refused("one with an optimal predictor", "one without".to_owned());
        };
        let (prompts, twins) = (study.balanced(purpose, set, per_concept)?, study.twins(purpose, set, per_concept)?);
        let pairs = || prompts.pairs().iter().zip(twins.pairs());
        if !pairs().all(|(prompt, twin)| prompt.xs == twin.xs) {
            let range = "one that samples the same x's from the same random numbers, whatever the concept";
            return refused(range, "one that does not".to_owned());
        }
        let mut targets = vec![(Target::Twin, last_answers(optimal.as_ref(), twins.pairs()))];
        if let Some(oracle) = with_role(Role::Oracle) {
            let mistaken = |(prompt, twin): (&Prompt, &Prompt)| Prompt { concept: twin.concept, ..prompt.clone() };
            let mistaken: Vec<Prompt> = pairs().map(mistaken).collect();
            targets.push((Target::Concept, last_answers(oracle.as_ref(), &mistaken)));
        }
        let own = last_answers(optimal.as_ref(), prompts.pairs());
        let bootstrap = Bootstrap::new(study.seed, prompts.len());
        let donors = Donors::of(study, [&prompts, &twins]);
        Ok(Self { prompts, twins, own, targets, bootstrap, donors })
    }

    /// The answers that nothing but the concept is needed for, or those to the twins where nothing is told the concept.
    pub(super) fn goal(&self) -> &[f64] {
        &self.targets.last().expect("the first is there always").1
    }

    /// How far the answers of `subject` go under each edit.
    pub(in crate::measurements) fn under(
        &self,
        subject: &dyn Subject,
        edits: impl IntoIterator<Item = Edit>,
    ) -> Result<Vec<Vec<Way>>, SubjectError> {
        let edits: Vec<Edit> = std::iter::once(Edit::default()).chain(edits).collect();
        let answers: Vec<Vec<f64>> = subject.answers(&self.prompts, &edits)?.iter().map(last).collect();
        Ok(answers[1..].iter().map(|edited| self.ways(&answers[0], edited)).collect())
    }

    /// How far the answers `edited` have gone from `plain`, those of the model as it is.
    ///
    /// With the own optimal answer b, the target t, D = t − b, and Δ the change of the model's answer, the slope is
    /// Σ Δ D / Σ D² over prompts; a mean of Δ/D would be that of the prompts on which b and t agree. The weights are those of
    /// the least-squares fit of the edited answer by b and t: an answer that is lost has neither, although the slope then
    /// tells it from one that stays.
    pub(super) fn ways(&self, plain: &[f64], edited: &[f64]) -> Vec<Way> {
        let way = |(target, there): &(Target, Vec<f64>)| {
            let slope = |i: usize| {
                let far = there[i] - self.own[i];
                [(edited[i] - plain[i]) * far, far * far]
            };
            let products = |i: usize| {
                let [own, there, edited] = [self.own[i], there[i], edited[i]];
                [own * own, own * there, there * there, own * edited, there * edited]
            };
            Way {
                target: *target,
                slope: self.estimate(slope, |[along, squares]| along / squares),
                own_weight: self.estimate(products, |sums| weights(sums)[0]).mean,
                target_weight: self.estimate(products, |sums| weights(sums)[1]),
            }
        };
        self.targets.iter().map(way).collect()
    }

    /// A function of sums over prompts, and its interval.
    fn estimate<const N: usize>(&self, terms: impl Fn(usize) -> [f64; N], value: impl Fn([f64; N]) -> f64) -> Estimate {
        let terms: Vec<[f64; N]> = (0..self.own.len()).map(terms).collect();
        let add = |sums: [f64; N], term: &[f64; N]| std::array::from_fn(|k| sums[k] + term[k]);
        let drawn = |items: &[u32]| value(items.iter().map(|&item| &terms[item as usize]).fold([0.0; N], add));
        let [lo, hi] = self.bootstrap.interval(|items| Some(drawn(items))).expect("it has a value of every set");
        Estimate { mean: value(terms.iter().fold([0.0; N], add)), lo, hi }
    }
}

/// The weights a and b with which a·own + b·there comes closest to the answers in the sum of squares, from the sums over
/// prompts of own², own·there, there², own·answer and there·answer.
fn weights([own, cross, there, with_own, with_there]: [f64; 5]) -> [f64; 2] {
    let determinant = own * there - cross * cross;
    [(there * with_own - cross * with_there) / determinant, (own * with_there - cross * with_own) / determinant]
}

/// The answers to the last pair.
pub(super) fn last(answers: &Answers) -> Vec<f64> {
    answers.numbers().iter().map(|answers| *answers.last().expect("a prompt has a pair")).collect()
}

fn last_answers(predictor: &dyn Predictor, prompts: &[Prompt]) -> Vec<f64> {
    prompts.par_iter().map(|prompt| *predictor.predict(prompt).last().expect("a prompt has a pair")).collect()
}

#[cfg(test)]
impl Twins {
    /// The same prompts, where answers would go from `own` to `goal`.
    pub(super) fn between(self, own: Vec<f64>, goal: Vec<f64>) -> Self {
        Self { own, targets: vec![(Target::Twin, goal)], ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::study;

    /// A few f64 sums.
    const ROUNDING: f64 = 1e-9;

    #[test]
    fn an_answer_that_goes_half_the_way_has_half_of_each_weight() {
        let twins = Twins::new(&study(), Purpose::Eval, 0, 20).unwrap();
        let part = |share: f64| -> Vec<f64> {
            twins.own.iter().zip(&twins.targets[0].1).map(|(own, there)| own + share * (there - own)).collect()
        };
        for share in [0.0, 0.5, 1.0] {
            let way = &twins.ways(&twins.own, &part(share))[0];
            assert!((way.slope.mean - share).abs() < ROUNDING, "{}", way.slope.mean);
            assert!((way.slope.lo - share).abs() < ROUNDING && (way.slope.hi - share).abs() < ROUNDING);
            assert!((way.own_weight - (1.0 - share)).abs() < ROUNDING, "{}", way.own_weight);
            assert!((way.target_weight.mean - share).abs() < ROUNDING, "{:?}", way.target_weight);
        }
        let lost = &twins.ways(&twins.own, &vec![0.0; twins.own.len()])[0];
        assert!(lost.slope.mean > 0.2, "{:?}", lost.slope);
        assert!([lost.own_weight, lost.target_weight.mean].iter().all(|weight| weight.abs() < ROUNDING));
    }
}
