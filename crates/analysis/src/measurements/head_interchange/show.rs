//! Which heads carry the concept.

use std::collections::{BTreeMap, BTreeSet};

use plots::PlotError;
use plots::grid::draw_in_rows;
use plots::heat::Scale;
use plots::ticks::grouped_number;
use probe::Layer;

use super::{Donor, HeadInterchangeRow, Places};
use crate::MeasureError;
use crate::measurements::Target;
use crate::measurements::head_map::{OfHead, head_map, map_height};
use crate::show::{Section, Shown};

const FIGURE: &str = "interchange_heads";
const PANELS_A_ROW: usize = 2;

/// Draws, for every set of tokens at the last checkpoint, what each head carries of the concept alone: the weight of what the
/// twin's concept makes of the own pairs with the head's output in the twin of another prompt, less that with its output in
/// another prompt of the own concept. Layers upwards and heads along.
///
/// # Errors
/// [`PlotError::Empty`] if no row is of that target.
fn interchange_heads(rows: &[HeadInterchangeRow]) -> Result<String, PlotError> {
    let last = rows.iter().map(|row| row.step).max().unwrap_or(0);
    let rows: Vec<&HeadInterchangeRow> = rows.iter().filter(|row| row.step == last).collect();
    let places: BTreeSet<Places> = rows.iter().map(|row| row.places).collect();
    let panels: Vec<(Places, Vec<OfHead>)> =
        places.into_iter().map(|places| (places, carried(&rows, places))).collect();
    let all = || panels.iter().flat_map(|(_, values)| values);
    let layers = all().map(|((layer, _), _)| layer).collect::<BTreeSet<&Layer>>().len();
    if layers == 0 {
        return Err(PlotError::Empty { figure: FIGURE, origin: "interchange_heads.csv" });
    }
    let scale = Scale::around_zero(all().map(|(_, value)| *value));
    let x = format!("head interchanged, step {}", grouped_number(last));
    let panel = |(places, values): &(Places, Vec<OfHead>)| head_map(places.title().to_owned(), &x, values, &scale);
    draw_in_rows(panels.iter().map(panel).collect(), PANELS_A_ROW, map_height(layers))
}

/// What every head carries of the concept at a set of tokens.
fn carried(rows: &[&HeadInterchangeRow], places: Places) -> Vec<OfHead> {
    let weights = |donor: Donor| {
        let here =
            rows.iter().filter(move |row| (row.places, row.donor, row.target) == (places, donor, Target::Concept));
        here.map(|row| ((row.layer, row.head), row.target_weight))
    };
    let own: BTreeMap<_, f64> = weights(Donor::SameConcept).collect();
    weights(Donor::OtherTwin).filter_map(|(head, other)| Some((head, other - own.get(&head)?))).collect()
}

const CAPTION: &str = "Weight, in the answer, of what the other concept makes of the prompt's own pairs, when a head adds what it adds in a prompt of the other concept; less the same weight when it adds what it adds in another prompt of the own concept. A head above 0 carries the concept to these tokens, and 1 would be all of it; the first column has all heads of the block together.";

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let section = Section::figure(FIGURE, "Heads that carry the concept", CAPTION, interchange_heads(&shown.rows()?))?;
    Ok(section.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{check, noise};

    /// Head 2 of the last layer carries 0.4, and all heads together as much.
    fn planted(layers: usize, heads: usize, places: &[Places]) -> Vec<HeadInterchangeRow> {
        let mut rows = Vec::new();
        let all = |layer| std::iter::once(None).chain((1..=heads).map(Some)).map(move |head| (layer, head));
        for (layer, head) in (1..=layers).flat_map(all) {
            for (places, donor) in places.iter().flat_map(|&places| Donor::ALL.map(|donor| (places, donor))) {
                let carries = layer == layers && [None, Some(2)].contains(&head) && donor == Donor::OtherTwin;
                let weight = if carries { 0.4 } else { 0.0 };
                rows.extend([Target::Twin, Target::Concept].map(|target| HeadInterchangeRow {
                    step: 12_000,
                    layer: Layer(layer),
                    head,
                    places,
                    donor,
                    target,
                    slope: weight,
                    slope_lo: weight - 0.1,
                    slope_hi: weight + 0.1,
                    own_weight: 1.0 - weight,
                    target_weight: weight,
                    weight_lo: weight - 0.1,
                    weight_hi: weight + 0.1,
                    n: 500,
                }));
            }
        }
        rows
    }

    #[test]
    fn shows_a_map_for_every_set_of_tokens() {
        let svg = interchange_heads(&planted(6, 4, &[Places::QueryX, Places::EveryY])).unwrap();
        check("interchange-heads", &svg);
        for text in ["Every y token before the query", "s x token", "+0.4", "head interchanged, step 12,000"] {
            assert!(svg.contains(text), "{text} is missing");
        }
        assert_eq!(svg.matches("\n+0.4\n").count(), 5, "one head and all in each map, and the scale");
        check("interchange-heads-many", &interchange_heads(&planted(48, 64, &[Places::EveryY])).unwrap());
        check("interchange-heads-one", &interchange_heads(&planted(1, 1, &[Places::LastY])).unwrap());
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        for value in [f64::NAN, f64::INFINITY, -1e300, 0.0] {
            let mut rows = planted(3, 2, &[Places::EveryY]);
            rows.iter_mut().skip(1).for_each(|row| row.target_weight = value + noise(row.layer.0));
            check(&format!("interchange-heads-{value:e}"), &interchange_heads(&rows).unwrap());
        }
        assert!(matches!(interchange_heads(&[]), Err(PlotError::Empty { figure: FIGURE, .. })));
    }
}
