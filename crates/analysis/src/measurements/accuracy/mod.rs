//! Accuracy: how often a language model gives the right answer, and how likely it finds it.

mod correlation;
mod lines;
mod points;
mod rows;
mod show;

use probe::{Score, Study, Subject};

pub use correlation::{CorrelationOfText, cd_accuracy};
pub use rows::{AccuracyRow, AnswerRow};

use super::shots::shots_of;
use super::{Bootstrap, Estimate, Live, MeasureError, Measurement, Needs, NoOptions, Session};
use crate::show::{Section, Shown};

/// Exact answers and their log-probability on the held-out prompts, after every number of demonstrations, over all concepts
/// and for each.
///
/// # Source
/// Exact match: Han et al., arXiv 2412.12276. The log-probability is ours: it moves where no answer is right yet.
#[derive(Clone, Copy, Debug)]
pub struct Accuracy;

/// By concept, and prompt by prompt.
type Tables = (Vec<AccuracyRow>, Vec<AnswerRow>);

impl Measurement for Accuracy {
    const NAME: &'static str = "accuracy";
    const ABOUT: &'static str = "Measure how often answers are right, and their log-probability";
    const NEEDS: Needs = Needs::Scores;
    const FIGURES: &'static [&'static str] = &["cd_accuracy", "shots", "pretraining"];
    type Options = NoOptions;
    type Plan = Vec<usize>;
    type Rows = Tables;

    fn plan(NoOptions {}: NoOptions, session: &Session<'_>) -> Result<Vec<usize>, MeasureError> {
        Ok(session.subjects.steps()?)
    }

    fn measure(steps: &Vec<usize>, session: &Session<'_>) -> Result<Tables, MeasureError> {
        session.over_steps(steps, |subject, step| Self::at(session.study, subject, step))
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

impl Live for Accuracy {
    fn at(study: &Study, subject: &dyn Subject, step: usize) -> Result<Tables, MeasureError> {
        let answers = subject.plain_answers(&study.held_out()?)?;
        let mut tables = Tables::default();
        for shots in shots_of(study) {
            let scores: Vec<Score> = answers.scores().iter().map(|of_prompt| of_prompt[shots]).collect();
            tables.0.extend(accuracy_rows(study, &scores, step, shots));
            tables.1.extend(answer_rows(study, &scores, step, shots));
        }
        Ok(tables)
    }

    fn headline((rows, _): &Tables, _: &Shown<'_>) -> Option<String> {
        let last = rows.iter().rfind(|row| row.concept.is_none())?;
        Some(format!("exact answers {:.2} after {} demonstrations", last.accuracy, last.shots))
    }
}

/// A row over all concepts and one for each, of one score a prompt, concept by concept.
fn accuracy_rows(study: &Study, scores: &[Score], step: usize, shots: usize) -> Vec<AccuracyRow> {
    let per_concept = study.eval.prompts_per_concept;
    let bootstrap = Bootstrap::new(study.seed, per_concept);
    let logs: Vec<f64> = scores.iter().map(|score| score.log_probability).collect();
    let groups: Vec<&[f64]> = logs.chunks_exact(per_concept).collect();
    let row = |concept: Option<&str>, scores: &[Score], log: Estimate| {
        let right = scores.iter().filter(|score| score.exact).count();
        let Estimate { mean: accuracy, lo, hi } = Estimate::of_share(right, scores.len());
        AccuracyRow {
            step,
            concept: concept.map(str::to_owned),
            shots,
            accuracy,
            lo,
            hi,
            log_probability: log.mean,
            log_probability_lo: log.lo,
            log_probability_hi: log.hi,
            n: scores.len(),
        }
    };
    let alike: Vec<(f64, &[f64])> = groups.iter().map(|group| (study.chance(), *group)).collect();
    let all = row(None, scores, bootstrap.weighted_mean(&alike));
    let each = study.concepts().iter().zip(scores.chunks_exact(per_concept)).zip(&groups);
    let each = each.map(|((concept, scores), logs)| row(Some(&concept.name), scores, bootstrap.mean(logs)));
    std::iter::once(all).chain(each).collect()
}

fn answer_rows(study: &Study, scores: &[Score], step: usize, shots: usize) -> Vec<AnswerRow> {
    let row = |(prompt, &Score { exact, log_probability }): (usize, &Score)| {
        let concept = study.concepts()[prompt / study.eval.prompts_per_concept].name.clone();
        AnswerRow { step, prompt, concept, shots, exact, log_probability }
    };
    scores.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Counter, text_study};

    #[test]
    fn rows_are_means_of_the_answers_by_concept_and_number_of_demonstrations() {
        let study = text_study();
        let (rows, answers) = Accuracy::at(&study, &Counter::new(0.3), 7).unwrap();
        let places: Vec<_> = rows.iter().map(|row| (row.shots, row.concept.as_deref(), row.n)).collect();
        let at = |shots| [(shots, None, 40), (shots, Some("up"), 20), (shots, Some("down"), 20)];
        assert_eq!(places, [at(3), at(5)].concat());
        assert_eq!(answers.len(), 80);
        for row in &rows {
            let of_row = |answer: &&AnswerRow| {
                answer.shots == row.shots && row.concept.as_ref().is_none_or(|concept| *concept == answer.concept)
            };
            let here: Vec<&AnswerRow> = answers.iter().filter(of_row).collect();
            let right = here.iter().filter(|answer| answer.exact).count();
            assert_eq!((here.len(), row.accuracy, row.step), (row.n, right as f64 / row.n as f64, 7));
            // It adds .6 where 1 is right: .4 off.
            assert!((row.log_probability + 0.16).abs() < 1e-9 && row.accuracy == 1.0, "{row:?}");
            assert!(row.lo < 1.0 && row.hi == 1.0 && row.log_probability_lo <= row.log_probability, "{row:?}");
        }
        let headline = Accuracy::headline(
            &(rows, answers),
            &Shown {
                folder: &record::Folder::create(tempfile::tempdir().unwrap().path()).unwrap(),
                legend: &data::Legend::of_text(study.task.text().as_ref()),
            },
        );
        assert_eq!(headline.unwrap(), "exact answers 1.00 after 5 demonstrations");
    }
}
