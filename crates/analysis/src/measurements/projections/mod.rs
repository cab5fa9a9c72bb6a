//! Hidden states in a plane, at a few layers and checkpoints.

mod method;
mod pca;
mod rows;
mod show;
#[cfg(test)]
mod trustworthiness;
mod umap;

use data::{Purpose, Stream, Token};
use probe::{Layer, ProbeToken, Study, Subject, Wanted};
use rayon::prelude::*;

pub use method::Projection;
pub(crate) use pca::principal_axes;
pub use pca::{Plane, principal_components};
pub use rows::{MapMethod, MapRow};
pub use umap::umap;

use super::{MeasureError, Measurement, Needs, Session, spread};
use crate::show::{Section, Shown};

/// Layers looked at where the command is not told which.
const LAYERS: usize = 4;

/// The states of the first resample in a plane, for a few checkpoints from first to last. A map takes the place of an
/// earlier one by the same method; maps by others stay in the table.
#[derive(Clone, Copy, Debug)]
pub struct Projections;

/// What is mapped, and how.
#[derive(Clone, Debug, clap::Args, serde::Serialize)]
pub struct Options {
    /// How states are brought into a plane: pca (principal components) or umap (neighbours stay neighbours)
    #[arg(long, default_value = "pca")]
    method: Projection,
    /// Token whose states are mapped, one of those that are probed: query_x, last_y, or one by name such as x7
    /// [default: the first of them]
    #[arg(long)]
    token: Option<ProbeToken>,
    /// Layers to map, 0 for the embedding, as 4,5,6 [default: a few from the embedding to the best one at the end of
    /// training]
    #[arg(long = "layer", value_name = "LAYERS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    layers: Vec<usize>,
}

/// What is mapped.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    method: Projection,
    steps: Vec<usize>,
    token: Token,
    layers: Vec<Layer>,
}

impl Measurement for Projections {
    const NAME: &'static str = "map";
    const ABOUT: &'static str = "Bring the hidden states into a plane: principal components or UMAP";
    const NEEDS: Needs = Needs::States;
    const FIGURES: &'static [&'static str] = &["map", "map_umap", "map_tsne"];
    type Options = Options;
    type Plan = Plan;
    type Rows = Vec<MapRow>;

    fn plan(Options { method, token, layers }: Options, session: &Session<'_>) -> Result<Plan, MeasureError> {
        let layers = session.layers("--layer", layers)?;
        check_states(method, session.study)?;
        let token = probed(token, session.study)?;
        let up_to_best = || {
            // Where the embedding is the best layer nothing is read, and the last one tells more.
            let best = Some(session.best_layer(token)?.0).filter(|&best| best > 0);
            let last = best.unwrap_or(session.subjects.anatomy().n_layers);
            Ok::<_, MeasureError>(spread(&(0..=last).map(Layer).collect::<Vec<_>>(), LAYERS))
        };
        let layers = if layers.is_empty() { up_to_best()? } else { layers };
        Ok(Plan { method, steps: session.milestones(Vec::new())?, token, layers })
    }

    fn measure(plan: &Plan, session: &Session<'_>) -> Result<Vec<MapRow>, MeasureError> {
        let mut rows = session.folder.table::<MapRow>().read()?;
        rows.retain(|row| row.method != plan.method.method());
        rows.extend(session.over_steps(&plan.steps, |subject, step| map(session.study, subject, step, plan))?);
        rows.sort_by_key(|row| row.method);
        Ok(rows)
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

/// The token asked for, which must be probed, or the first probed one.
fn probed(asked: Option<ProbeToken>, study: &Study) -> Result<Token, MeasureError> {
    let Some(asked) = asked else { return Ok(study.tokens[0]) };
    let resolved = asked.resolve(study.n_points()).ok();
    resolved.filter(|token| study.tokens.contains(token)).ok_or_else(|| {
        let known = study.tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        MeasureError::out_of_range("--token", format!("one of probe.tokens ({known})"), asked)
    })
}

fn check_states(method: Projection, study: &Study) -> Result<(), MeasureError> {
    let (prompts, concepts) = (study.probe.prompts_per_concept, study.concepts().len());
    let (fewest, name) = (method.fewest_states(), method.name());
    if prompts * concepts >= fewest {
        return Ok(());
    }
    let range = format!("at least {} for --method {name} ({fewest} states)", fewest.div_ceil(concepts));
    Err(MeasureError::out_of_range("probe.prompts_per_concept", range, prompts))
}

fn map(study: &Study, subject: &dyn Subject, step: usize, plan: &Plan) -> Result<Vec<MapRow>, MeasureError> {
    let Plan { method, token, ref layers, .. } = *plan;
    // The same draws at every step and layer, so that panels differ by their states alone.
    let stream = Stream::new(study.seed, Purpose::Map);
    let wanted = Wanted { layers: layers.clone(), ..Wanted::residual(&[token]) };
    let mut rows = Vec::new();
    subject.read(&[study.resample(0)?], &wanted, &mut |delivery| {
        let states = delivery.states;
        let of_layer = |(index, &layer): (usize, &Layer)| {
            let plane = method.plane(&states.states(index, 0), stream);
            let row = |(&[x, y], &label): (&[f64; 2], &usize)| MapRow {
                method: method.method(),
                step,
                layer,
                token,
                concept: study.concepts()[label].name.clone(),
                x,
                y,
                explained_x: plane.explained.map(|[first, _]| first),
                explained_y: plane.explained.map(|[_, second]| second),
            };
            plane.points.iter().zip(&states.labels).map(row).collect::<Vec<_>>()
        };
        rows.extend(states.layers.par_iter().enumerate().flat_map_iter(of_layer).collect::<Vec<_>>());
    })?;
    rows.sort_by_key(|row| row.layer);
    Ok(rows)
}
