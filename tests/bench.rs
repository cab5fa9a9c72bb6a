//! The benchmark's own promises.

use std::path::Path;

use crate::program::succeed;

fn bench(config: &str, steps: &str) -> serde_json::Value {
    serde_json::from_str(&succeed(&["bench", config, "--steps", steps, "--json"])).unwrap()
}

#[test]
fn memory_does_not_grow_with_the_steps() {
    let peak = |steps| bench("smoke", steps)["peak_memory_mib"].as_f64();
    let (short, long) = (peak("100"), peak("10000"));
    if cfg!(target_os = "linux") {
        let (short, long) = (short.unwrap(), long.unwrap());
        assert!(long < short + 4.0, "{short} MiB after 100 steps, {long} MiB after 10,000");
    }
}

/// The arithmetic of a step, counted token by token, is what the closed form says.
#[test]
fn a_step_is_the_sum_over_its_tokens() {
    for name in ["small", "medium", "paper"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/sizes/{name}.toml"));
        let config = run::Config::resolve(&run::Source::File(path), &[]).unwrap();
        let experiment = config.build(&data::TaskRegistry::builtin()).unwrap();
        let (size, batch_size) = (experiment.architecture, experiment.config.train.batch_size);
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
        // A multiplication and an addition each; one product forward, two backward.
        assert_eq!(size.step_flops(batch_size), (batch_size * products * 2 * 3) as u64, "{name}");
    }
}
