//! Scores of attention heads over training: induction, and what their mean outputs bring of the concept.

mod rows;
mod show;

use data::{Prompt, Purpose, Token};
use nalgebra::DMatrix;
use probe::{Change, Edit, Layer, Look, Prompts, Study, Subject, SubjectError, Vectors};

pub use rows::HeadScoreRow;

use super::effect::{Effect, less};
use super::groups::Groups;
use super::{Estimate, MEAN_PROMPTS, MeasureError, Measurement, Needs, Session, mean_prompts};
use crate::show::{Section, Shown};

/// Checkpoints that are measured unless told otherwise.
const MEASURED: usize = 9;

/// The induction score and the function-vector score of every head.
///
/// *Induction.* In prompts x1 y1 … xm ym x1 y1 … xm ym, with m half of the task's pairs, rounded down, the attention from the
/// second xi to the first yi, averaged over i and prompts.
///
/// *Function vector.* A head's mean output at the query over prompts of a concept takes the place of its output at the query of
/// held-out prompts of the concept whose ys are permuted among the pairs before it. The score is the squared error without the
/// change less that with it, over the mean of y², averaged over concepts by their priors; positive where the mean helps.
///
/// # Source
/// Both scores over training: Yin and Steinhardt (2025), arXiv 2502.14010. Induction, there prefix matching: Olsson et al.
/// (2022), arXiv 2209.11895. Function vectors by their causal indirect effect: Todd et al. (2023), arXiv 2310.15213, on the
/// probability of the right answer, which regression has not. The part that another concept's mean does not bring is ours.
#[derive(Clone, Copy, Debug)]
pub struct HeadScores;

/// What to measure.
#[derive(Clone, Debug, clap::Args, serde::Serialize)]
pub struct Options {
    /// Checkpoints to measure, as 0,500,1000 [default: nine from first to last]
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    step: Vec<usize>,
    /// Prompts of every concept that a head's mean output is taken over
    #[arg(long, value_name = "N", default_value_t = MEAN_PROMPTS)]
    #[arg(value_parser = terminal::whole::<u32>(1, Some(100_000)))]
    mean_prompts: u32,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<usize>,
    mean_prompts: usize,
}

impl Measurement for HeadScores {
    const NAME: &'static str = "heads";
    const ABOUT: &'static str = "Score heads over training: induction, and what their mean outputs bring";
    const NEEDS: Needs = Needs::Numbers;
    const FIGURES: &'static [&'static str] = &["heads"];
    type Options = Options;
    type Plan = Plan;
    type Rows = Vec<HeadScoreRow>;

    fn plan(Options { step, mean_prompts }: Options, session: &Session<'_>) -> Result<Plan, MeasureError> {
        session.subjects.anatomy().require_attention()?;
        let (concepts, pairs) = (session.study.concepts().len(), session.study.n_points());
        if concepts < 2 || pairs < 3 {
            let (range, found) = ("one of at least 2 concepts and 3 pairs", format!("one of {concepts} and {pairs}"));
            return Err(MeasureError::out_of_range("the task of heads", range, found));
        }
        session.study.check_stock("--mean-prompts", Purpose::Patch, mean_prompts as usize)?;
        Ok(Plan { steps: session.steps(step, MEASURED)?, mean_prompts: mean_prompts as usize })
    }

    fn measure(plan: &Plan, session: &Session<'_>) -> Result<Vec<HeadScoreRow>, MeasureError> {
        let asked = Asked::new(session.study, plan.mean_prompts)?;
        session.over_steps(&plan.steps, |subject, step| asked.rows(subject, step))
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

/// What heads are asked.
struct Asked<'a> {
    effect: Effect<'a>,
    /// Prompts whose pairs come twice.
    repeated: Prompts,
    /// From each x that comes again to the y behind its first occurrence.
    looks: Vec<Look>,
    /// Prompts whose ys are permuted.
    permuted: Prompts,
    behind_means: Prompts,
    query: Token,
}

impl<'a> Asked<'a> {
    fn new(study: &'a Study, per_concept: usize) -> Result<Self, MeasureError> {
        let (effect, half) = (Effect::new(study)?, study.n_points() / 2);
        let twice = |prompt: Prompt| Prompt { xs: prompt.xs.repeat(2), ys: prompt.ys.repeat(2), ..prompt };
        let repeated = effect.prompts().pairs().iter().map(|prompt| twice(prompt.first(half)));
        Ok(Self {
            repeated: repeated.collect::<Vec<_>>().into(),
            looks: (1..=half).map(|pair| (Token::X(half + pair), Token::Y(pair))).collect(),
            permuted: study.held_out_permuted()?,
            behind_means: mean_prompts(study, per_concept)?,
            query: Token::X(study.n_points()),
            effect,
        })
    }

    fn rows(&self, subject: &dyn Subject, step: usize) -> Result<Vec<HeadScoreRow>, MeasureError> {
        let alike = self.looks.iter().map(|(from, _)| 1.0 / (from.index() + 1) as f64);
        let chance = alike.sum::<f64>() / self.looks.len() as f64;
        let mut rows = Vec::new();
        for layer in (1..=subject.anatomy().n_layers).map(Layer) {
            let scores = self.induction(subject, layer)?.into_iter().zip(self.function_vectors(subject, layer)?);
            rows.extend((1..).zip(scores).map(|(head, (induction, [function_vector, concept_part]))| HeadScoreRow {
                step,
                layer,
                head,
                induction: induction.mean,
                induction_lo: induction.lo,
                induction_hi: induction.hi,
                chance,
                function_vector: function_vector.mean,
                function_vector_lo: function_vector.lo,
                function_vector_hi: function_vector.hi,
                concept_part: concept_part.mean,
                concept_part_lo: concept_part.lo,
                concept_part_hi: concept_part.hi,
                n: self.effect.n(),
            }));
        }
        Ok(rows)
    }

    /// The induction score of each head of a block.
    fn induction(&self, subject: &dyn Subject, layer: Layer) -> Result<Vec<Estimate>, SubjectError> {
        let of_head = |looks: &Vec<Vec<f32>>| {
            let of_prompt = |prompt: usize| looks.iter().map(|look| f64::from(look[prompt])).sum::<f64>();
            let means = (0..self.repeated.len()).map(|prompt| of_prompt(prompt) / looks.len() as f64);
            self.over_concepts(&means.collect::<Vec<_>>())
        };
        Ok(subject.attention(&self.repeated, layer, &self.looks)?.iter().map(of_head).collect())
    }

    /// The function-vector score of each head of a block, and the part of it that is the concept's.
    fn function_vectors(&self, subject: &dyn Subject, layer: Layer) -> Result<Vec<[Estimate; 2]>, SubjectError> {
        let outputs = subject.head_outputs(&self.behind_means, layer, &[self.query])?;
        let edits = (1..).zip(&outputs).flat_map(|(head, of_head)| {
            let own = Groups::of(of_head.states(0, 0).rows(), &of_head.labels).mean_rows();
            [self.edit(layer, head, &own), self.edit(layer, head, &of_others(&own))]
        });
        let edits: Vec<Edit> = std::iter::once(Edit::default()).chain(edits).collect();
        let answers = subject.answers(&self.permuted, &edits)?;
        let errors: Vec<Vec<f64>> = answers.iter().map(|answers| self.effect.last_errors(answers)).collect();
        let of_head = |changed: &[Vec<f64>]| {
            [less(&errors[0], &changed[0]), less(&changed[1], &changed[0])].map(|taken| self.over_concepts(&taken))
        };
        Ok(errors[1..].chunks_exact(2).map(of_head).collect())
    }

    /// Puts, in every prompt, the row of its concept in place of what a head adds at the query.
    fn edit(&self, layer: Layer, head: usize, by_concept: &DMatrix<f64>) -> Edit {
        let row = |concept: usize| by_concept.row(concept).iter().copied().collect();
        let by = Vectors::Each(self.permuted.labels().into_iter().map(row).collect());
        Edit::of(Change::ReplaceHead { layer, head, token: self.query, by })
    }

    /// The mean of one value a prompt over all concepts.
    fn over_concepts(&self, values: &[f64]) -> Estimate {
        self.effect.by_concept(values).swap_remove(0).1
    }
}

/// For each row the mean of the others.
fn of_others(rows: &DMatrix<f64>) -> DMatrix<f64> {
    let (sum, n) = (rows.row_sum(), rows.nrows());
    DMatrix::from_fn(n, rows.ncols(), |i, k| (sum[k] - rows[(i, k)]) / (n - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Linear, study};

    /// States are f32, and answers products of two of them.
    const SINGLE: f64 = 1e-5;

    /// The model made by hand attends to all ys so far alike: there are 3, 4 and 5 of them before the second x1, x2 and x3.
    #[test]
    fn a_head_that_attends_to_all_ys_alike_has_the_induction_of_that() {
        let (study, model) = (study(), Linear::new([0.5, 0.5], 0.0));
        let rows = Asked::new(&study, 30).unwrap().rows(&model, 7).unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.layer.0, row.head)).collect::<Vec<_>>(),
            [(1, 1), (1, 2), (2, 1), (2, 2)]
        );
        for row in &rows {
            assert!((row.induction - (1.0 / 3.0 + 1.0 / 4.0 + 1.0 / 5.0) / 3.0).abs() < SINGLE, "{row:?}");
            assert_eq!(row.chance, (1.0 / 7.0 + 1.0 / 9.0 + 1.0 / 11.0) / 3.0);
        }
    }

    /// The answer is x · m, and each head writes a part of m: with the mean of a head in its place the answer is off by another
    /// amount, which a second way to it gives.
    #[test]
    fn the_score_is_what_the_mean_output_takes_from_the_error() {
        let (study, model) = (study(), Linear::new([0.0, 0.5], 0.0));
        let asked = Asked::new(&study, 30).unwrap();
        let row = asked.rows(&model, 0).unwrap().swap_remove(3);
        let correlation = |prompt: &Prompt, k: usize| {
            let seen = prompt.pairs().take(5);
            seen.map(|(x, y)| 0.5 * x[k] * y / 5.0).sum::<f64>()
        };
        let [of_first, of_second] = [0, 1].map(|concept| {
            let members = asked.behind_means.pairs().iter().filter(move |prompt| prompt.concept.0 == concept);
            [2, 3].map(|k| members.clone().map(|prompt| correlation(prompt, k)).sum::<f64>() / 30.0)
        });
        let error = |prompt: &Prompt, head: [f64; 2]| {
            let (x, y) = prompt.pairs().last().unwrap();
            let first: f64 = [0, 1].map(|k| x[k] * correlation(prompt, k)).iter().sum();
            (y - first - x[2] * head[0] - x[3] * head[1]).powi(2) / asked.effect.scale
        };
        let (mut taken, mut beyond) = (0.0, 0.0);
        for prompt in asked.permuted.pairs() {
            let (own, other) = if prompt.concept.0 == 0 { (of_first, of_second) } else { (of_second, of_first) };
            let plain = [2, 3].map(|k| correlation(prompt, k));
            taken += (error(prompt, plain) - error(prompt, own)) / 40.0;
            beyond += (error(prompt, other) - error(prompt, own)) / 40.0;
        }
        assert!((row.function_vector - taken).abs() < SINGLE, "{row:?} {taken}");
        assert!((row.concept_part - beyond).abs() < SINGLE, "{row:?} {beyond}");
    }

    #[test]
    fn others_are_all_but_the_own() {
        let rows = DMatrix::from_row_slice(3, 2, &[1.0, 0.0, 3.0, 2.0, 5.0, 10.0]);
        assert_eq!(of_others(&rows), DMatrix::from_row_slice(3, 2, &[4.0, 6.0, 3.0, 5.0, 2.0, 1.0]));
    }
}
