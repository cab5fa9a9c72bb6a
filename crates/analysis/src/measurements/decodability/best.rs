//! CD at the best layer.

use probe::ProbeKind;

use super::{BestLayerRow, DecodabilityRow, Selection};

/// CD at the layer that was chosen on one half of the resamples, for every step and token: over all concepts on the other
/// half, and for each concept on all resamples at the same layer.
pub(crate) fn at_best_layer(cd: &[DecodabilityRow], best: &[BestLayerRow]) -> Vec<DecodabilityRow> {
    let chosen = best.iter().filter(|row| row.probe == ProbeKind::CD && row.selection == Selection::HeldOut);
    let there = |best: &BestLayerRow| {
        let BestLayerRow { step, token, layer, score, lo, hi, .. } = *best;
        let here = cd.iter().filter(move |row| row.is_cd() && (row.step, row.token, row.layer) == (step, token, layer));
        here.map(move |row| match row.concept {
            None => DecodabilityRow { score, lo, hi, n: row.n - row.n / 2, ..row.clone() },
            Some(_) => row.clone(),
        })
    };
    chosen.flat_map(there).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Counter, text_study};
    use crate::measurements::decodability::decodability_rows;

    #[test]
    fn every_token_has_its_best_layer_over_all_concepts_and_for_each() {
        let (cd, best) = decodability_rows(&text_study(), &Counter::new(0.5), 3).unwrap();
        let found = at_best_layer(&cd, &best);
        let places: Vec<_> =
            found.iter().map(|row| (row.token.to_string(), row.layer.0, row.concept.clone())).collect();
        let at = |token: &str| [None, Some("up"), Some("down")].map(|it| (token.to_owned(), 1, it.map(str::to_owned)));
        assert_eq!(places, [at("x6"), at("x4")].concat());
        assert_eq!(found.iter().map(|row| row.n).collect::<Vec<_>>(), [2, 4, 4, 2, 4, 4]);
        let held_out = best.iter().find(|row| row.probe == ProbeKind::CD).unwrap();
        assert_eq!((found[0].score, found[0].lo, found[0].hi), (held_out.score, held_out.lo, held_out.hi));
    }
}
