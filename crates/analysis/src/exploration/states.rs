//! The states of one set of prompts, at every layer, probed token and checkpoint, on axes that stay.

use std::collections::BTreeMap;

use data::Purpose;
use nalgebra::DMatrix;
use plots::explore::{Plane, Points};
use probe::{Layer, Prompts, Subject, Wanted};
use rayon::prelude::*;

use super::axes::{Axes, OnAxes, standardised};
use crate::measurements::{MeasureError, Session};

/// States in their planes.
pub(super) struct Projected {
    /// Concept of every state.
    pub(super) labels: Vec<usize>,
    /// By layer and token.
    pub(super) planes: Vec<Plane>,
    /// Whether all layers share the axes, because there is one checkpoint only.
    pub(super) over_layers: bool,
}

/// A layer, and the number of a probed token.
type Place = (Layer, usize);

/// The points and shares of a place after every step so far.
type Path = (Vec<Points>, Vec<[f64; 2]>);

/// Projects the states of `per_concept` prompts of every concept.
///
/// With several checkpoints, every layer and token has axes of its own: the principal components at the last checkpoint.
/// With one, all layers share those of the layer with the best CD, and every layer is [`standardised`].
pub(super) fn project(session: &Session<'_>, steps: &[usize], per_concept: usize) -> Result<Projected, MeasureError> {
    let over_layers = steps.len() == 1;
    let prompts = session.study.balanced(Purpose::Probe, 0, per_concept)?;
    let axes = axes(session, &prompts, over_layers)?;
    let mut paths: BTreeMap<Place, Path> = BTreeMap::new();
    let mut labels = Vec::new();
    for &step in steps {
        (session.progress)(&format!("step {step}"));
        labels = read(
            session,
            step,
            &prompts,
            &[],
            |place, states| {
                let axes = &axes[&(if over_layers { Layer(0) } else { place.0 }, place.1)];
                let on = if over_layers { axes.project(&standardised(states)) } else { axes.project(states) };
                (place, on)
            },
            |(place, OnAxes { points, shares })| {
                let path = paths.entry(place).or_default();
                path.0.push(points);
                path.1.push(shares);
            },
        )?;
    }
    let token = |number: usize| session.study.tokens[number].to_string();
    let plane =
        |((layer, number), (points, shares)): (Place, Path)| Plane::new(layer.0, token(number), &points, &shares);
    Ok(Projected { labels, planes: paths.into_iter().map(plane).collect(), over_layers })
}

/// The axes of every layer and token, or of every token alone, under layer 0.
fn axes(session: &Session<'_>, prompts: &Prompts, over_layers: bool) -> Result<BTreeMap<Place, Axes>, MeasureError> {
    let last = session.subjects.last_step()?;
    let best = session.best_layers()?;
    let layers = if over_layers { best.as_slice() } else { &[] };
    let mut axes = BTreeMap::new();
    let of_place = |place: Place, states: &DMatrix<f64>| match over_layers {
        true if best[place.1] != place.0 => None,
        true => Some(((Layer(0), place.1), Axes::of(&standardised(states)))),
        false => Some((place, Axes::of(states))),
    };
    read(session, last, prompts, layers, of_place, |found| axes.extend(found))?;
    Ok(axes)
}

/// Reads the states of prompts after `step` steps at `layers`, none for all; makes something of those of every layer and
/// token, in parallel, and takes it. Returns the concepts of the prompts.
fn read<T: Send>(
    session: &Session<'_>,
    step: usize,
    prompts: &Prompts,
    layers: &[Layer],
    make: impl Fn(Place, &DMatrix<f64>) -> T + Sync,
    mut take: impl FnMut(T),
) -> Result<Vec<usize>, MeasureError> {
    let tokens = &session.study.tokens;
    let wanted = Wanted { layers: layers.to_vec(), ..Wanted::residual(tokens) };
    let subject: Box<dyn Subject + '_> = session.subjects.at(step)?;
    let mut labels = Vec::new();
    subject.read(std::slice::from_ref(prompts), &wanted, &mut |delivery| {
        let states = delivery.states;
        let places: Vec<(usize, usize)> =
            (0..states.layers.len()).flat_map(|layer| (0..tokens.len()).map(move |token| (layer, token))).collect();
        let one =
            |&(layer, token): &(usize, usize)| make((states.layers[layer], token), states.states(layer, token).rows());
        places.par_iter().map(one).collect::<Vec<T>>().into_iter().for_each(&mut take);
        labels.clone_from(&states.labels);
    })?;
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use record::Folder;

    use super::*;
    use crate::fake::{TextTraining, Training, study, text_study};

    fn planes(session: &Session<'_>) -> Projected {
        project(session, &session.subjects.steps().unwrap(), 5).unwrap()
    }

    #[test]
    fn every_layer_and_token_has_a_plane_in_order() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::create(place.path()).unwrap();
        let (study, subjects) = (study(), Training::new());
        let session = Session::new(&study, &subjects, &folder, &|_| {});
        let found = planes(&session);
        assert_eq!((found.labels.len(), found.planes.len(), found.over_layers), (10, 6, false));
        assert!(found.planes.is_sorted_by_key(|plane| (plane.layer, plane.token.starts_with('y'))));
        let (text_study, text) = (text_study(), TextTraining::new());
        let session = Session::new(&text_study, &text, &folder, &|_| {});
        assert!(!planes(&session).planes.is_empty());
    }
}
