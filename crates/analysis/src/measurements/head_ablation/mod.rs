//! Head ablation: one attention head at a time is switched off.

mod rows;
mod show;

use probe::{Change, Edit, Layer, Study, Subject};

pub use rows::AblationRow;

use super::effect::{Effect, less};
use super::{MeasureError, Measurement, Needs, OneStep, Session};
use crate::show::{Section, Shown};

/// The error of a model without each of its heads, and what that adds to the error of the whole model.
///
/// # Source
/// Han et al., arXiv 2412.12276, with 100 prompts of every concept; here they are the held-out prompts.
#[derive(Clone, Copy, Debug)]
pub struct HeadAblation;

impl Measurement for HeadAblation {
    const NAME: &'static str = "prune";
    const ABOUT: &'static str = "Switch off one attention head at a time, and measure the error";
    const NEEDS: Needs = Needs::Numbers;
    const FIGURES: &'static [&'static str] = &["pruning"];
    type Options = OneStep;
    type Plan = usize;
    type Rows = Vec<AblationRow>;

    fn plan(OneStep { step }: OneStep, session: &Session<'_>) -> Result<usize, MeasureError> {
        session.subjects.anatomy().require_attention()?;
        session.step(step)
    }

    fn measure(&step: &usize, session: &Session<'_>) -> Result<Vec<AblationRow>, MeasureError> {
        ablate(session.study, &*session.subjects.at(step)?, step, session.progress)
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

fn ablate(
    study: &Study,
    subject: &dyn Subject,
    step: usize,
    progress: &dyn Fn(&str),
) -> Result<Vec<AblationRow>, MeasureError> {
    let effect = Effect::new(study)?;
    let plain = effect.errors(&subject.plain_answers(effect.prompts())?);
    let (n_layers, n_heads) = (subject.anatomy().n_layers, subject.anatomy().n_heads);
    let mut rows = Vec::new();
    for layer in (1..=n_layers).map(Layer) {
        progress(&format!("layer {}", layer.0));
        let edits: Vec<Edit> = (1..=n_heads).map(|head| Edit::of(Change::Ablate { layer, head })).collect();
        for (head, answers) in (1..).zip(subject.answers(effect.prompts(), &edits)?) {
            let errors = effect.errors(&answers);
            let changes = effect.by_concept(&less(&errors, &plain));
            for ((concept, error), (_, change)) in effect.by_concept(&errors).into_iter().zip(changes) {
                let (error, change, lo, hi) = (error.mean, change.mean, change.lo, change.hi);
                rows.push(AblationRow { step, layer, head, concept, error, change, lo, hi, n: effect.n() });
            }
        }
    }
    Ok(rows)
}
