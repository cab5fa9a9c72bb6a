//! The loop of tuning.

use std::ops::Range;
use std::time::Instant;

use kernels::{Kernels, OnBackend};
use record::{Folder, Row, write_together};
use serde::{Deserialize, Serialize};
use terminal::Stop;

use super::FinetuneConfig;
use super::adapter::Adapters;
use super::checkpoint::{FILE, TunedWith, TuningState};
use super::resident::{Example, Resident};
use super::tuner::Tuner;
use crate::PretrainedError;
use crate::model::LanguageModel;

/// What adapters are tuned on.
pub struct Finetune<'a> {
    /// The settings.
    pub config: &'a FinetuneConfig,
    /// From which the first factors and the masks of dropout follow.
    pub seed: u64,
    /// The examples of these numbers; the same for the same number every time.
    pub examples: &'a dyn Fn(Range<u64>) -> Result<Vec<Example>, PretrainedError>,
}

/// How far tuning is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps taken.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Loss of the last step's examples before it.
    pub loss: f64,
    /// Tokens that went through the model a second, in the last step.
    pub tokens_per_second: f64,
}

/// The loss of a step's examples before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningLoss {
    /// Steps taken with this one.
    pub step: usize,
    /// Mean of −ln p over the tokens of answers, in nats.
    pub loss: f64,
}

impl Row for TuningLoss {
    const FILE: &'static str = "tuning_loss.csv";

    fn step(&self) -> Option<usize> {
        Some(self.step)
    }
}

/// Tunes adapters of `model` in `folder` until they are done or `stop` is asked for, from the checkpoint there if there is
/// one. They come back, and lie in the folder in PEFT's format.
///
/// The model is in memory as a whole while it is tuned: four bytes a parameter. To that come the states that gradients
/// need, about 4 (6 d_model + 6 d_feed_forward) bytes for every token of the shards that are worked on and every layer
/// from the first with an adapter on.
///
/// What an example says, which inputs are left out for it and in which order gradients are summed depends on the seed and
/// the example's number, so tuning that was stopped anywhere and went on gives the same adapters and table, to the bit, as
/// tuning that was not, with any number of threads.
///
/// # Errors
/// When a setting or an example is not in its range, the memory does not suffice, a file cannot be read or written, the
/// checkpoint there was made with something else, or the loss is not finite. [`PretrainedError::Interrupted`] when asked to
/// stop; what was learnt until then is saved.
pub fn finetune(
    model: &LanguageModel<'_>,
    tuning: &Finetune<'_>,
    folder: &Folder,
    watch: &mut dyn FnMut(Progress),
    stop: &Stop,
) -> Result<Adapters, PretrainedError> {
    struct Loop<'a, 'b>(&'a LanguageModel<'b>, &'a Finetune<'a>, &'a Folder, &'a mut dyn FnMut(Progress), &'a Stop);
    impl OnBackend for Loop<'_, '_> {
        type Output = Result<Adapters, PretrainedError>;

        fn on<B: Kernels>(self, device: B::Device) -> Self::Output {
            run::<B>(self.0, self.1, self.2, self.3, self.4, &device)
        }
    }
    model.device.run(Loop(model, tuning, folder, watch, stop))
}

/// Seconds of so many steps of new adapters, each with forward and backward pass and the optimizer's step.
///
/// # Errors
/// As those of [`finetune`].
pub fn bench_steps(
    model: &LanguageModel<'_>,
    tuning: &Finetune<'_>,
    steps: usize,
) -> Result<Vec<f64>, PretrainedError> {
    struct Bench<'a, 'b>(&'a LanguageModel<'b>, &'a Finetune<'a>, usize);
    impl OnBackend for Bench<'_, '_> {
        type Output = Result<Vec<f64>, PretrainedError>;

        fn on<B: Kernels>(self, device: B::Device) -> Self::Output {
            let Self(model, tuning, steps) = self;
            let mut tuner = tuner::<B>(model, tuning, None, &device)?;
            let mut seconds = Vec::with_capacity(steps);
            for _ in 0..steps {
                let (first, examples) = batch(model, tuning, tuner.steps())?;
                let start = Instant::now();
                tuner.step(first, &examples);
                seconds.push(start.elapsed().as_secs_f64());
            }
            Ok(seconds)
        }
    }
    model.device.run(Bench(model, tuning, steps))
}

fn run<B: Kernels>(
    model: &LanguageModel<'_>,
    tuning: &Finetune<'_>,
    folder: &Folder,
    watch: &mut dyn FnMut(Progress),
    stop: &Stop,
    device: &B::Device,
) -> Result<Adapters, PretrainedError> {
    let (config, path) = (tuning.config, folder.path().join(FILE));
    let with = TunedWith::of(model.folder, tuning.seed, config);
    // Settings are checked before anything is read.
    config.adapters(model.config())?;
    let table = folder.table::<TuningLoss>();
    let last = TuningState::read(&path, &with, model.config())?;
    if let Some(done) = last.as_ref().filter(|state| state.step == config.steps())
        && Adapters::read(folder.path(), model.config()).is_ok_and(|there| there == done.adapters)
    {
        return Ok(done.adapters.clone());
    }
    table.truncate_after(last.as_ref().map_or(0, |state| state.step))?;
    let mut saved = last.as_ref().map(|state| state.step);
    let mut tuner = tuner::<B>(model, tuning, last, device)?;
    let steps = config.steps();
    loop {
        let step = tuner.steps();
        let _working = stop.hold();
        let (done, stopped) = (step == steps, stop.is_asked());
        if saved != Some(step) && (done || stopped || step.is_multiple_of(config.checkpoint_every)) {
            table.flush()?;
            tuner.state().write(&path, &with)?;
            saved = Some(step);
        }
        if done {
            let adapters = tuner.state().adapters;
            let files = adapters.files(model.config());
            let files: Vec<_> = files.iter().map(|(name, bytes)| (folder.path().join(name), bytes)).collect();
            write_together(&files)?;
            return Ok(adapters);
        }
        if stopped {
            return Err(PretrainedError::Interrupted);
        }
        let (first, examples) = batch(model, tuning, step)?;
        let start = Instant::now();
        let loss = tuner.step(first, &examples);
        let seconds = start.elapsed().as_secs_f64();
        let step = step + 1;
        if !loss.is_finite() {
            return Err(PretrainedError::NonFinite { step, loss });
        }
        table.append(&[TuningLoss { step, loss }])?;
        let tokens: usize = examples.iter().map(|example| example.ids.len()).sum();
        watch(Progress { step, steps, loss, tokens_per_second: tokens as f64 / seconds });
    }
}

/// A tuner that goes on from `last`, or begins.
fn tuner<'a, B: Kernels>(
    model: &LanguageModel<'a>,
    tuning: &Finetune<'_>,
    last: Option<TuningState>,
    device: &B::Device,
) -> Result<Tuner<'a, B>, PretrainedError> {
    let config = tuning.config.adapters(model.config())?;
    check_memory(model)?;
    let TunedWith { base, .. } = TunedWith::of(model.folder, tuning.seed, tuning.config);
    let state = last.unwrap_or_else(|| TuningState::new(Adapters::new(tuning.seed, config, model.config(), base)));
    let resident = Resident::read(model.config(), model.source, model.device.is_cpu(), device)?;
    Ok(Tuner::new(resident, state, tuning.config.learning_rate, tuning.seed, device))
}

/// The examples of the step behind `step` others, with the number of the first.
fn batch(
    model: &LanguageModel<'_>,
    tuning: &Finetune<'_>,
    step: usize,
) -> Result<(u64, Vec<Example>), PretrainedError> {
    let size = tuning.config.batch_size as u64;
    let first = step as u64 * size;
    let examples = (tuning.examples)(first..tuning.config.samples.min(first + size))?;
    examples.iter().try_for_each(|example| example.check(model.config().vocabulary))?;
    Ok((first, examples))
}

/// Errors if the weights alone need more memory than there is: a process that runs out of it is killed.
fn check_memory(model: &LanguageModel<'_>) -> Result<(), PretrainedError> {
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let least = 4 * model.config().parameters() as u64;
    match model.device.memory() {
        Some(most) if least > most => Err(PretrainedError::out_of_range(
            format!("the memory for tuning {}", model.folder.path.display()),
            format!("at most {} on {}", gib(most), model.device),
            format!("at least {}", gib(least)),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kernels::Device;

    use super::*;
    use crate::ModelFolder;
    use crate::lora::Free;
    use crate::lora::fixtures::{finetune_config, folder};

    /// Texts of different lengths that end in an answer which follows from them.
    fn examples(numbers: Range<u64>) -> Vec<Example> {
        let example = |number: u64| {
            let len = 40 + (number % 5) as usize * 11;
            let ids: Vec<u32> = (0..len as u64).map(|at| ((number * 7 + at * at) % 23 + 3) as u32).collect();
            Example { answers: vec![len / 2..len / 2 + 2, len - 3..len], ids }
        };
        numbers.map(example).collect()
    }

    fn tune(
        model: &ModelFolder,
        config: &FinetuneConfig,
        place: &Path,
        stop_behind: Option<usize>,
    ) -> Result<Adapters, PretrainedError> {
        let stop = Stop::new();
        let mut watch = |progress: Progress| {
            assert!(progress.steps == config.steps() && progress.tokens_per_second > 0.0);
            if stop_behind == Some(progress.step) {
                stop.ask();
            }
        };
        let tuning = Finetune { config, seed: 3, examples: &|numbers| Ok(examples(numbers)) };
        let model = LanguageModel::new(model, Device::Flex);
        finetune(&model, &tuning, &Folder::create(place).unwrap(), &mut watch, &stop)
    }

    fn threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    #[test]
    fn tuning_that_was_stopped_and_went_on_is_tuning_that_was_not() {
        for name in ["smollm2", "pythia-f16"] {
            let (model, config) = (folder(name), finetune_config());
            let [whole, parts] = [(), ()].map(|()| tempfile::tempdir().unwrap());
            let expected = threads(2, || tune(&model, &config, whole.path(), None)).unwrap();
            for stop in [1, 4] {
                let stopped = threads(1, || tune(&model, &config, parts.path(), Some(stop)));
                assert!(matches!(stopped, Err(PretrainedError::Interrupted)), "{stopped:?}");
            }
            let found = threads(1, || tune(&model, &config, parts.path(), None)).unwrap();
            assert_eq!(found, expected, "{name}");
            for file in ["tuning_loss.csv", "adapter_model.safetensors", "adapter_config.json", FILE] {
                let [whole, parts] = [&whole, &parts].map(|place| std::fs::read(place.path().join(file)).unwrap());
                assert!(whole == parts, "{name}: {file}");
            }
            assert_eq!(Adapters::read(whole.path(), &model.config).unwrap(), expected);
            // Done already: nothing is tuned again.
            assert_eq!(tune(&model, &config, whole.path(), Some(0)).unwrap(), expected);
            let losses = Folder::at(whole.path()).table::<TuningLoss>().read().unwrap();
            assert_eq!(losses.len(), 6);
            assert!(losses[5].loss < losses[0].loss, "{losses:?}");
        }
    }

    #[test]
    fn free_blocks_move_and_no_others_have_adapters() {
        let model = folder("smollm2");
        for (free, layers) in [(Free::All, vec![0, 1, 2]), (Free::First(1), vec![0]), (Free::Last(2), vec![1, 2])] {
            let targets = vec!["o_proj".to_owned(), "up_proj".to_owned(), "gate_proj".to_owned()];
            let config = FinetuneConfig { free, samples: 8, targets, ..finetune_config() };
            let place = tempfile::tempdir().unwrap();
            let found = tune(&model, &config, place.path(), None).unwrap();
            assert_eq!(found.config.layers, layers);
            let of: Vec<_> = layers.iter().flat_map(|layer| [*layer; 3]).collect();
            assert_eq!(found.factors.iter().map(|factors| factors.place.layer).collect::<Vec<_>>(), of);
            assert!(found.factors.iter().all(|factors| factors.up.iter().any(|value| *value != 0.0)));
        }
    }

    #[test]
    fn other_settings_and_damage_are_refused() {
        let (model, place) = (folder("smollm2"), tempfile::tempdir().unwrap());
        let config = FinetuneConfig { samples: 8, ..finetune_config() };
        tune(&model, &config, place.path(), None).unwrap();
        let other = FinetuneConfig { rank: 2, ..config.clone() };
        let refusal = tune(&model, &other, place.path(), None).unwrap_err().to_string();
        assert!(refusal.contains("what tuning goes on with must be") && refusal.contains("\"rank\":2"), "{refusal}");
        let file = place.path().join(FILE);
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 4]).unwrap();
        let refusal = tune(&model, &config, place.path(), None).unwrap_err().to_string();
        assert!(refusal.contains("checkpoint.safetensors: it must be a whole checkpoint, but"), "{refusal}");
    }

    #[test]
    fn examples_without_answers_are_refused() {
        let (model, config, place) = (folder("smollm2"), finetune_config(), tempfile::tempdir().unwrap());
        let model = LanguageModel::new(&model, Device::Flex);
        let refusal = |examples: &dyn Fn(Range<u64>) -> Result<Vec<Example>, PretrainedError>| {
            let tuning = Finetune { config: &config, seed: 0, examples };
            let folder = Folder::create(place.path()).unwrap();
            std::fs::remove_file(place.path().join(FILE)).ok();
            finetune(&model, &tuning, &folder, &mut |_| {}, &Stop::new()).unwrap_err().to_string()
        };
        let one = |answers: &'static [(usize, usize)], last: u32| {
            let answers: Vec<_> = answers.iter().map(|(start, end)| *start..*end).collect();
            move |_: Range<u64>| Ok(vec![Example { ids: vec![3, 4, last], answers: answers.clone() }])
        };
        let cases: [&[_]; 4] = [&[], &[(0, 1)], &[(2, 2)], &[(1, 2), (2, 4)]];
        for answers in cases {
            let found = refusal(&one(answers, 5));
            assert!(found.starts_with("the answers of an example must be ranges of tokens from 1 to 3"), "{found}");
        }
        let found = refusal(&one(&[(1, 3)], 70_000));
        assert!(found.starts_with("the tokens of an example must be below ") && found.ends_with("but is 70000"));
    }
}
