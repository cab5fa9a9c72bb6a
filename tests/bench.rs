//! The benchmark's own promises.

use std::path::Path;

use crate::program::succeed;

#[test]
fn memory_does_not_grow_with_the_steps() {
    // Steps of warm-up are steps without the clock, and without the products that the clock is compared with.
    let peak = |steps| {
        let found = succeed(&["bench", "smoke", "--json", "--steps", "1", "--warm-up", steps]);
        serde_json::from_str::<serde_json::Value>(&found).unwrap()["peak_memory_mib"].as_f64()
    };
    let (short, long) = (peak("1000"), peak("8000"));
    if cfg!(target_os = "linux") {
        let (short, long) = (short.unwrap(), long.unwrap());
        // By as much it varies from one process to the next, which is 0.6 KiB a step.
        assert!(long < short + 4.0, "{short} MiB after 1,000 steps, {long} MiB after 8,000");
    }
}

/// What would not fit is refused by it. `benches/memory.py` compares a whole grid of shapes.
#[test]
fn the_memory_of_steps_is_what_was_expected() {
    for sets in [&["model.n_layers=4"][..], &["model.n_layers=1", "model.d_model=64", "train.batch_size=4096"]] {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let command = ["bench", "paper", "--steps", "2", "--warm-up", "0", "--json"].into_iter().chain(sets);
        let found: serde_json::Value = serde_json::from_str(&succeed(&command.collect::<Vec<_>>())).unwrap();
        let [expected, peak] = ["expected_memory_mib", "peak_memory_mib"].map(|name| found[name].as_f64());
        if let (Some(expected), Some(peak)) = (expected, peak) {
            assert!((peak / 1.3..peak * 1.3).contains(&expected), "{expected} MiB expected, {peak} MiB taken");
        }
    }
}

#[test]
fn models_side_by_side_are_counted_together() {
    let found = succeed(&["bench", "smoke", "--steps", "7", "--jobs", "3", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let number = |name: &str| found[name].as_f64().unwrap();
    assert_eq!([number("jobs"), number("steps")], [3.0, 21.0]);
    let a_model = number("gflop_per_step") / (number("median_ms") / 1e3);
    assert!((number("gflop_per_second") / (3.0 * a_model) - 1.0).abs() < 1e-9, "{found}");
}

/// The arithmetic of a step, counted token by token, is what the closed form says.
#[test]
fn a_step_is_the_sum_over_its_tokens() {
    for name in ["small", "medium", "paper"] {
        let (size, batch_size) = size(name, &[]);
        let d = size.d_model;
        let mut products = 0;
        for token in 0..size.seq_len() - 1 {
            let is_x = token % 2 == 0;
            products += size.d_x * d + if is_x { d } else { 0 };
            for layer in 1..=size.n_layers {
                products += 2 * d * d;
                if layer < size.n_layers || is_x {
                    products += 10 * d * d + 2 * d * (token + 1);
                }
            }
        }
        assert_eq!(size.step_flops(batch_size), flops(batch_size * products), "{name}");
    }
}

/// The same with a latent, through which the last query and what its encoder makes of other queries do not go.
#[test]
fn a_step_with_a_latent_is_the_sum_over_its_tokens() {
    let (width, decoder_layers) = (5, 3);
    let latent = format!("model.latent={{width={width},decoder_layers={decoder_layers}}}");
    let (size, batch_size) = size("medium", &[latent]);
    let d = size.d_model;
    let mut products = 0;
    for token in 0..size.seq_len() - 1 {
        let (is_x, is_last) = (token % 2 == 0, token == size.seq_len() - 2);
        products += size.d_x * d + if is_x { d } else { 3 * width * d };
        for layer in 1..=size.n_layers {
            let in_decoder = layer > size.n_layers - decoder_layers;
            let seen = if in_decoder { 1 + usize::from(is_x && token > 0) } else { token + 1 };
            if in_decoder || !is_last {
                products += 2 * d * d;
                let asks = match layer {
                    _ if layer == size.n_layers => is_x,
                    _ if layer == size.n_layers - decoder_layers => !is_x,
                    _ => true,
                };
                products += if asks { 10 * d * d + 2 * d * seen } else { 0 };
            }
        }
    }
    assert_eq!(size.step_flops(batch_size), flops(batch_size * products));
}

#[test]
fn a_step_of_an_lstm_is_the_sum_over_its_tokens() {
    let sets = ["kind=lstm", "n_heads=0", "position_std=0.0"].map(|set| format!("model.{set}"));
    let (size, batch_size) = size("medium", &sets);
    let d = size.d_model;
    // A gate reads what is below it and the state before.
    let layers = size.n_layers * 4 * 2 * d * d;
    let of_token = |token: usize| size.d_x * d + layers + if token.is_multiple_of(2) { d } else { 0 };
    let products: usize = (0..size.seq_len() - 1).map(of_token).sum();
    assert_eq!(size.step_flops(batch_size), flops(batch_size * products));
}

/// Model and batch size of a benchmark.
fn size(name: &str, sets: &[String]) -> (model::Architecture, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/sizes/{name}.toml"));
    let config = run::Config::resolve(&run::Source::File(path), sets).unwrap();
    let experiment = config.build(&data::TaskRegistry::builtin()).unwrap();
    (experiment.architecture, experiment.config.train.batch_size)
}

/// A multiplication and an addition each; one product forward, two backward.
fn flops(products: usize) -> u64 {
    (products * 2 * 3) as u64
}
