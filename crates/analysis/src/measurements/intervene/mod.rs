//! Interventions on language models: the state at the query is replaced by a mean, or moved towards it, and the answer is
//! scored again.

mod outcomes;
mod rows;
mod show;

use data::{ConceptId, Purpose};
use probe::{AnyTask, Edit, Layer, Prompts, Study, Subject};
use serde::Serialize;

pub use rows::{InterventionKind, InterventionRow};

use super::intervention::{
    Activation, Intervention, MEAN_PROMPTS, Means, ascending, directions, mean_prompts, strength,
};
use super::shots::{query_after, shots_of};
use super::{MeasureError, Measurement, Needs, Session, sorted, spread};
use crate::show::{Section, Shown};
use outcomes::{Outcomes, Place};

/// Demonstrations at most unless told otherwise; the paper's number.
const SHOTS: usize = 4;
/// Layers from the first to the last that are looked at beside those around the best one.
const SPREAD: usize = 4;

/// Exact answers and log-probability of the query's answer when the state at its token is replaced by a mean over other
/// prompts, with as many demonstrations and with none; and when it is steered.
///
/// # Source
/// The own concept's mean against Null's: Han et al., arXiv 2412.12276, which states neither token nor sample sizes. Without
/// demonstrations: Hendel, Geva and Globerson, arXiv 2310.15916, and Todd et al., arXiv 2310.15213. Steering, intervals and
/// the other controls are ours.
#[derive(Clone, Copy, Debug)]
pub struct Intervene;

/// What to change.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub struct Options {
    /// Checkpoints to change, as 500,1000 [default: the last]
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    step: Vec<usize>,
    /// Layers at which the state is replaced, from 1, as 18,21 [default: five around the one with the best CD, and four from
    /// the first to the last]
    #[arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    layer: Vec<usize>,
    /// Layer at which the state is steered [default: the one with the best CD]
    #[arg(long, value_name = "LAYER", value_parser = terminal::whole::<usize>(0, None))]
    steer: Option<usize>,
    /// Demonstrations ahead of the query [default: the most that are measured, up to 4]
    #[arg(long, value_name = "K", value_parser = terminal::whole::<usize>(0, None))]
    shots: Option<usize>,
    /// Prompts of every concept that its mean activation is taken over
    #[arg(long, value_name = "N", default_value_t = MEAN_PROMPTS)]
    #[arg(value_parser = terminal::whole::<u32>(1, Some(100_000)))]
    mean_prompts: u32,
    /// Strengths of steering: how many times the difference of a concept's mean and the mean over concepts is added
    #[arg(long, value_delimiter = ',', default_value = "-2,-1,1,2")]
    #[arg(allow_hyphen_values = true, value_parser = strength)]
    strengths: Vec<f64>,
}

/// What is changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<usize>,
    shots: usize,
    layers: Vec<Layer>,
    steered: Layer,
    mean_prompts: usize,
    strengths: Vec<f64>,
}

impl Measurement for Intervene {
    const NAME: &'static str = "intervene";
    const ABOUT: &'static str = "Replace states at the query by means, or steer, and score the answers";
    const NEEDS: Needs = Needs::Scores;
    const FIGURES: &'static [&'static str] = &["interventions", "task_vectors", "answers_steered"];
    type Options = Options;
    type Plan = Plan;
    type Rows = Vec<InterventionRow>;

    fn plan(options: Options, session: &Session<'_>) -> Result<Plan, MeasureError> {
        let shots = shots(options.shots, session.study)?;
        // None is the embedding: there all queries end in the same token, and have the same state.
        let layers = session.layers_from(1, "--layer", options.layer)?;
        let steered = session.layers_from(1, "--steer", options.steer.into_iter().collect())?.pop();
        let best = session.best_layer(query_after(shots))?.max(Layer(1));
        session.study.check_stock("--mean-prompts", Purpose::Patch, options.mean_prompts as usize)?;
        Ok(Plan {
            steps: session.steps_or_last(options.step)?,
            shots,
            layers: if layers.is_empty() { around(best, session.subjects.anatomy().n_layers) } else { layers },
            steered: steered.unwrap_or(best),
            mean_prompts: options.mean_prompts as usize,
            strengths: ascending(options.strengths),
        })
    }

    fn measure(plan: &Plan, session: &Session<'_>) -> Result<Vec<InterventionRow>, MeasureError> {
        session.over_steps(&plan.steps, |subject, step| intervene(session.study, subject, step, plan))
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

/// The demonstrations asked for, or the most that are measured up to four, or the fewest.
fn shots(asked: Option<usize>, study: &Study) -> Result<usize, MeasureError> {
    let most = study.n_points() - 1;
    let known = shots_of(study);
    let usual = known.iter().rev().find(|&&shots| shots <= SHOTS).unwrap_or(&known[0]);
    match asked {
        Some(shots) if shots > most => {
            Err(MeasureError::out_of_range("--shots", format!("between 0 and the most demonstrations ({most})"), shots))
        }
        asked => Ok(asked.unwrap_or(*usual)),
    }
}

/// Five layers around the best one, further apart in deeper models, and a few from the first to the last.
fn around(best: Layer, n_layers: usize) -> Vec<Layer> {
    let apart = (n_layers / 15).max(1) as isize;
    let near = (-2..=2).filter_map(|way| best.0.checked_add_signed(way * apart));
    let near = near.filter(|layer| (1..=n_layers).contains(layer));
    let all: Vec<usize> = (1..=n_layers).collect();
    sorted(near.chain(spread(&all, SPREAD)).collect()).into_iter().map(Layer).collect()
}

/// The rows of one model. It goes through its prompts three times: for the means, with demonstrations, and without.
fn intervene(
    study: &Study,
    subject: &dyn Subject,
    step: usize,
    plan: &Plan,
) -> Result<Vec<InterventionRow>, MeasureError> {
    let token = query_after(plan.shots);
    // Where Null counts as a concept it has its mean among theirs.
    let null = study.null(Purpose::Patch, 0, plan.mean_prompts).filter(|_| null_of(study).is_none());
    let null = null.map(|prompts| prompts.first(plan.shots + 1));
    let has_null = null.is_some();
    let prompts = mean_prompts(study, plan.mean_prompts)?.first(plan.shots + 1);
    let layers = [plan.layers.as_slice(), &[plan.steered]].concat();
    let means = Means::of(subject, prompts, null, token, &layers)?;
    let held_out = study.held_out()?;
    let replacing = replacing(study, has_null);
    let replace: Vec<(Layer, Intervention)> =
        plan.layers.iter().flat_map(|layer| replacing.iter().map(|what| (*layer, *what))).collect();
    let steer = plan.strengths.iter().flat_map(|&strength| {
        let steering = activations(study, has_null).chain([Activation::Random(directions(study))]);
        steering.map(move |activation| (plan.steered, Intervention::Add(activation, strength)))
    });
    let with: Vec<(Layer, Intervention)> = replace.iter().copied().chain(steer).collect();
    let mut rows = rows_of(study, subject, (step, plan), &means, held_out.first(plan.shots + 1), &with)?;
    if plan.shots > 0 {
        rows.extend(rows_of(study, subject, (step, plan), &means, held_out.first(1), &replace)?);
    }
    Ok(rows)
}

/// Null, where it counts as a concept.
fn null_of(study: &Study) -> Option<ConceptId> {
    match &study.task {
        AnyTask::Text(task) => task.null().filter(|null| null.0 < study.concepts().len()),
        AnyTask::Pairs(_) => None,
    }
}

/// The mean of every concept, and that of Null beside them.
fn activations(study: &Study, null: bool) -> impl Iterator<Item = Activation> {
    let concepts = (0..study.concepts().len()).map(|concept| Activation::Concept(ConceptId(concept)));
    concepts.chain(null.then_some(Activation::Null))
}

fn replacing(study: &Study, null: bool) -> Vec<Intervention> {
    let controls = [Activation::Overall, Activation::Random(directions(study))];
    let replacing = activations(study, null).chain(controls).map(Intervention::Replace);
    replacing.chain([Intervention::Nothing]).collect()
}

/// The rows of prompts that end with their query, under interventions of which those of one layer and strength stand
/// together.
fn rows_of(
    study: &Study,
    subject: &dyn Subject,
    (step, plan): (usize, &Plan),
    means: &Means,
    prompts: Prompts,
    interventions: &[(Layer, Intervention)],
) -> Result<Vec<InterventionRow>, MeasureError> {
    let (shots, labels) = (prompts.text()[0].pairs.len() - 1, prompts.labels());
    let edit = |(layer, what): &(Layer, Intervention)| what.edit(&labels, means, *layer, query_after(shots));
    let edits: Vec<Edit> = std::iter::once(Edit::default()).chain(interventions.iter().map(edit)).collect();
    let answers = subject.answers(&prompts, &edits)?;
    let outcomes = Outcomes::new(study, null_of(study), &answers[0]);
    let place = |(layer, what): &(Layer, Intervention)| {
        let strength = match what {
            Intervention::Add(_, strength) => Some(*strength),
            Intervention::Nothing | Intervention::Replace(_) => None,
        };
        Place { step, layer: *layer, shots, mean_shots: plan.shots, strength, mean_n: plan.mean_prompts }
    };
    let mut rows = Vec::new();
    let mut rest = &answers[1..];
    for together in interventions.chunk_by(|a, b| place(a) == place(b)) {
        let (here, behind) = rest.split_at(together.len());
        rows.extend(outcomes.rows(place(&together[0]), together.iter().map(|(_, what)| *what).zip(here)));
        rest = behind;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Counter, text_study};

    const PLAN: Plan = Plan {
        steps: Vec::new(),
        shots: 5,
        layers: Vec::new(),
        steered: Layer(2),
        mean_prompts: 400,
        strengths: Vec::new(),
    };

    fn found(plan: &Plan) -> Vec<InterventionRow> {
        intervene(&text_study(), &Counter::new(0.5), 3, plan).unwrap()
    }

    /// The state is [input / 100, m], m = ± 1 behind the last block, so means have the mean input, and answers are wrong by
    /// its distance. What steering adds has nothing of the input.
    #[test]
    fn steering_towards_another_concept_turns_its_answers_wrong() {
        let rows = found(&Plan { layers: vec![Layer(1)], strengths: vec![1.0], ..PLAN });
        let steered = |kind, target: Option<&str>| {
            let here = |row: &&InterventionRow| {
                (row.kind, row.target.as_deref(), row.source.as_deref()) == (kind, target, Some("up"))
                    && row.strength.is_some()
            };
            rows.iter().find(here).unwrap_or_else(|| panic!("{kind:?} {target:?}"))
        };
        // Means of inputs differ by a little between concepts, which 100 times a coordinate shows.
        let own = steered(InterventionKind::Own, None);
        let other = steered(InterventionKind::Other, Some("down"));
        assert_eq!((own.shots, own.mean_shots, own.layer, own.n, own.mean_n), (5, 5, Layer(2), 20, 400));
        assert!(own.accuracy_change <= 0.0 && own.accuracy_lo <= own.accuracy_change, "{own:?}");
        assert!((own.log_probability - own.log_probability_change).abs() < 1e-6, "unedited answers are certain");
        let mean = steered(InterventionKind::Other, None);
        assert_eq!((mean.accuracy, mean.log_probability), (other.accuracy, other.log_probability), "of one other");
    }

    #[test]
    fn every_kind_has_its_rows_and_the_state_itself_changes_nothing() {
        let rows = found(&Plan { layers: vec![Layer(1), Layer(2)], strengths: vec![-1.0, 1.0], ..PLAN });
        use InterventionKind::{Itself, Null, Other, Overall, Own, Random};
        let at = |shots, layer, strength, source: Option<&str>| -> Vec<(InterventionKind, Option<&str>)> {
            let here = rows.iter().filter(|row| {
                (row.shots, row.layer, row.strength) == (shots, Layer(layer), strength)
                    && row.source.as_deref() == source
            });
            here.map(|row| (row.kind, row.target.as_deref())).collect()
        };
        let replaced = [(Own, None), (Other, None), (Null, None), (Overall, None), (Random, None), (Itself, None)];
        for (shots, layer) in [(5, 1), (5, 2), (0, 1), (0, 2)] {
            assert_eq!(at(shots, layer, None, None), replaced);
            let mut of_up = replaced.to_vec();
            of_up.insert(1, (Other, Some("down")));
            assert_eq!(at(shots, layer, None, Some("up")), of_up);
        }
        assert_eq!(at(5, 2, Some(-1.0), None), [(Own, None), (Other, None), (Null, None), (Random, None)]);
        assert!(at(0, 2, Some(1.0), None).is_empty(), "task vectors replace");
        for row in rows.iter().filter(|row| row.kind == Itself) {
            assert_eq!((row.accuracy_change, row.log_probability_change), (0.0, 0.0));
            assert_eq!(row.n, if row.source.is_none() { 40 } else { 20 });
        }
    }

    #[test]
    fn layers_stand_around_the_best_one_and_reach_both_ends() {
        let layers = |best, n| around(Layer(best), n).into_iter().map(|layer| layer.0).collect::<Vec<_>>();
        assert_eq!(layers(21, 30), [1, 10, 17, 19, 20, 21, 23, 25, 30]);
        assert_eq!(layers(2, 2), [1, 2]);
        assert_eq!(layers(1, 1), [1]);
        assert_eq!(layers(26, 26), [1, 9, 17, 24, 25, 26]);
    }

    #[test]
    fn the_number_of_demonstrations_is_the_papers_or_the_nearest_below() {
        let mut study = text_study();
        assert_eq!(shots(None, &study).unwrap(), 3);
        assert_eq!(shots(Some(5), &study).unwrap(), 5);
        study.tokens = vec![query_after(5)];
        assert_eq!(shots(None, &study).unwrap(), 5);
        let error = shots(Some(6), &study).unwrap_err().to_string();
        assert_eq!(error, "--shots must be between 0 and the most demonstrations (5), but is 6");
    }
}
