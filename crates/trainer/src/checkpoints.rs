//! What happens at a checkpoint: it is saved, then measured, and counts from then on.

use std::io;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use model::{Kernels, Model};
use rayon::ThreadPoolBuilder;
use record::AnyTable;
use run::{Checkpoint, Experiment, ModelSubject, RunDir};
use terminal::Stop;

use crate::{CheckpointObserver, TrainError};

/// Measures and saves checkpoints.
pub(crate) struct Keeper<'a, B: Kernels> {
    pub(crate) run: &'a RunDir,
    pub(crate) experiment: &'a Experiment,
    pub(crate) device: B::Device,
    /// What was measured in them is on the disk before a checkpoint counts.
    pub(crate) tables: Vec<Box<dyn AnyTable>>,
    pub(crate) observers: Vec<Box<dyn CheckpointObserver + 'a>>,
    pub(crate) stop: &'a Stop,
}

/// A checkpoint on its way to the disk, and its model if observers are to see it first.
type Due<B> = (Checkpoint, Option<Model<B>>);

impl<B: Kernels> Keeper<'_, B> {
    fn keep(&mut self, (checkpoint, measured): Due<B>) -> Result<(), TrainError> {
        let saving = self.stop.hold();
        self.run.save(&checkpoint, &self.tables)?;
        // Who ends the program here loses nothing that took training.
        drop(saving);
        if let Some(model) = measured {
            let subject = ModelSubject::new(model, self.experiment, self.device.clone());
            self.observers.iter_mut().try_for_each(|observer| observer.on_checkpoint(checkpoint.step, &subject))?;
        }
        let _completing = self.stop.hold();
        Ok(self.run.complete(checkpoint.step, self.experiment.config.checkpoints.full, &self.tables)?)
    }
}

/// Where the training leaves its checkpoints.
pub(crate) enum Checkpoints<'scope, B: Kernels> {
    /// With a keeper that it waits for. On a CPU both need the same cores.
    Here(Keeper<'scope, B>),
    /// With one on a thread beside it: a GPU trains on while the host reads the concept from hidden states.
    Beside { due: SyncSender<Due<B>>, thread: ScopedJoinHandle<'scope, Result<(), TrainError>> },
}

impl<'scope, B: Kernels> Checkpoints<'scope, B> {
    /// Starts a thread for `keeper`. It works with as many others as the pool of the caller has, but for the caller's.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub(crate) fn beside(scope: &'scope Scope<'scope, '_>, mut keeper: Keeper<'scope, B>) -> io::Result<Self> {
        let threads = (rayon::current_num_threads() - 1).max(1);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| io::Error::other(error.to_string()))?;
        // Without room for one that waits, no more than two models are alive beside the one that is trained.
        let (due, handed) = mpsc::sync_channel(0);
        let keep = move || handed.into_iter().try_for_each(|due| pool.install(|| keeper.keep(due)));
        Ok(Self::Beside { due, thread: Builder::new().spawn_scoped(scope, keep)? })
    }

    /// Hands over the next one, as soon as the one before is saved and measured.
    ///
    /// # Errors
    /// When an observer or the disk failed, at this one or one before.
    pub(crate) fn hand_over(self, checkpoint: Checkpoint, measured: Option<Model<B>>) -> Result<Self, TrainError> {
        match self {
            Self::Here(mut keeper) => {
                keeper.keep((checkpoint, measured))?;
                Ok(Self::Here(keeper))
            }
            Self::Beside { due, thread } => match due.send((checkpoint, measured)) {
                Ok(()) => Ok(Self::Beside { due, thread }),
                Err(_) => Err(outcome(thread).expect_err("the thread ends before the training only if it fails")),
            },
        }
    }

    /// Waits until all are saved.
    ///
    /// # Errors
    /// When an observer or the disk failed.
    pub(crate) fn finish(self) -> Result<(), TrainError> {
        match self {
            Self::Here(_) => Ok(()),
            Self::Beside { due, thread } => {
                drop(due);
                outcome(thread)
            }
        }
    }
}

fn outcome(thread: ScopedJoinHandle<'_, Result<(), TrainError>>) -> Result<(), TrainError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
