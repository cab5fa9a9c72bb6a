//! When the files of a run were changed last, by which a run that stayed as it was is known without being read.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, SystemTime};

use analysis::{BestLayerRow, DecodabilityRow, MetricRow};
use record::Row;
use run::RunDir;
use trainer::TrainingRow;

/// When a file or folder was changed last, and its length; none where there is none.
type Stamp = Option<(SystemTime, u64)>;

/// A file that was changed less than this ago may be changed again without another time to show for it.
const SETTLED: Duration = Duration::from_secs(2);

/// Those of everything that the list tells of a run. Whatever is written under another name first changes its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stamps {
    folder: Stamp,
    checkpoints: Stamp,
    configuration: Stamp,
    training: Stamp,
    measured: [Stamp; 3],
}

impl Stamps {
    /// Those of a run, now.
    pub(crate) fn of(run: &RunDir) -> Self {
        let file = |name: &str| stamp(&run.path().join(name));
        Self {
            folder: stamp(run.path()),
            checkpoints: stamp(&run.checkpoints()),
            configuration: stamp(&run.config_file()),
            training: file(TrainingRow::FILE),
            measured: [file(MetricRow::FILE), file(DecodabilityRow::FILE), file(BestLayerRow::FILE)],
        }
    }

    /// When a row of the training was written last.
    pub(crate) fn trained(&self) -> Option<SystemTime> {
        self.training.map(|(time, _)| time)
    }

    /// Whether a later change would be seen by its time.
    pub(crate) fn are_settled(&self) -> bool {
        let all = [self.folder, self.checkpoints, self.configuration, self.training];
        let newest = all.into_iter().chain(self.measured).flatten().map(|(time, _)| time).max();
        let ago = |newest: SystemTime| newest.elapsed().unwrap_or_else(|ahead| ahead.duration());
        newest.is_none_or(|newest| ago(newest) > SETTLED)
    }

    /// A number that is another when the page of the run has something else to show.
    pub(crate) fn version(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.checkpoints, self.configuration, self.measured).hash(&mut hasher);
        hasher.finish()
    }
}

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len()))
}
