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
    if let (Some(short), Some(long)) = (short, long) {
        assert!(long < short + 4.0, "{short} MiB after 100 steps, {long} MiB after 10,000");
    }
}

#[test]
fn the_sizes_that_are_compared_with_pytorch_resolve() {
    for (name, gflop) in [("small", 2.66), ("medium", 16.93), ("paper", 276.76)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/sizes/{name}.toml"));
        let config = run::Config::resolve(&run::Source::File(path), &[]).unwrap();
        let experiment = config.build(&data::TaskRegistry::builtin()).unwrap();
        let flops = experiment.architecture.step_flops(experiment.config.train.batch_size) as f64;
        assert!((flops / 1e9 - gflop).abs() < 0.01, "{name}: {flops}");
    }
}
