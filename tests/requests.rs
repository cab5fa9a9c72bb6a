//! What is wrong is refused with the field, the range and the value, and never with a panic.

use data::TaskRegistry;
use run::{Config, Source, Sweep};

use crate::program::{check, only_run, smoke_run, succeed};

/// One request in so many is made of the program itself as well; the others of the library, which costs no process.
const WHOLE: usize = 10;

/// Checks that `sets` of a configuration are each refused in words that contain these.
fn check_sets(config: &str, cases: &[(&str, &[&str])]) {
    for (number, (set, words)) in cases.iter().enumerate() {
        let built = Config::resolve(&Source::named(config), &[(*set).to_owned()])
            .and_then(|config| config.build(&TaskRegistry::builtin()));
        let message = built.expect_err(set).to_string();
        for word in *words {
            assert!(message.contains(word), "{set}: no {word:?} in: {message}");
        }
        if number % WHOLE == 0 {
            check(&["train", config, "--out", "/dev/null/never", "--set", set], 2, &[&message]);
        }
    }
}

#[test]
fn a_field_out_of_range_is_named_with_its_range_and_value() {
    let cases: &[(&str, &[&str])] = &[
        ("name=", &["name", "1 to 64", "\"\""]),
        ("name=a/b", &["name", "letters", "a/b"]),
        ("seed=-1", &["seed", "-1"]),
        ("task.kind=nothing", &["task.kind", "sparse_regression", "nothing"]),
        ("task.kind=3", &["task.kind must be a string", "3"]),
        ("task.d_x=0", &["task.d_x", "between 1 and 4096", "0"]),
        ("task.d_x=5000", &["task.d_x", "between 1 and 4096", "5000"]),
        ("task.n_points=0", &["task.n_points", "between 1 and 4096", "0"]),
        ("task.noise_variance=-0.1", &["task.noise_variance", "at least 0", "-0.1"]),
        ("task.noise_variance=nan", &["task.noise_variance", "finite", "NaN"]),
        ("task.noise_variance=inf", &["task.noise_variance", "finite", "inf"]),
        ("task.w_std=0.0", &["task.w_std", "above 0", "0"]),
        ("task.w_std=1e-200", &["task.w_std", "above 0 (1e-15 to 1e15)", "1e-200"]),
        ("task.noise_variance=1e31", &["task.noise_variance", "at most 1e30", "1e31"]),
        ("task.w_std=-1.0", &["task.w_std", "above 0", "-1"]),
        ("task.bases.blocks.rank=5", &["task.bases.blocks.rank", "task.d_x (4)", "5"]),
        ("task.bases.blocks.rank=0", &["task.bases.blocks.rank", "between 1", "0"]),
        ("task.bases.blocks.count=0", &["task.bases.blocks.count", "between 1", "0"]),
        ("task.bases.blocks.count=9", &["task.bases.blocks.count", "(2)", "9"]),
        ("task.bases.blocks.shared=2", &["task.bases.blocks.shared", "rank - 1 (1)", "2"]),
        ("task.bases={blocks={count=4,rank=2,shared=1}}", &["task.bases.blocks.count", "(3)", "4"]),
        ("task.bases={coordinates=[]}", &["task.bases.coordinates", "at least one", "empty"]),
        ("task.bases={coordinates=[[0],[]]}", &["task.bases.coordinates[1]", "at least one", "empty"]),
        ("task.bases={coordinates=[[0],[4]]}", &["task.bases.coordinates[1]", "task.d_x - 1 (3)", "4"]),
        ("task.bases={coordinates=[[0,0]]}", &["task.bases.coordinates[0]", "repeated", "twice 0"]),
        ("task.bases={coordinates=[[0,1],[1,0]]}", &["task.bases.coordinates[1]", "unlike", "[0]"]),
        ("task.pool={size=0,seed=0,measured=false}", &["task.pool.size", "between 1 and 1000000", "0"]),
        ("task.pool={size=4}", &["missing field `seed`"]),
        ("train.beta_1=-1e-300", &["train.beta_1 must be at least 0 and below 1, but is -1e-300"]),
        ("probe.ridge=-1e300", &["probe.ridge must be a finite number above 0, but is -1e300"]),
        ("task.weights=[1.0]", &["task.weights", "one number a basis (2)", "1 long"]),
        ("task.weights=[0.0,0.0]", &["task.weights", "sum above 0", "0"]),
        ("task.weights=[1.0,-1.0]", &["task.weights[1]", "at least 0", "-1"]),
        ("task.weights=[1.0,nan]", &["task.weights[1]", "finite", "NaN"]),
        ("model.d_model=0", &["model.d_model", "between 1 and 8192", "0"]),
        ("model.n_layers=0", &["model.n_layers", "between 1 and 128", "0"]),
        ("model.n_layers=200", &["model.n_layers", "between 1 and 128", "200"]),
        ("model.n_heads=0", &["model.n_heads", "divisor", "0"]),
        ("model.n_heads=3", &["model.n_heads", "model.d_model (16)", "3"]),
        ("model.read_in_gain=1e39", &["model.read_in_gain", "1e-15 to 1e15"]),
        ("model.read_in_gain=0.0", &["model.read_in_gain", "above 0", "0"]),
        ("model.read_in_gain=inf", &["model.read_in_gain", "finite", "inf"]),
        ("model.position_std=-1.0", &["model.position_std", "at least 0", "-1"]),
        ("model.position_std=nan", &["model.position_std", "finite", "NaN"]),
        ("model.kind=rnn", &["model.kind", "transformer", "lstm", "rnn"]),
        ("model.kind=lstm", &["model.n_heads", "0 where model.kind is lstm", "2"]),
        (
            "model={kind=\"lstm\",d_model=8,n_layers=2,n_heads=0,init=\"fan_in\",read_in_gain=1.0,position_std=0.02}",
            &["model.position_std", "0 where model.kind is lstm", "0.02"],
        ),
        ("model.latent={width=0,decoder_layers=1}", &["model.latent.width", "between 1 and 16", "0"]),
        ("model.latent={width=17,decoder_layers=1}", &["model.latent.width", "between 1 and 16", "17"]),
        ("model.latent={width=4,decoder_layers=0}", &["model.latent.decoder_layers", "model.n_layers (2)", "0"]),
        ("model.latent={width=4,decoder_layers=2}", &["model.latent.decoder_layers", "model.n_layers (2)", "2"]),
        ("train.steps=0", &["train.steps", "between 1", "0"]),
        ("train.batch_size=0", &["train.batch_size", "between 1 and 65536", "0"]),
        ("train.shards=0", &["train.shards", "train.batch_size (16)", "0"]),
        ("train.shards=17", &["train.shards", "train.batch_size (16)", "17"]),
        ("train.learning_rate=0.0", &["train.learning_rate", "above 0", "0"]),
        ("train.learning_rate=inf", &["train.learning_rate", "finite", "inf"]),
        ("train.beta_1=1.0", &["train.beta_1", "below 1", "1"]),
        ("train.beta_2=-0.1", &["train.beta_2", "at least 0", "-0.1"]),
        ("train.muon={momentum=1.0}", &["train.muon.momentum", "below 1", "1"]),
        ("train.epsilon=0.0", &["train.epsilon", "above 0", "0"]),
        ("train.epsilon=1e-46", &["train.epsilon", "above 0 in f32 (1.18e-38 to 3.40e38)", "1e-46"]),
        ("train.learning_rate=1e39", &["train.learning_rate", "in f32 (1.18e-38 to 3.40e38)", "1e39"]),
        ("train.clip_norm=0.0", &["train.clip_norm", "above 0", "0"]),
        ("train.clip_norm=nan", &["train.clip_norm", "above 0", "NaN"]),
        ("train.log_every=0", &["train.log_every", "at least 1", "0"]),
        ("train.schedule={kind=\"warm_up\",steps=0}", &["train.schedule.steps", "at least 1", "0"]),
        ("train.schedule={kind=\"cosine\",warm_up=5,until=5,floor=0.1}", &["train.schedule.until", "(5)", "5"]),
        (
            "train.schedule={kind=\"cosine\",warm_up=0,until=5,floor=1.5}",
            &["train.schedule.floor", "between 0 and 1", "1.5"],
        ),
        ("train.until={error_over_bayes=0.9}", &["train.until.error_over_bayes", "at least 1", "0.9"]),
        ("train.until={error_over_bayes=nan}", &["train.until.error_over_bayes", "at least 1", "NaN"]),
        (
            "train.until={error_over_bayes=1.1,give_up={after=0,above=2.0}}",
            &["train.until.give_up.after", "at least 1", "0"],
        ),
        (
            "train.until={error_over_bayes=1.1,give_up={after=9,above=1.1}}",
            &["train.until.give_up.above", "train.until.error_over_bayes (1.1)", "1.1"],
        ),
        ("train.until={}", &["error_over_bayes"]),
        ("eval.prompts_per_concept=0", &["eval.prompts_per_concept", "between 1", "0"]),
        ("probe.probes=[]", &["probe.probes", "with knn", "[]"]),
        ("probe.probes=[\"linear\"]", &["probe.probes", "with knn", "[linear]"]),
        ("probe.probes=[\"knn\",\"knn\"]", &["probe.probes", "twice", "[knn, knn]"]),
        ("probe.folds=1", &["probe.folds", "(24)", "1"]),
        ("probe.folds=25", &["probe.folds", "(24)", "25"]),
        ("probe.ridge=0.0", &["probe.ridge", "above 0", "0"]),
        ("probe.ridge=inf", &["probe.ridge", "finite", "inf"]),
        ("probe.shrinkage=0.0", &["probe.shrinkage", "above 0", "0"]),
        ("probe.shrinkage=1.5", &["probe.shrinkage", "at most 1", "1.5"]),
        ("probe.neighbours=0", &["probe.neighbours", "(23)", "0"]),
        ("probe.neighbours=24", &["probe.neighbours", "(23)", "24"]),
        ("probe.prompts_per_concept=1", &["probe.prompts_per_concept", "between 2", "1"]),
        ("probe.resamples=1", &["probe.resamples", "between 2", "1"]),
        ("probe.tokens=[]", &["probe.tokens", "none comes twice", "[]"]),
        ("probe.tokens=[\"query_x\", \"x6\"]", &["probe.tokens", "none comes twice", "[x6, x6]"]),
        ("probe.tokens=[\"x7\"]", &["probe.tokens", "x6", "x7"]),
        ("probe.tokens=[\"y0\"]", &["probe.tokens", "query_x, last_y, x1, y1, x2, y2 and so on", "y0"]),
        ("checkpoints.every=0", &["checkpoints.every", "at least 1", "0"]),
        ("checkpoints.full=0", &["checkpoints.full", "at least 1", "0"]),
    ];
    check_sets("smoke", cases);
    let sets = ["--set", "model.latent={width=4,decoder_layers=1}", "--set", "task.n_points=1"];
    let of_one_pair = [&["train", "smoke", "--out", "/dev/null/never"], &sets[..]].concat();
    check(&of_one_pair, 2, &["task.n_points must be at least 2 with model.latent, but is 1"]);
}

#[test]
fn a_family_out_of_range_is_named_with_its_range_and_value() {
    let families = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/families.toml");
    let cases: &[(&str, &[&str])] = &[
        ("task.d_x=0", &["task.d_x", "between 1 and 4096", "0"]),
        ("task.n_points=5000", &["task.n_points", "between 1 and 4096", "5000"]),
        ("task.noise_variance=-1.0", &["task.noise_variance", "at least 0", "-1"]),
        ("task.signal_std=0.0", &["task.signal_std", "above 0", "0"]),
        ("task.signal_std=1e-200", &["task.signal_std", "above 0 (1e-15 to 1e15)", "1e-200"]),
        ("task.signal_std=nan", &["task.signal_std", "finite", "NaN"]),
        ("task.families=[]", &["task.families", "at least one", "empty"]),
        ("task.families=[\"linear\",\"linear\"]", &["task.families[1]", "another kind", "linear"]),
        ("task.families=[\"cubic\"]", &["cubic", "linear", "quadratic"]),
        ("task.families=[{sparse_linear={rank=7}}]", &["task.families[0].sparse_linear.rank", "task.d_x (6)", "7"]),
        ("task.families=[{leaky_relu={width=0,slope=0.1}}]", &["task.families[0].leaky_relu.width", "between 1", "0"]),
        ("task.families=[{leaky_relu={width=4,slope=1.5}}]", &["task.families[0].leaky_relu.slope", "0 and 1", "1.5"]),
    ];
    check_sets(families, cases);
}

#[test]
fn a_field_of_another_shape_is_named() {
    let cases: &[(&str, &[&str])] = &[
        ("train.stepz=3", &["train", "stepz"]),
        ("train.steps=many", &["steps", "many"]),
        ("train.steps=-3", &["train.steps must be a whole number of at least 0", "-3"]),
        ("task.d_x=-3", &["task.d_x must be a whole number of at least 0", "-3"]),
        ("task.noise_variance=high", &["task.noise_variance must be a number", "high"]),
        ("train.steps=1.5", &["steps", "1.5"]),
        ("model.latent={width=4}", &["latent", "decoder_layers"]),
        ("model.init=he", &["init", "he", "gpt2", "fan_in"]),
        ("probe.probes=[\"svm\"]", &["probes", "svm", "knn", "linear"]),
        ("probe.tokens=[\"z3\"]", &["tokens", "z3"]),
        ("train.schedule={kind=\"square\"}", &["schedule", "square"]),
        ("train.schedule={kind=\"constant\",warm_up=100}", &["train.schedule", "warm_up"]),
        ("train.schedule.warm_up=100", &["train.schedule", "warm_up"]),
        ("train.schedule={kind=\"warm_up\",steps=\"few\"}", &["train.schedule: ", "few", "a whole number"]),
        ("checkpoints=[10,2]", &["checkpoints must be a table", "[10, 2]"]),
        ("model.latent=[4,1]", &["model.latent must be a table", "[4, 1]"]),
        ("seed=9223372036854775808", &["seed=", "between", "9223372036854775807"]),
        ("task.bases.blocks.shared=-1", &["task.bases.blocks.shared must be a whole number of at least 0", "-1"]),
        ("task.bases.blocks=[2,2]", &["task.bases.blocks must be a table", "[2, 2]"]),
        ("task.bases=[]", &["task.bases must be one of blocks, coordinates", "[]"]),
        ("task.bases={coordinates=[[0],[0.5]]}", &["task.bases.coordinates[1][0] must be a whole number", "0.5"]),
        ("task.weights=3", &["task.weights must be a list", "3"]),
        ("task.size=3", &["task", "size"]),
        ("task.bases={squares=3}", &["squares", "blocks", "coordinates"]),
        ("colour=red", &["colour"]),
        ("train", &["--set", "PATH=VALUE", "train"]),
        ("=3", &["--set", "PATH=VALUE", "=3"]),
        ("nosection.field=3", &["--set", "nosection"]),
        ("name.field=3", &["--set", "not a section", "name"]),
    ];
    check_sets("smoke", cases);
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().to_str().unwrap();
    let file = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let not_toml = file("not.toml", "name = ");
    let incomplete = file("incomplete.toml", "name = \"x\"");
    let chain = file("chain.toml", "extends = \"chain.toml\"");
    let number = file("number.toml", "extends = 3");
    let beyond = file("beyond.toml", "extends = \"nowhere\"");
    let inside = format!("{not_toml}/runs");
    let cases: &[(&[&str], &[&str])] = &[
        (&["train", "nothing-here"], &["nothing-here", "quickstart"]),
        (&["train", &not_toml], &["not.toml", "TOML"]),
        (&["train", &incomplete], &["incomplete.toml: missing field", "seed"]),
        (&["train", &chain], &["extends", "circle", "chain.toml"]),
        (&["train", &number], &["extends", "3"]),
        (&["train", &beyond], &["extends in", "beyond.toml must be a TOML file or one of the presets", "\"nowhere\""]),
        (&["train", "smoke", "--seed", "1", "--set", "seed=2"], &["--set", "beside --seed", "seed=2"]),
        (&["train", "smoke", "--out", &inside], &["not.toml would be written over, but is not a folder"]),
        (&["sweep", "smoke", "--out", folder, "--slurm", "--sbatch=--array=1-3"], &["--sbatch", "other than --array"]),
        (&["sweep", "smoke", "--out", folder, "--slurm", "--sbatch="], &["--sbatch", "one option of sbatch"]),
        (&["train", folder], &[folder]),
        (&["train", "smoke", "--device", "abacus"], &["device", "auto, flex", "abacus"]),
        (&["train", "smoke", "--threads", "0"], &["--threads", "from 1 to 1024", "'0'"]),
        (&["train", "smoke", "--threads", "-1"], &["--threads", "from 1 to 1024", "'-1'"]),
        (&["train", "smoke", "--seed", "one"], &["--seed", "from 0 to 9223372036854775807", "'one'"]),
        (
            &["train", "smoke", "--seed", "9223372036854775808"],
            &["--seed", "9223372036854775807", "9223372036854775808"],
        ),
        (&["bench", "smoke", "--steps", "0"], &["--steps", "from 1 to 1000000", "'0'"]),
        (&["bench", "smoke", "--jobs", "0"], &["--jobs", "from 1 to 255", "'0'"]),
        (&["patch", folder, "--step", "0,last"], &["--step", "from 0 on", "'last'"]),
        (&["resume", folder], &["is not a run", "config.toml"]),
        (&["report", "/nowhere/at/all"], &["is not a run", "/nowhere/at/all"]),
        (&["dance"], &["dance"]),
    ];
    for (args, words) in cases {
        check(args, 2, words);
    }
}

#[test]
fn a_request_about_a_run_is_checked_against_that_run() {
    let (_root, run) = smoke_run();
    let run = run.to_str().unwrap();
    check(&["errors", run, "--task", "nowhere.toml"], 2, &["--task must be a TOML file, but is \"nowhere.toml\""]);
    check(&["finetune", run, "--out", run], 2, &["is a part of the run", "name another folder"]);
    check(&["export", run, "--step", "7"], 2, &["step", "0, 1, 2, 4, 8, 10", "7"]);
    check(&["export", run, "--resample", "4"], 2, &["--resample", "(3)", "4"]);
    check(&["export", run, "--what", "model", "--format", "npz"], 2, &["--what", "--format", "model", "npz"]);
    check(&["export", run, "--what", "states", "--format", "hf"], 2, &["--what", "--format", "states", "hf"]);
    check(&["export", run, "--what", "prompts", "--format", "hf"], 2, &["--what", "--format", "prompts", "hf"]);
    check(&["export", run, "--what", "prompts", "--step", "9"], 2, &["--step", "states or model", "prompts"]);
    check(&["export", run, "--what", "prompts", "--resample", "1"], 2, &["--resample", "states", "prompts"]);
    check(&["export", run, "--format", "hf", "--resample", "1"], 2, &["--resample", "states", "model"]);
    check(&["export", run, "--mean-prompts", "9"], 2, &["--mean-prompts", "prompts", "states"]);
    check(&["positions", run, "--step", "3"], 2, &["step", "0, 1, 2, 4, 8, 10", "3"]);
    check(&["sites", run, "--step", "0,3"], 2, &["step", "0, 1, 2, 4, 8, 10", "3"]);
    check(&["sensitivity", run, "--step", "3"], 2, &["step", "0, 1, 2, 4, 8, 10", "3"]);
    check(&["map", run, "--layer", "3"], 2, &["--layer", "(2)", "3"]);
    check(&["compare", run, "--probe", "svm"], 2, &["probe", "knn, knn_cosine", "svm"]);
    check(&["map", run, "--token", "x9"], 2, &["--token", "x6, y6", "x9"]);
    check(&["map", run, "--token", "x2"], 2, &["--token", "x6, y6", "x2"]);
    check(&["map", run, "--method", "mds"], 2, &["'mds'", "--method", "must be pca or umap"]);
    check(&["map", run, "--method", "tsne"], 2, &["'tsne'", "--method", "must be pca or umap", "`export RUN`"]);
    for command in ["accuracy", "intervene"] {
        check(&[command, run], 2, &["one whose prompts are text, but is one of pairs of numbers", command]);
    }
    check(&["patch", run, "--step", "10,7"], 2, &["step", "0, 1, 2, 4, 8, 10", "7"]);
    check(&["patch", run, "--layer", "1,3"], 2, &["--layer", "(2)", "3"]);
    let largest = u64::MAX.to_string();
    check(&["patch", run, "--layer", &largest], 2, &["--layer", "(2)", &largest]);
    check(&["transplant", run, "--step", &largest], 2, &["step", "0, 1, 2, 4, 8, 10", &largest]);
    check(&["patch", run, "--steer", "4"], 2, &["--steer", "(2)", "4"]);
    check(&["patch", run, "--points", "0"], 2, &["--points", "between 1 and task.n_points (6)", "0"]);
    check(&["patch", run, "--points", "7"], 2, &["--points", "between 1 and task.n_points (6)", "7"]);
    check(&["patch", run, "--points", "1", "--token", "y"], 2, &["--points", "between 2 and", "1"]);
    check(&["patch", run, "--token", "z"], 2, &["--token", "x, y", "z"]);
    check(&["patch", run, "--mean-prompts", "0"], 2, &["--mean-prompts", "from 1 to 100000", "0"]);
    check(&["patch", run, "--strengths", "1,nan"], 2, &["--strengths", "between -1000000 and 1000000", "nan"]);
    check(&["patch", run, "--strengths", "1e308"], 2, &["--strengths", "between", "1e308"]);
    check(&["prune", run, "--step", "7"], 2, &["step", "0, 1, 2, 4, 8, 10", "7"]);
    check(&["interchange-heads", run, "--step", "7"], 2, &["step", "0, 1, 2, 4, 8, 10", "7"]);
    check(&["interchange-heads", run, "--places", "everywhere"], 2, &["--places", "every_y", "everywhere"]);
    check(&["heads", run, "--step", "7"], 2, &["step", "0, 1, 2, 4, 8, 10", "7"]);
    check(&["heads", run, "--mean-prompts", "0"], 2, &["--mean-prompts", "from 1 to 100000", "0"]);
    check(&["transplant", run, "--step", "0,7"], 2, &["step", "0, 1, 2, 4, 8, 10", "7"]);
    check(&["transplant", run, "--layer", "3"], 2, &["--layer", "(2)", "3"]);
}

#[test]
fn one_concept_cannot_be_told_from_others() {
    let root = tempfile::tempdir().unwrap();
    let one = ["--set", "task.bases={coordinates=[[0]]}"];
    succeed(&[&["train", "smoke", "--quiet", "--out", root.path().to_str().unwrap()], &one[..]].concat());
    for command in ["separation", "interchange-heads", "heads"] {
        check(&[command, only_run(root.path()).to_str().unwrap()], 2, &["concepts", "at least 2", "1"]);
    }
}

#[test]
fn a_model_with_a_latent_is_no_gpt2() {
    let root = tempfile::tempdir().unwrap();
    let latent = ["--set", "model.latent={width=4,decoder_layers=1}"];
    succeed(&[&["train", "smoke", "--quiet", "--out", root.path().to_str().unwrap()], &latent[..]].concat());
    let run = only_run(root.path());
    check(&["export", run.to_str().unwrap(), "--format", "hf"], 2, &["model.latent", "absent", "of width 4"]);
}

#[test]
fn a_run_continues_only_as_what_it_was() {
    let (root, run) = smoke_run();
    let run = run.to_str().unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--free", "middle=1"], &["free", "all, first=N, last=N or read_out", "middle=1"]),
        (&["--free", "first"], &["free", "first=N", "first"]),
        (&["--free", "first=0"], &["finetune.free", "model.n_layers (2)", "0"]),
        (&["--free", "last=3"], &["finetune.free", "model.n_layers (2)", "3"]),
        (&["--step", "7"], &["step", "0, 1, 2, 4, 8, 10", "7"]),
        (&["--set", "finetune.free=all"], &["--set", "--free", "finetune.free=all"]),
        (&["--set", " finetune = {free=\"all\"}"], &["--set", "--free"]),
        (&["--set", "task.d_x=5"], &["task.d_x", "saved weights (4)", "5"]),
        (&["--set", "task.n_points=7"], &["task.n_points", "saved weights (6)", "7"]),
        (&["--set", "model.d_model=32"], &["model.d_model", "saved weights (16)", "32"]),
        (&["--set", "model.n_layers=3"], &["model.n_layers", "saved weights (2)", "3"]),
        (&["--set", "model.latent={width=4,decoder_layers=1}"], &["model.latent.width", "saved weights (0)", "4"]),
        (&["--set", "model.n_heads=4"], &["model.n_heads", "saved weights (2)", "4"]),
    ];
    for (args, words) in cases {
        check(&[&["finetune", run, "--out", "/dev/null/never"], *args].concat(), 2, words);
    }
    check(&["finetune", root.path().to_str().unwrap()], 2, &["is not a run", "config.toml"]);
}

#[test]
fn a_sweep_that_makes_no_sense_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("seeds = []", &["seeds", "at least one", "empty"]),
        ("seeds = [-1]", &["seeds", "-1"]),
        ("seeds = 3", &["seeds", "3"]),
        ("seeds = [0, 1, 0]", &["seeds, grid and runs", "no two runs the same", "twice smoke-"]),
        ("runs = []", &["runs", "at least one", "empty"]),
        ("runs = 3", &["runs", "3"]),
        ("[[runs]]\nname = \"a\"\n[[runs]]\nname = \"b\"", &["seeds, grid and runs", "twice b-"]),
        ("[[runs]]\ncolour = 3", &["colour"]),
        ("[grid]\ntrain.steps = 3", &["grid.train.steps", "a list of values", "3"]),
        ("[grid]\ntrain.steps = []", &["grid.train.steps", "at least one", "empty"]),
        ("[grid]\ntrain.steps = [0]", &["train.steps", "between 1", "0"]),
        ("[grid]\ntrain.stepz = [1]", &["stepz"]),
        ("[grid]\ncolour.red = [1]", &["grid.colour.red", "no section"]),
        ("colour = 3", &["colour"]),
        ("name = \"../../escape\"\n[[runs]]\nname = \"a\"", &["name", "letters", "../../escape"]),
        ("name = \"\"\n[[runs]]\nname = \"a\"", &["name", "1 to 64", "\"\""]),
        ("[grid]\ncheckpoints = [[10, 2]]", &["checkpoints must be a table", "[10, 2]"]),
    ];
    for (number, (text, words)) in cases.iter().enumerate() {
        let path = root.path().join("sweep.toml");
        std::fs::write(&path, format!("extends = \"smoke\"\n{text}\n")).unwrap();
        let build = |config: Config| config.build(&TaskRegistry::builtin()).map(drop);
        let built = Sweep::resolve(&Source::File(path.clone()), &[])
            .and_then(|sweep| sweep.configs.into_iter().try_for_each(build));
        let message = built.expect_err(text).to_string();
        for word in *words {
            assert!(message.contains(word), "{text}: no {word:?} in: {message}");
        }
        if number % WHOLE == 0 {
            check(&["sweep", path.to_str().unwrap(), "--out", "/dev/null/never"], 2, &[&message]);
        }
    }
    check(&["sweep", "nothing-here"], 2, &["nothing-here", "quickstart"]);
    check(&["sweep", "smoke", "--jobs", "0"], 2, &["--jobs", "0"]);
    check(&["sweep", "smoke", "--set", "seeds=[]"], 2, &["seeds", "at least one"]);
    check(&["compare"], 2, &["RUNS"]);
    check(&["compare", root.path().to_str().unwrap()], 2, &["is not a run"]);
}
