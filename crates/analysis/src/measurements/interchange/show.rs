//! Where interchange moves the answers, when over training, and in how few directions.

use std::collections::BTreeSet;
use std::ops::Range;

use data::Token;
use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel, stacked};
use plots::shapes::RGBColor;
use plots::style::{GREY, INK, UNITS};
use plots::ticks::{compact_number, evenly, extent, grouped_number, labelled, number, ticks};
use probe::ProbeKind;

use super::{Donor, InterchangeRow, Places, Subspace, Target, strongest};
use crate::measurements::Selection;
use crate::show::{Section, Shown};
use crate::{BestLayerRow, MeasureError};

const PANEL: u32 = 330 * UNITS;
const DASH: (u32, u32) = (12, 10);
/// Labels along an x axis at most.
const MOST_MARKS: usize = 13;

/// Draws, for every set of tokens at the last checkpoint, the weight of what a donor's states ask for in the answers, layer
/// by layer: of the answer to the twin with the twin's own states; of what its concept makes of the own pairs with those of
/// another twin, or with its mean; and with those of another prompt of the own concept, the control.
///
/// # Errors
/// [`PlotError::Empty`] if no row is of whole states.
fn interchange(rows: &[InterchangeRow]) -> Result<String, PlotError> {
    let last = rows.iter().map(|row| row.step).max();
    let whole =
        |row: &&InterchangeRow| Some(row.step) == last && row.subspace.is_none() && row.places != Places::Everywhere;
    let rows: Vec<&InterchangeRow> = rows.iter().filter(whole).collect();
    let drawn = [
        (Donor::SameConcept, Target::Concept, "same concept (control)", GREY),
        (Donor::ConceptMean, Target::Concept, "mean of the twin's concept", color_of(2)),
        (Donor::Twin, Target::Twin, "twin: its answer", color_of(0)),
        (Donor::OtherTwin, Target::Concept, "another twin: its concept", color_of(1)),
    ];
    panels(&rows, Along::Layers, |here| {
        let curve = |(donor, target, label, color): (Donor, Target, &str, RGBColor)| {
            let chosen = |row: &&InterchangeRow| (row.donor, row.target) == (donor, target);
            Along::Layers.curve(label, color, here.iter().copied().filter(chosen))
        };
        drawn.map(curve).into()
    })
}

/// Draws, for every set of tokens, the weight of what the twin's concept makes of the own pairs in the answers against the
/// number of directions in which the twin's states take the place of the own ones.
///
/// # Errors
/// [`PlotError::Empty`] if no row is of a subspace.
fn subspaces(rows: &[InterchangeRow]) -> Result<String, PlotError> {
    let last = rows.iter().filter(|row| row.rank.is_some()).map(|row| row.step).max();
    let of_concept =
        |row: &&InterchangeRow| Some(row.step) == last && row.target == Target::Concept && row.rank.is_some();
    let rows: Vec<&InterchangeRow> = rows.iter().filter(of_concept).collect();
    panels(&rows, Along::Directions, |here| {
        let named = [
            (Subspace::Linear, "linear discriminants", color_of(0)),
            (Subspace::Quadratic, "quadratic discriminants", color_of(1)),
            (Subspace::Searched, "searched", color_of(2)),
        ];
        let curve = |(subspace, label, color): (Subspace, &str, RGBColor)| {
            let of = move |donor: Donor| {
                let chosen = move |row: &&InterchangeRow| row.subspace == Some(subspace) && row.donor == donor;
                here.iter().copied().filter(chosen)
            };
            let random = Along::Directions.curve("", color, of(Donor::Random)).dashed(DASH);
            [random, Along::Directions.curve(label, color, of(Donor::Twin))]
        };
        named.into_iter().flat_map(curve).filter(|curve| curve.heights().count() > 0).collect()
    })
}

/// Draws when over training the concept is decodable and when it is causal: the weight of what the twin's concept makes of
/// the own pairs when every y token gets the states of another twin, at the layer where that is most in the end, and when it
/// gets those of another prompt of its own concept, beside the accuracy of two probes at a y token.
///
/// # Errors
/// [`PlotError::Empty`] if there are no two checkpoints.
fn causal_and_decodable(rows: &[InterchangeRow], best: &[BestLayerRow]) -> Result<String, PlotError> {
    let empty = PlotError::Empty { figure: "causal_and_decodable", origin: "interchange.csv (several checkpoints)" };
    let of = |donor: Donor| {
        let chosen = move |row: &&InterchangeRow| row.places == Places::EveryY && row.is_of_concept(donor);
        rows.iter().filter(chosen).collect::<Vec<_>>()
    };
    let (moved, control) = (of(Donor::OtherTwin), of(Donor::SameConcept));
    let steps = extent(moved.iter().map(|row| row.step as f64)).filter(|steps| steps.start < steps.end).ok_or(empty)?;
    let layer = strongest(rows, Places::EveryY);
    let curve = |label: &str, color, rows: Vec<&InterchangeRow>| {
        weights(label, color, rows.into_iter().filter(|row| row.layer == layer), |row| row.step as f64)
    };
    let mut curves = decodable(best);
    curves.push(curve("states of its own (control)", GREY, control));
    curves.push(curve("states of another concept", INK, moved));
    let panel = Panel {
        title: format!("When the concept can be read, and when it moves the answer (every y token, layer {})", layer.0),
        x: Axis::new("training step", steps.clone(), labelled(ticks(&steps, 8), compact_number)),
        y: weight_axis("accuracy, weight in the answer", curves.iter().flat_map(Curve::reach)),
        curves,
    };
    panel.figure(460 * UNITS)
}

/// Accuracy of two probes at their best layers at the last probed y token, or the first probed token.
fn decodable(best: &[BestLayerRow]) -> Vec<Curve> {
    let of_y = best.iter().map(|row| row.token).filter(|token| matches!(token, Token::Y(_))).max();
    let Some(token) = of_y.or_else(|| best.first().map(|row| row.token)) else { return Vec::new() };
    let curve = |(probe, label, color): (ProbeKind, &str, RGBColor)| {
        let chosen = |row: &&BestLayerRow| (row.token, row.probe, row.selection) == (token, probe, Selection::HeldOut);
        let rows: Vec<&BestLayerRow> = best.iter().filter(chosen).collect();
        let band = rows.iter().map(|row| (row.step as f64, row.lo..row.hi)).collect::<Vec<_>>();
        let points = rows.iter().map(|row| (row.step as f64, row.score));
        Curve::new(&format!("{label} at {token}"), color, points).with_band(band)
    };
    [(ProbeKind::Quadratic, "quadratic probe", color_of(1)), (ProbeKind::CD, "CD", color_of(0))].map(curve).into()
}

/// What the panels of a figure have along their x axis.
#[derive(Clone, Copy, PartialEq)]
enum Along {
    Layers,
    Directions,
}

impl Along {
    fn figure(self) -> &'static str {
        match self {
            Self::Layers => "interchange",
            Self::Directions => "interchange_subspaces",
        }
    }

    fn number(self, row: &InterchangeRow) -> usize {
        match self {
            Self::Layers => row.layer.0,
            Self::Directions => row.rank.unwrap_or(1),
        }
    }

    /// Numbers of directions double; by their logarithms they stand side by side.
    fn place(self, number: usize) -> f64 {
        match self {
            Self::Layers => number as f64,
            Self::Directions => (number as f64).log2(),
        }
    }

    fn axis(self, rows: &[&InterchangeRow]) -> Option<Axis> {
        let numbers: BTreeSet<usize> = rows.iter().map(|row| self.number(row)).collect();
        let numbers: Vec<usize> = numbers.into_iter().collect();
        let reach = self.place(*numbers.first()?)..self.place(*numbers.last()?);
        let marks = evenly(numbers.len(), MOST_MARKS).into_iter().map(|index| numbers[index]);
        let title = if self == Self::Layers { "layer (0 = embedding)" } else { "directions" };
        Some(Axis::new(title, reach, marks.map(|number| (self.place(number), number.to_string())).collect()))
    }

    fn curve<'a>(self, label: &str, color: RGBColor, rows: impl Iterator<Item = &'a InterchangeRow>) -> Curve {
        weights(label, color, rows, |row| self.place(self.number(row)))
    }
}

/// A panel for every set of tokens, one above the other.
fn panels(
    rows: &[&InterchangeRow],
    along: Along,
    curves: impl Fn(&[&InterchangeRow]) -> Vec<Curve>,
) -> Result<String, PlotError> {
    let x = along.axis(rows).ok_or(PlotError::Empty { figure: along.figure(), origin: "interchange.csv" })?;
    let places: BTreeSet<Places> = rows.iter().map(|row| row.places).collect();
    let all: Vec<Vec<Curve>> = places.iter().map(|&places| curves(&of(rows, places))).collect();
    let y = weight_axis("weight in the answer", all.iter().flatten().flat_map(Curve::reach));
    let last = all.len() - 1;
    let panel = |(number, (&places, curves)): (usize, (&Places, Vec<Curve>))| {
        let here = of(rows, places)[0];
        let at = if along == Along::Layers { String::new() } else { format!(", layer {}", here.layer.0) };
        let title = format!("{}{at}, step {}", places.title(), grouped_number(here.step));
        let x = if number == last { x.clone() } else { x.bare() };
        Panel { title, x, y: y.clone(), curves }
    };
    let panels: Vec<Panel> = places.iter().zip(all).enumerate().map(panel).collect();
    let axis_below = |number: usize| if number == last { 40 * UNITS } else { 0 };
    let heights = panels.iter().enumerate().map(|(number, panel)| (panel, PANEL + axis_below(number)));
    stacked(&heights.collect::<Vec<_>>())
}

fn of<'a>(rows: &[&'a InterchangeRow], places: Places) -> Vec<&'a InterchangeRow> {
    rows.iter().copied().filter(|row| row.places == places).collect()
}

/// The weight of the target, with its interval.
fn weights<'a>(
    label: &str,
    color: RGBColor,
    rows: impl Iterator<Item = &'a InterchangeRow>,
    x: impl Fn(&InterchangeRow) -> f64,
) -> Curve {
    let rows: Vec<&InterchangeRow> = rows.collect();
    let band: Vec<(f64, Range<f64>)> = rows.iter().map(|row| (x(row), row.weight_lo..row.weight_hi)).collect();
    Curve::new(label, color, rows.iter().map(|row| (x(row), row.target_weight))).with_band(band)
}

/// From 0, or a little below, to 1, or a little above; what is far outside is cut off.
fn weight_axis(title: &str, reach: impl Iterator<Item = f64>) -> Axis {
    let reach = extent(reach.map(|height| height.clamp(-0.5, 1.5))).unwrap_or(0.0..1.0);
    let range = reach.start.min(0.0) - 0.05..reach.end.max(1.0) + 0.05;
    Axis::new(title, range.clone(), labelled(ticks(&range, 6), number))
}

impl Places {
    pub(in crate::measurements) fn title(self) -> &'static str {
        match self {
            Self::QueryX => "The query's x token",
            Self::LastY => "The y token before the query",
            Self::EveryY => "Every y token before the query",
            Self::BeforeQuery => "Every token before the query",
            Self::Everywhere => "Every token",
        }
    }
}

const WHERE: &str = "Weight in the answers of what a donor's states ask for, when they take the place of the prompt's own at one layer. A prompt's twin has the same x's and the same random numbers under another concept. With the twin's own states that is the optimal answer to the twin. Another twin agrees with it in nothing but the concept; what is asked for is then what that concept makes of the prompt's own pairs. The other weight, that of the prompt's own optimal answer, is in interchange.csv. Bands are 95% intervals over prompts.";

const FEW: &str = "The same weight, of what the twin's concept makes of the prompt's own pairs, when the twin's states take the place of the own ones in a few directions at each token only, found on other prompts. Dashed: as many random directions, moved as far.";

const WHEN: &str = "Weight in the answer of what another concept makes of the prompt's own pairs, when the states at every y token are those of a prompt of that concept (black) and of its own (grey): where the two part, the concept in these states moves the answer. Before, what a model answers that does not know the concept has a part of every concept's answer. In colour: how well two probes read the concept from the last y token.";

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let (rows, best) = (shown.rows()?, shown.rows()?);
    let sections = [
        Section::figure("interchange", "What moves the answer", WHERE, interchange(&rows))?,
        Section::figure("interchange_subspaces", "In how few directions", FEW, subspaces(&rows))?,
        Section::figure("causal_and_decodable", "Decodable and causal", WHEN, causal_and_decodable(&rows, &best))?,
    ];
    Ok(sections.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use probe::Layer;

    use super::*;
    use crate::planted::{check, noise};

    /// Weights that grow with the layer and the step.
    fn planted(steps: &[usize], layers: usize) -> Vec<InterchangeRow> {
        let mut rows = Vec::new();
        let mut push = |step: usize, layer, places, donor, directions: Option<(Subspace, usize)>| {
            for target in [Target::Twin, Target::Concept] {
                let weight = layer as f64 / layers as f64 * step as f64 / 10_000.0 + 0.05 * noise(rows.len());
                rows.push(InterchangeRow {
                    step,
                    layer: Layer(layer),
                    places,
                    donor,
                    subspace: directions.map(|(subspace, _)| subspace),
                    rank: directions.map(|(_, rank)| rank),
                    target,
                    slope: weight,
                    slope_lo: weight - 0.1,
                    slope_hi: weight + 0.1,
                    own_weight: 1.0 - weight,
                    target_weight: weight,
                    weight_lo: weight - 0.1,
                    weight_hi: weight + 0.1,
                    n: 500,
                });
            }
        };
        for &step in steps {
            push(step, 0, Places::Everywhere, Donor::Twin, None);
            for places in [Places::QueryX, Places::LastY, Places::EveryY] {
                for layer in 0..=layers {
                    Donor::ALL.iter().for_each(|&donor| push(step, layer, places, donor, None));
                }
                for subspace in [Subspace::Linear, Subspace::Quadratic, Subspace::Searched] {
                    for (rank, donor) in [1, 2, 4, 8].into_iter().flat_map(|r| [(r, Donor::Twin), (r, Donor::Random)]) {
                        push(step, layers / 2, places, donor, Some((subspace, rank)));
                    }
                }
            }
        }
        rows
    }

    fn best(steps: &[usize]) -> Vec<BestLayerRow> {
        let row = |&step: &usize, probe| BestLayerRow {
            step,
            token: Token::Y(10),
            probe,
            selection: Selection::HeldOut,
            layer: Layer(3),
            score: 0.5 + step as f64 / 25_000.0,
            lo: 0.45,
            hi: 0.95,
        };
        let probes = [ProbeKind::CD, ProbeKind::Quadratic];
        probes.into_iter().flat_map(|probe| steps.iter().map(move |step| row(step, probe))).collect()
    }

    #[test]
    fn where_when_and_in_how_few_directions_is_drawn() {
        let steps = [0, 2_000, 6_000, 10_000];
        let rows = planted(&steps, 6);
        let svg = interchange(&rows).unwrap();
        check("interchange", &svg);
        check("interchange-deep", &interchange(&planted(&[10], 48)).unwrap());
        for text in ["Every y token before the query, step 10,000", "another twin: its concept", "weight in the answer"]
        {
            assert!(svg.contains(text), "{text} is missing");
        }
        let svg = subspaces(&rows).unwrap();
        check("interchange-subspaces", &svg);
        assert!(svg.contains("searched") && svg.contains("layer 3"));
        let svg = causal_and_decodable(&rows, &best(&steps)).unwrap();
        check("causal-and-decodable", &svg);
        assert!(svg.contains("every y token, layer 6") && svg.contains("quadratic probe at y10"));
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        for value in [f64::NAN, f64::INFINITY, -1e300, 0.0] {
            let mut rows = planted(&[0, 10], 2);
            rows.iter_mut().skip(3).for_each(|row| row.target_weight = value);
            check(&format!("interchange-{value:e}"), &interchange(&rows).unwrap());
            check(&format!("interchange-few-{value:e}"), &subspaces(&rows).unwrap());
            check(&format!("causal-{value:e}"), &causal_and_decodable(&rows, &[]).unwrap());
        }
        assert!(matches!(interchange(&[]), Err(PlotError::Empty { figure: "interchange", .. })));
        assert!(matches!(subspaces(&[]), Err(PlotError::Empty { .. })));
        assert!(matches!(causal_and_decodable(&planted(&[5], 1), &[]), Err(PlotError::Empty { .. })));
    }
}
