//! A model of any shape computes the same with blocks in one piece as with burn's operations, and learns the same.

use burn::backend::NdArray;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;
use data::{Prompt, Purpose, Stream, TaskRegistry};
use model::{Batch, Free, Kernels, Model};
use proptest::prelude::*;
use run::{Config, Experiment, Source};
use trainer::gradients;

/// Largest difference of two numbers, over the largest of their tensor, or a hundredth of the largest gradient of all: where
/// a token is near 0, the first norm makes up to 300 times as much of its rounding.
const TOLERANCE: f32 = 1e-4;

/// Predictions and loss of a batch, then the gradient of every parameter.
type Computed = Vec<Vec<f32>>;

struct Collect<'a> {
    gradients: &'a GradientsParams,
    found: Computed,
}

impl<B: Kernels> ModuleVisitor<B> for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let gradient = self.gradients.get::<B, D>(param.id).expect("every parameter is free");
        self.found.push(host(gradient.into_data()));
    }
}

fn host(data: TensorData) -> Vec<f32> {
    data.to_vec().expect("the tensors are f32")
}

fn computed<B: Kernels>(experiment: &Experiment, prompts: &[Prompt], shards: usize) -> Computed {
    let (config, device) = (&experiment.config, B::Device::default());
    let weights = config.model.init(&experiment.architecture, &mut Stream::new(config.seed, Purpose::Init).rng(0));
    let model = Model::<B>::new(&experiment.architecture, &weights, &device).unwrap();
    let batch = Batch::<B>::new(prompts.iter().map(|prompt| (&prompt.xs[..], &prompt.ys[..])), &device);
    let predictions = host(model.forward(batch.xs, batch.ys).into_data());
    let found = gradients(&model, Free::All, prompts, shards, &device);
    let mut collect = Collect { gradients: &found.parameters, found: Vec::new() };
    model.visit(&mut collect);
    [vec![predictions, host(found.loss.into_data()), host(found.norm.into_data())], collect.found].concat()
}

/// A model, a task and a batch: odd widths, one layer, one head, one pair, one concept and fewer prompts than shards are
/// among them. In widths below 5 a norm divides by next to nothing, and what rounding left decides.
fn shape() -> impl Strategy<Value = (Vec<String>, usize, usize)> {
    let latent = |n_layers: usize, n_points: usize, d_model: usize| {
        let some = n_layers > 1 && n_points > 1;
        prop_oneof![2 => Just(None), 1 => (1..=d_model).prop_map(move |width| some.then_some((width, n_layers - 1)))]
    };
    let sizes = (1..5usize, 1..10usize, 1..4usize, 1..5usize, 1..14usize);
    let sizes = sizes.prop_flat_map(move |(d_x, n_points, n_layers, n_heads, d_head)| {
        let d_model = n_heads * d_head.max(5usize.div_ceil(n_heads));
        (Just((d_x, n_points, n_layers, n_heads, d_model)), latent(n_layers, n_points, d_model), 1..=d_x)
    });
    (sizes, 1..40usize, 1..7usize).prop_map(|((sizes, latent, concepts), prompts, shards)| {
        let (d_x, n_points, n_layers, n_heads, d_model) = sizes;
        let mut sets = vec![
            format!("task.d_x={d_x}"),
            format!("task.n_points={n_points}"),
            format!("task.bases={{blocks={{count={concepts},rank=1}}}}"),
            format!("model.n_layers={n_layers}"),
            format!("model.n_heads={n_heads}"),
            format!("model.d_model={d_model}"),
        ];
        let of_latent = |(width, layers)| format!("model.latent={{width={width},decoder_layers={layers}}}");
        sets.extend(latent.map(of_latent));
        (sets, prompts, shards)
    })
}

/// Errors where a model with blocks in one piece and one of burn's operations differ.
fn agree(sets: &[String], prompts: usize, shards: usize) -> Result<(), TestCaseError> {
    let config = Config::resolve(&Source::named("smoke"), sets).unwrap();
    let experiment = config.build(&TaskRegistry::builtin()).unwrap();
    let sampler = data::Sampler::new(experiment.study.task.pairs().clone(), Stream::new(0, Purpose::Train));
    let prompts = sampler.prompts(0..prompts as u64).unwrap();
    let found = computed::<Flex>(&experiment, &prompts, shards);
    let expected = computed::<NdArray>(&experiment, &prompts, shards);
    prop_assert_eq!(found.len(), expected.len());
    let largest = |values: &[f32]| values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let of_all = expected[3..].iter().map(|values| largest(values)).fold(0.0, f32::max);
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let scale = if number < 3 { largest(expected) } else { largest(expected).max(1e-2 * of_all) };
        for (a, b) in found.iter().zip(expected) {
            prop_assert!((a - b).abs() <= TOLERANCE * scale, "number {}: {} against {}", number, a, b);
        }
    }
    Ok(())
}

/// The block in one piece keeps attention weights of 128 queries, and computes those of more anew, strip by strip.
#[test]
fn sequences_of_several_strips_agree() {
    for n_points in [64, 65, 100, 130] {
        agree(&[format!("task.n_points={n_points}")], 3, 2).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn one_piece_and_many_operations_agree((sets, prompts, shards) in shape()) {
        agree(&sets, prompts, shards)?;
    }
}
