//! Decodability of what attention and feed-forward write, beside the residual stream that they write to.

mod rows;
mod show;

use probe::{Component, Delivery, Study, Subject, Wanted};

pub use rows::ComponentRow;

use super::decodability::Scores;
use super::{DecodabilityRow, MeasureError, Measurement, Needs, Session, Steps};
use crate::show::{Section, Shown};

/// How well every probe reads the concept from every component of every block, at the probed tokens.
#[derive(Clone, Copy, Debug)]
pub struct ComponentOutputs;

impl Measurement for ComponentOutputs {
    const NAME: &'static str = "sites";
    const ABOUT: &'static str = "Measure decodability of what attention and feed-forward write";
    const NEEDS: Needs = Needs::States;
    const FIGURES: &'static [&'static str] = &["sites"];
    type Options = Steps;
    type Plan = Vec<usize>;
    type Rows = Vec<ComponentRow>;

    fn plan(Steps { step }: Steps, session: &Session<'_>) -> Result<Vec<usize>, MeasureError> {
        session.subjects.anatomy().require_attention()?;
        session.milestones(step)
    }

    fn measure(steps: &Vec<usize>, session: &Session<'_>) -> Result<Vec<ComponentRow>, MeasureError> {
        session.over_steps(steps, |subject, step| rows(session.study, subject, step))
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

fn rows(study: &Study, subject: &dyn Subject, step: usize) -> Result<Vec<ComponentRow>, MeasureError> {
    let mut scores = Component::ALL.map(|component| (component, Scores::new(study)));
    let wanted = Wanted { components: Component::ALL.to_vec(), ..Wanted::residual(&study.tokens) };
    subject.read(&study.resamples()?, &wanted, &mut |Delivery { group, states, .. }| {
        let of_component = scores.iter_mut().filter(|(component, _)| *component == states.component);
        of_component.for_each(|(_, scores)| scores.add(group, &states));
    })?;
    let of_component = |(component, scores): &(Component, Scores<'_>)| {
        let over_all = scores.rows(step).into_iter().filter(|row| row.concept.is_none());
        let component = *component;
        over_all.map(move |row| {
            let DecodabilityRow { step, layer, token, probe, score, chance, lo, hi, n, .. } = row;
            ComponentRow { step, layer, token, component, probe, score, chance, lo, hi, n }
        })
    };
    Ok(scores.iter().flat_map(of_component).collect())
}

#[cfg(test)]
mod tests {
    use data::Token;
    use probe::ProbeReading;

    use super::*;
    use crate::fake::{Linear, study};

    fn rows_of(attention: f64, feed_forward: f64) -> Vec<ComponentRow> {
        rows(&study(), &Linear::new([attention; 2], feed_forward), 0).unwrap()
    }

    /// Everything but the component's name.
    fn at(component: Component, rows: &[ComponentRow]) -> Vec<ComponentRow> {
        let here = rows.iter().filter(|row| row.component == component);
        here.map(|row| ComponentRow { component: Component::Block, ..row.clone() }).collect()
    }

    #[test]
    fn attention_that_writes_nothing_shows_nothing_and_leaves_the_block_to_the_feed_forward_part() {
        let rows = rows_of(0.0, 0.5);
        for row in at(Component::Attention, &rows).iter().filter(|row| row.probe == ProbeReading::CD) {
            // All states are the same, so that every guess is, and one of the two concepts is always right.
            assert_eq!((row.score, row.lo, row.hi), (0.5, 0.5, 0.5), "{row:?}");
        }
        assert_eq!(at(Component::Block, &rows), at(Component::FeedForward, &rows));
    }

    #[test]
    fn where_the_feed_forward_part_writes_nothing_attention_is_the_block() {
        let rows = rows_of(0.5, 0.0);
        assert_eq!(at(Component::Block, &rows), at(Component::Attention, &rows));
        assert_ne!(at(Component::Block, &rows), at(Component::FeedForward, &rows));
    }

    #[test]
    fn the_stream_has_an_embedding_and_a_block_has_none() {
        let layers = |component| {
            let first = |row: &&ComponentRow| row.token == Token::X(6) && row.probe == ProbeReading::CD;
            at(component, &rows_of(0.5, 0.5)).iter().filter(first).map(|row| row.layer.0).collect::<Vec<_>>()
        };
        assert_eq!(Component::ALL.map(layers), [vec![0, 1, 2], vec![1, 2], vec![1, 2], vec![1, 2]]);
    }
}
