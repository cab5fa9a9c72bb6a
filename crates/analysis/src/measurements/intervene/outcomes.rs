//! From answers under interventions to rows.

use data::ConceptId;
use probe::{Answers, Layer, Score, Study};

use super::{InterventionKind, InterventionRow};
use crate::measurements::effect::less;
use crate::measurements::intervention::{Activation, Intervention};
use crate::measurements::{Bootstrap, Estimate};

/// Where and how a state is changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) step: usize,
    pub(super) layer: Layer,
    pub(super) shots: usize,
    pub(super) mean_shots: usize,
    pub(super) strength: Option<f64>,
    pub(super) mean_n: usize,
}

/// Exact answers, 0 or 1, and log-probabilities of the last answer, one a prompt.
#[derive(Clone, Debug)]
struct Values {
    exact: Vec<f64>,
    log_probability: Vec<f64>,
}

impl Values {
    fn of(answers: &Answers) -> Self {
        let last = |scores: &Vec<Score>| *scores.last().expect("a prompt ends with its query");
        let scores: Vec<Score> = answers.scores().iter().map(last).collect();
        Self {
            exact: scores.iter().map(|score| f64::from(u8::from(score.exact))).collect(),
            log_probability: scores.iter().map(|score| score.log_probability).collect(),
        }
    }

    /// Those of the prompts of source number `source`, of `n` prompts each.
    fn of_source(&self, source: usize, n: usize) -> Self {
        let part = |values: &[f64]| values[source * n..(source + 1) * n].to_vec();
        Self { exact: part(&self.exact), log_probability: part(&self.log_probability) }
    }

    /// Their mean, prompt by prompt.
    fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> &Vec<f64>| {
            let at = |prompt: usize| all.iter().map(|one| of(one)[prompt]).sum::<f64>() / all.len() as f64;
            (0..of(&all[0]).len()).map(at).collect()
        };
        Self { exact: mean(|values| &values.exact), log_probability: mean(|values| &values.log_probability) }
    }
}

/// What the model answers as it is, and how outcomes are compared with it.
pub(super) struct Outcomes<'a> {
    study: &'a Study,
    /// Null, where it counts as a concept.
    null: Option<ConceptId>,
    plain: Values,
    bootstrap: Bootstrap,
}

/// What was done to the prompts of one source, and what came of it.
type Outcome = (InterventionKind, Option<ConceptId>, Values);

impl<'a> Outcomes<'a> {
    pub(super) fn new(study: &'a Study, null: Option<ConceptId>, plain: &Answers) -> Self {
        let bootstrap = Bootstrap::new(study.seed, study.eval.prompts_per_concept);
        Self { study, null, plain: Values::of(plain), bootstrap }
    }

    /// The rows of all interventions at one place: over all sources, then for each. Prompts of Null have no right answer, so
    /// what is over all sources is without them.
    pub(super) fn rows<'b>(
        &self,
        place: Place,
        answers: impl Iterator<Item = (Intervention, &'b Answers)>,
    ) -> Vec<InterventionRow> {
        let answers: Vec<(Intervention, Values)> = answers.map(|(what, answers)| (what, Values::of(answers))).collect();
        let sources = 0..self.study.concepts().len();
        let by_source: Vec<Vec<Outcome>> = sources.map(|source| self.of_source(source, &answers)).collect();
        let mut rows = Vec::new();
        let kinds = by_source[0].iter().chain(by_source.iter().skip(1).flatten());
        let mut kinds: Vec<InterventionKind> = kinds.map(|(kind, ..)| *kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let right = by_source.iter().enumerate().filter(|(source, _)| Some(ConceptId(*source)) != self.null);
            let found = right.filter_map(|(source, outcomes)| {
                let (.., values) = outcomes.iter().find(|(here, target, _)| *here == kind && target.is_none())?;
                Some((source, values))
            });
            rows.push(self.row(place, kind, (None, None), &found.collect::<Vec<_>>()));
        }
        for (source, outcomes) in by_source.iter().enumerate() {
            for (kind, target, values) in outcomes {
                let name = |concept: ConceptId| self.study.concepts()[concept.0].name.clone();
                let names = (Some(name(ConceptId(source))), target.map(name));
                rows.push(self.row(place, *kind, names, &[(source, values)]));
            }
        }
        rows
    }

    /// The outcomes of one source in the order of kinds, the mean over others behind each of them.
    fn of_source(&self, source: usize, answers: &[(Intervention, Values)]) -> Vec<Outcome> {
        let n = self.study.eval.prompts_per_concept;
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (what, values) in answers {
            let (kind, target) = self.kind(*what, ConceptId(source));
            outcomes.push((kind, target, values.of_source(source, n)));
        }
        let others = outcomes.iter().filter(|(kind, ..)| *kind == InterventionKind::Other);
        let others: Vec<Values> = others.map(|(.., values)| values.clone()).collect();
        if !others.is_empty() {
            outcomes.push((InterventionKind::Other, None, Values::mean(&others)));
        }
        // The sort is stable.
        outcomes.sort_by_key(|(kind, ..)| *kind);
        outcomes
    }

    /// What an intervention is to prompts of a concept, and which other concept it takes part of.
    fn kind(&self, what: Intervention, source: ConceptId) -> (InterventionKind, Option<ConceptId>) {
        let (Intervention::Replace(activation) | Intervention::Add(activation, _)) = what else {
            return (InterventionKind::Itself, None);
        };
        match activation {
            Activation::Concept(concept) if concept == source => (InterventionKind::Own, None),
            Activation::Concept(concept) if Some(concept) == self.null => (InterventionKind::Null, None),
            Activation::Concept(concept) => (InterventionKind::Other, Some(concept)),
            Activation::Null => (InterventionKind::Null, None),
            Activation::Overall => (InterventionKind::Overall, None),
            Activation::Random(_) => (InterventionKind::Random, None),
        }
    }

    /// Of the values of one source, or of several that count alike.
    fn row(
        &self,
        place: Place,
        kind: InterventionKind,
        (source, target): (Option<String>, Option<String>),
        found: &[(usize, &Values)],
    ) -> InterventionRow {
        let Place { step, layer, shots, mean_shots, strength, mean_n } = place;
        let n = self.study.eval.prompts_per_concept;
        let (share, count) = (1.0 / found.len() as f64, (found.len() * n) as f64);
        let value = |of: fn(&Values) -> &Vec<f64>| {
            let sum = found.iter().flat_map(|(_, values)| of(values)).sum::<f64>();
            let change = |(source, values): &(usize, &Values)| less(of(values), of(&self.plain.of_source(*source, n)));
            let changes: Vec<Vec<f64>> = found.iter().map(change).collect();
            let weighted: Vec<(f64, &[f64])> = changes.iter().map(|change| (share, change.as_slice())).collect();
            (sum / count, self.bootstrap.weighted_mean(&weighted))
        };
        let (accuracy, exact): (f64, Estimate) = value(|values| &values.exact);
        let (log_probability, log): (f64, Estimate) = value(|values| &values.log_probability);
        InterventionRow {
            step,
            layer,
            shots,
            mean_shots,
            kind,
            source,
            target,
            strength,
            accuracy,
            accuracy_change: exact.mean,
            accuracy_lo: exact.lo,
            accuracy_hi: exact.hi,
            log_probability,
            log_probability_change: log.mean,
            log_probability_lo: log.lo,
            log_probability_hi: log.hi,
            n: found.len() * n,
            mean_n,
        }
    }
}
