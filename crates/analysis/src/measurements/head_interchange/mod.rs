//! Interchange of heads: what one attention head adds to a prompt's states is replaced by what it adds to those of its twin.

mod rows;
mod show;

use probe::{Edit, Layer, Subject};
use serde::Serialize;

pub use rows::HeadInterchangeRow;

use super::interchange::{Asked, AtLayer, FOUND_ON, Way, check_task};
use super::{Donor, MeasureError, Measurement, Needs, Places, Session, sorted};
use crate::show::{Section, Shown};

/// How far answers go from a prompt's own to its twin's when the output of one attention head in the twin takes the place of
/// its output in the prompt, or those of all heads of a block, at several sets of tokens. Twins, donors and targets are those of
/// [`Interchange`](crate::Interchange).
///
/// # Source
/// Replacing the output of single heads by that in another prompt: Wang et al. (2023), arXiv 2211.00593, where the other
/// prompt goes on only to chosen readers. Here everything behind the head reads what was put in place.
#[derive(Clone, Copy, Debug)]
pub struct HeadInterchange;

/// What to interchange.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub struct Options {
    /// Checkpoints to measure, as 0,500,1000 [default: the last]
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    step: Vec<usize>,
    /// Tokens at which a head's output is interchanged together
    #[arg(long, value_enum, value_delimiter = ',', default_value = "query_x,every_y")]
    places: Vec<Places>,
    /// Prompts of every concept that means are taken over
    #[arg(long, value_name = "N", default_value_t = FOUND_ON)]
    #[arg(value_parser = terminal::whole::<u32>(2, Some(100_000)))]
    found_on: u32,
}

/// What is interchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<usize>,
    places: Vec<Places>,
    found_on: usize,
}

impl Measurement for HeadInterchange {
    const NAME: &'static str = "interchange-heads";
    const ABOUT: &'static str = "Replace one head's output by that in a twin, and measure where answers go";
    const NEEDS: Needs = Needs::Numbers;
    const FIGURES: &'static [&'static str] = &["interchange_heads"];
    type Options = Options;
    type Plan = Plan;
    type Rows = Vec<HeadInterchangeRow>;

    fn plan(Options { step, places, found_on }: Options, session: &Session<'_>) -> Result<Plan, MeasureError> {
        session.subjects.anatomy().require_attention()?;
        let found_on = found_on as usize;
        check_task(session.study, found_on)?;
        Ok(Plan { steps: session.steps_or_last(step)?, places: sorted(places), found_on })
    }

    fn measure(plan: &Plan, session: &Session<'_>) -> Result<Vec<HeadInterchangeRow>, MeasureError> {
        let asked = Asked::new(session.study, plan.found_on)?;
        session.over_steps(&plan.steps, |subject, step| rows(session, subject, step, &plan.places, &asked))
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

fn rows(
    session: &Session<'_>,
    subject: &dyn Subject,
    step: usize,
    places: &[Places],
    Asked { twins, others }: &Asked,
) -> Result<Vec<HeadInterchangeRow>, MeasureError> {
    let mut rows = Vec::new();
    for layer in (1..=subject.anatomy().n_layers).map(Layer) {
        (session.progress)(&format!("step {step}, layer {}", layer.0));
        for &places in places {
            let tokens = places.tokens(session.study.n_points());
            let heads = AtLayer::read_heads(subject, twins, others, (layer, &tokens))?;
            for head in std::iter::once(None).chain((1..=heads.len()).map(Some)) {
                let changed = head.map_or(&heads[..], |head| &heads[head - 1..head]);
                let edit = |donor| Edit(changed.iter().flat_map(|here| here.edit(donor, None).0).collect());
                let ways = twins.under(subject, Donor::ALL.map(edit))?;
                let row = |(donor, way)| row(step, (layer, head), places, donor, way, twins.prompts.len());
                let by_donor = Donor::ALL.into_iter().zip(ways);
                rows.extend(by_donor.flat_map(|(donor, ways)| ways.into_iter().map(move |way| (donor, way))).map(row));
            }
        }
    }
    Ok(rows)
}

fn row(
    step: usize,
    (layer, head): (Layer, Option<usize>),
    places: Places,
    donor: Donor,
    Way { target, slope, own_weight, target_weight: weight }: Way,
    n: usize,
) -> HeadInterchangeRow {
    HeadInterchangeRow {
        step,
        layer,
        head,
        places,
        donor,
        target,
        slope: slope.mean,
        slope_lo: slope.lo,
        slope_hi: slope.hi,
        own_weight,
        target_weight: weight.mean,
        weight_lo: weight.lo,
        weight_hi: weight.hi,
        n,
    }
}
