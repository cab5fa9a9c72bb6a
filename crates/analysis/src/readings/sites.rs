//! Decodability of what blocks write, beside the residual stream that they write to.

use model::{Device, FusedBackend, Transformer};
use run::{Experiment, RunDir, RunError, Site, SiteRow};

use super::milestones;
use crate::decodability::decodability_of;
use crate::stages::{OnModel, with_model};
use crate::{Representations, resample_prompts};

/// Writes how well every probe reads the concept at every site of every block, at the probed tokens, for the checkpoints
/// `steps`; without steps for a few from first to last.
///
/// # Errors
/// When a checkpoint cannot be read or the table not be written.
pub fn write_sites(
    run: &RunDir,
    experiment: &Experiment,
    steps: &[usize],
    device: Device,
    progress: impl Fn(usize),
) -> Result<(), RunError> {
    let mut rows = Vec::new();
    for step in milestones(run, experiment, steps)? {
        progress(step);
        rows.extend(with_model(run, experiment, step, device, Read { experiment, step })?);
    }
    Ok(run.table().replace(&rows)?)
}

struct Read<'a> {
    experiment: &'a Experiment,
    step: usize,
}

impl OnModel for Read<'_> {
    type Output = Vec<SiteRow>;
    fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Vec<SiteRow> {
        Site::ALL.into_iter().flat_map(|site| self.at(site, model, device)).collect()
    }
}

impl Read<'_> {
    fn at<B: FusedBackend>(&self, site: Site, model: &Transformer<B>, device: &B::Device) -> Vec<SiteRow> {
        let Self { experiment, step } = *self;
        let states = |resample| {
            let prompts = resample_prompts(experiment, resample);
            Representations::collect_at(site, model, &prompts, &experiment.tokens, device)
        };
        let cd = decodability_of(states, experiment, step).cd;
        let row = |row: run::DecodabilityRow| SiteRow {
            step,
            layer: row.layer + site.first_layer(),
            token: row.token,
            site,
            probe: row.probe,
            score: row.score,
            chance: row.chance,
            lo: row.lo,
            hi: row.hi,
            n: row.n,
        };
        cd.into_iter().filter(|row| row.concept.is_none()).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::NdArray;
    use data::{Purpose, Stream, TaskRegistry};
    use run::{Config, ProbeKind, Source};

    use super::*;

    /// Rows of an untrained model of which the part called `silent` writes nothing.
    fn rows(silent: &str) -> Vec<SiteRow> {
        let config = Config::resolve(&Source::named("smoke"), &[]).unwrap();
        let experiment = config.build(&TaskRegistry::builtin()).unwrap();
        let mut rng = Stream::new(0, Purpose::Init).rng(0);
        let mut weights = experiment.config.model.init(&experiment.architecture, &mut rng);
        let out = weights.iter_mut().filter(|(name, _)| name.contains(silent));
        out.for_each(|(_, tensor)| tensor.values.fill(0.0));
        let device = Default::default();
        let model = Transformer::<NdArray>::new(&experiment.architecture, &weights, &device).unwrap();
        Read { experiment: &experiment, step: 0 }.on(&model, &device)
    }

    /// Everything but the site's name.
    fn at(site: Site, rows: &[SiteRow]) -> Vec<SiteRow> {
        let here = rows.iter().filter(|row| row.site == site);
        here.map(|row| SiteRow { site: Site::Block, ..row.clone() }).collect()
    }

    #[test]
    fn attention_that_writes_nothing_shows_nothing_and_leaves_the_block_to_the_feed_forward_part() {
        let rows = rows("attention_out");
        for row in at(Site::Attention, &rows).iter().filter(|row| row.probe == ProbeKind::CD.name()) {
            // All states are the same, so that every guess is, and one of the two concepts is always right.
            assert_eq!((row.score, row.lo, row.hi), (0.5, 0.5, 0.5), "{row:?}");
        }
        assert_eq!(at(Site::Block, &rows), at(Site::FeedForward, &rows));
    }

    #[test]
    fn where_the_feed_forward_part_writes_nothing_attention_is_the_block() {
        let rows = rows("feed_forward_out");
        assert_eq!(at(Site::Block, &rows), at(Site::Attention, &rows));
        assert_ne!(at(Site::Block, &rows), at(Site::FeedForward, &rows));
    }

    #[test]
    fn the_stream_has_an_embedding_and_a_block_has_none() {
        let layers = |site| {
            let first = |row: &&SiteRow| row.token == "x6" && row.probe == ProbeKind::CD.name();
            at(site, &rows("no such part")).iter().filter(first).map(|row| row.layer).collect::<Vec<_>>()
        };
        assert_eq!(Site::ALL.map(layers), [vec![0, 1, 2], vec![1, 2], vec![1, 2], vec![1, 2]]);
    }
}
