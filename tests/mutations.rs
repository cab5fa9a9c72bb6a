//! A file that somebody or something changed is read or refused with its name, in little time and memory, and never with
//! a panic. Valid files of every kind are changed at random; what is sealed is never read as something else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use analysis::{
    ALL, AblationRow, AlgorithmRow, BaselineRow, BestLayerRow, ComponentRow, DecodabilityRow, Entry, ExchangeRow,
    MapRow, MetricRow, PairRow, PatchRow, PositionRow, SensitivityRow, SeparationRow, Shown, Summary, legend_of,
};
use data::{ArraysConfig, Legend, Purpose, Sampler, Stream, TaskRegistry, TextFile, TextTaskConfig};
use pretrained::{Adapters, LmRun, ModelFolder};
use rand::{Rng, RngExt};
use record::{Made, RecordError, Row};
use run::{Config, ConfigError, RunDir, Source, Sweep};
use trainer::TrainingRow;

use crate::elsewhere::arrays_of_smoke;
use crate::fixture::fixture;
use crate::lm::{bitwise_run, corpus, golden, lines};
use crate::memory::most_memory;
use crate::program::{files, smoke_run, write_files};

/// How many mutations of a format are tried, unless `MUTATIONS` says otherwise.
const MUTATIONS: usize = 200;

/// How long a file may take to be read or refused.
const MOST_TIME: Duration = Duration::from_secs(2);

/// How much memory that may take, in bytes. No file here has 100,000.
const MOST_MEMORY: usize = 256 << 20;

/// What is said of a file: what it means, or why it is refused.
type Said = Result<String, String>;

/// Which mutations may be read.
#[derive(Clone, Copy)]
enum Read {
    /// Those that mean the same: the file is sealed or has a checksum.
    Same,
    /// Any; there must be so many of a hundred, or what is checked behind reading is not checked at all.
    AtLeast(usize),
}

/// Mutates `file` at random and reads it by `read`. What refuses it must name it, or one beside it that it does not fit.
/// Says how many were read, and returns what is wrong.
fn mutate(name: &str, file: &Path, may: Read, read: impl Fn() -> Said) -> Vec<String> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (count, seed) = (number("MUTATIONS").unwrap_or(MUTATIONS as u64), number("MUTATION_SEED").unwrap_or(0));
    let whole = std::fs::read(file).unwrap();
    let meaning = read().unwrap_or_else(|error| panic!("{name} as it is: {error}"));
    let beside = file.parent().unwrap().to_str().unwrap();
    let (mut accepted, mut wrong) = (0, Vec::new());
    for index in 0..count {
        let bytes = mutated(&whole, &mut Stream::new(seed, Purpose::Shuffle).rng(index));
        std::fs::write(file, &bytes).unwrap();
        let started = Instant::now();
        let (said, memory) = most_memory(|| catch_unwind(AssertUnwindSafe(&read)));
        let took = started.elapsed();
        let fault = match &said {
            Err(_) => Some("it panics".to_owned()),
            _ if took > MOST_TIME => Some(format!("it takes {took:?}")),
            _ if memory > MOST_MEMORY => Some(format!("it takes {memory} bytes")),
            Ok(Ok(found)) if matches!(may, Read::Same) && *found != meaning => Some(format!("is read as {found:.300}")),
            Ok(Err(message)) if !message.contains(beside) => Some(format!("it is not named: {message:.300}")),
            _ => None,
        };
        accepted += usize::from(matches!(said, Ok(Ok(_))));
        wrong.extend(fault.map(|fault| format!("mutation {index} of {name}: {fault}")));
    }
    std::fs::write(file, &whole).unwrap();
    eprintln!("mutations: {name}: {count} tried with seed {seed}, {accepted} read, {} wrong", wrong.len());
    match may {
        Read::AtLeast(percent) if accepted * 100 < percent * count as usize => {
            wrong.push(format!("{name}: only {accepted} of {count} were read"));
        }
        _ => {}
    }
    wrong
}

fn check(wrong: impl IntoIterator<Item = Vec<String>>) {
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One or two changes.
fn mutated(bytes: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..=2) {
        let at = rng.random_range(0..=bytes.len());
        let some = at..(at + rng.random_range(1..64)).min(bytes.len());
        match rng.random_range(0..10) {
            // Flip.
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.random_range(0..8)),
            // Cut.
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(some)),
            // Repeat.
            3 => drop(bytes.splice(at..at, bytes[some].repeat(rng.random_range(1..100))).collect::<Vec<_>>()),
            4 => nest(&mut bytes, at, rng),
            // What may well be read.
            5 | 6 => swap(&mut bytes, rng),
            _ => make_huge(&mut bytes, rng),
        }
    }
    bytes
}

/// Exchanges two fields or values.
fn swap(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    let words = runs(bytes, |byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte));
    if words.len() < 2 {
        return;
    }
    let (mut one, mut other) =
        (words[rng.random_range(0..words.len())].clone(), words[rng.random_range(0..words.len())].clone());
    if one.start > other.start {
        (one, other) = (other, one);
    }
    if one.end <= other.start {
        let (first, second) = (bytes[one.clone()].to_vec(), bytes[other.clone()].to_vec());
        bytes.splice(other, first);
        bytes.splice(one, second);
    }
}

/// Puts an extreme number in the place of one.
fn make_huge(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    const EXTREME: [&str; 12] = [
        "0",
        "-1",
        "1000000",
        "16777216",
        "4294967296",
        "9223372036854775807",
        "18446744073709551615",
        "99999999999999999999999",
        "1e308",
        "-1e308",
        "nan",
        "inf",
    ];
    let numbers = runs(bytes, |byte| byte.is_ascii_digit());
    match numbers.is_empty() || rng.random_bool(0.1) {
        // As a number of eight bytes, which begins a safetensors file.
        true => bytes.iter_mut().zip(rng.random::<u64>().to_le_bytes()).for_each(|(byte, huge)| *byte = huge),
        false => {
            let number = numbers[rng.random_range(0..numbers.len())].clone();
            bytes.splice(number, EXTREME[rng.random_range(0..EXTREME.len())].bytes());
        }
    }
}

/// Opens brackets or sections that nothing closes, or closes them.
fn nest(bytes: &mut Vec<u8>, at: usize, rng: &mut impl Rng) {
    const OPENING: [(&str, &str); 6] =
        [("[", "]"), ("{", "}"), ("{\"a\":", "}"), ("[[a]]\n", ""), ("a.", ""), ("{a=", "}")];
    let (open, close) = OPENING[rng.random_range(0..OPENING.len())];
    let depth = rng.random_range(1..20_000);
    let inside = if rng.random_bool(0.5) { "1".to_owned() + &close.repeat(depth) } else { String::new() };
    bytes.splice(at..at, (open.repeat(depth) + &inside).bytes());
}

/// Where bytes of a kind stand behind each other.
fn runs(bytes: &[u8], of_kind: impl Fn(u8) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| of_kind(**byte)) {
        match runs.last_mut() {
            Some(last) if last.end == at => last.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

fn said<T>(result: Result<T, impl ToString>, meaning: impl Fn(T) -> String) -> Said {
    result.map(meaning).map_err(|error| error.to_string())
}

#[test]
fn configurations_and_sweeps() {
    let (place, registry) = (tempfile::tempdir().unwrap(), TaskRegistry::builtin());
    let [config, sweep] = ["mine.toml", "sweep.toml"].map(|name| place.path().join(name));
    std::fs::write(&config, Config::resolve(&Source::named("smoke"), &[]).unwrap().to_toml()).unwrap();
    let varied = "extends = \"smoke\"\nname = \"both\"\nseeds = [3, 4]\ntrain.steps = 9\n[grid]\n\
        task.n_points = [5, 6]\ntrain.batch_size = [16, 32, 64]\n[[runs]]\nname = \"narrow\"\n\
        [[runs]]\nname = \"wide\"\nmodel = { d_model = 8 }\n";
    std::fs::write(&sweep, varied).unwrap();
    // What is out of its range is named by its field, for it may come from a `--set` as well.
    let named = |file: &Path, error: ConfigError| match error {
        ConfigError::OutOfRange { .. } | ConfigError::Task(_) | ConfigError::Probe(_) | ConfigError::Model(_) => {
            format!("{}: {error}", file.display())
        }
        error => error.to_string(),
    };
    let read_config = || {
        let built = Config::resolve(&Source::File(config.clone()), &[]).and_then(|found| found.build(&registry));
        built.map(|it| it.config.to_toml()).map_err(|error| named(&config, error))
    };
    let read_sweep = || {
        let found = Sweep::resolve(&Source::File(sweep.clone()), &[]);
        found.map(|it| it.configs.iter().map(Config::to_toml).collect()).map_err(|error| named(&sweep, error))
    };
    check([
        mutate("configuration", &config, Read::AtLeast(2), read_config),
        mutate("sweep", &sweep, Read::AtLeast(2), read_sweep),
    ]);
}

#[test]
fn what_a_run_says_of_itself() {
    let (_root, path) = smoke_run();
    let (run, registry) = (RunDir::open(&path).unwrap(), TaskRegistry::builtin());
    let experiment_of_smoke = run.experiment(&registry).unwrap();
    let experiment = || said(run.experiment(&registry), |it| it.config.to_toml());
    let legend = || said(legend_of(&run, &registry), |it| format!("{it:?}"));
    let made = || said(Made::read(run.folder()), |it| format!("{it:?}"));
    let lengthened = || said(run.as_lengthened(experiment_of_smoke.clone()), |it| it.config.to_toml());
    // These notes are for people, and passed over where they are damaged.
    let environment = || Ok(format!("{:?}", run.environment()));
    let failure = || Ok(format!("{:?}", run.failure()));
    std::fs::write(path.join("lengthened.toml"), "steps = [20, 30]\n").unwrap();
    run.note_failure(Some("the disk is full")).unwrap();
    check([
        mutate("config.toml of a run", &path.join("config.toml"), Read::Same, experiment),
        mutate("seal.toml", &path.join("seal.toml"), Read::Same, experiment),
        mutate("legend.toml", &path.join("legend.toml"), Read::AtLeast(5), legend),
        mutate("made.toml", &path.join("made.toml"), Read::AtLeast(5), made),
        mutate("environment.toml", &path.join("environment.toml"), Read::AtLeast(100), environment),
        mutate("failure.txt", &path.join("failure.txt"), Read::AtLeast(100), failure),
        mutate("lengthened.toml", &path.join("lengthened.toml"), Read::AtLeast(2), lengthened),
    ]);
}

#[test]
fn checkpoints() {
    let (_root, path) = smoke_run();
    let run = RunDir::open(&path).unwrap();
    let experiment = run.experiment(&TaskRegistry::builtin()).unwrap();
    let whole = run.checkpoint(&experiment, 40).unwrap();
    let last = path.join("checkpoints/00000040");
    let load =
        || said(run.checkpoint(&experiment, 40), |it| if it == whole { "the same" } else { "another" }.to_owned());
    let files = ["meta.toml", "model.safetensors", "moment_1.safetensors", "moment_2.safetensors"];
    check(files.map(|file| mutate(&format!("{file} of a checkpoint"), &last.join(file), Read::Same, load)));
    // Without a checksum, as whoever is sent a file reads it.
    let weights = last.join("model.safetensors");
    let decode = || {
        let decoded = model::decode(&std::fs::read(&weights).unwrap());
        said(decoded, |_| String::new()).map_err(|error| format!("{}: {error}", weights.display()))
    };
    check([mutate("weights without a checksum", &weights, Read::AtLeast(2), decode)]);
}

/// How the rows of a table are read.
type ReadRows = fn(&RunDir) -> Result<usize, RecordError>;

/// A table's file, and how its rows are read.
fn table<R: Row>() -> (&'static str, ReadRows) {
    (R::FILE, |run| Ok(run.table::<R>().read()?.len()))
}

#[test]
fn tables_and_what_is_drawn_of_them() {
    let (_root, path) = fixture();
    let run = RunDir::open(&path).unwrap();
    let legend = Legend::of(run.experiment(&TaskRegistry::builtin()).unwrap().study.task.pairs().as_ref());
    let shown = Shown { folder: run.folder(), legend: &legend };
    let tables = [
        table::<TrainingRow>(),
        table::<MetricRow>(),
        table::<BaselineRow>(),
        table::<DecodabilityRow>(),
        table::<BestLayerRow>(),
        table::<MapRow>(),
        table::<AlgorithmRow>(),
        table::<PatchRow>(),
        table::<AblationRow>(),
        table::<ExchangeRow>(),
        table::<PositionRow>(),
        table::<SeparationRow>(),
        table::<PairRow>(),
        table::<SensitivityRow>(),
        table::<ComponentRow>(),
    ];
    check(tables.map(|(file, rows)| {
        let is_of = |entry: &&Entry| (entry.tables)(run.folder()).iter().any(|table| table.file() == file);
        let drawn = ALL.iter().find(is_of);
        mutate(file, &path.join(file), Read::AtLeast(5), || {
            let rows = rows(&run).map_err(|error| error.to_string())?;
            drawn.map_or(Ok(Vec::new()), |entry| (entry.show)(&shown)).map_err(|error| error.to_string())?;
            said(Summary::read(&shown), |_| rows.to_string())
        })
    }));
}

#[test]
fn folders_of_language_models() {
    let place = tempfile::tempdir().unwrap();
    let [one, sharded] = ["smollm2", "olmo2-sharded"].map(|name| {
        write_files(&files(&golden(name)), &place.path().join(name));
        place.path().join(name)
    });
    let open = |folder: &Path| {
        let encoded = |it: &ModelFolder| it.tokens.encode("a: b\n").map_err(|error| error.to_string());
        said(ModelFolder::open(folder), |it| format!("{:?} {:?}", it.config, encoded(&it)))
    };
    let of_one = ["config.json", "tokenizer.json", "model.safetensors"]
        .map(|file| mutate(&format!("{file} of a language model"), &one.join(file), Read::AtLeast(2), || open(&one)));
    let index = sharded.join("model.safetensors.index.json");
    let index = mutate("index of tensors", &index, Read::AtLeast(1), || open(&sharded));
    let (config, lora) = (ModelFolder::open(&one).unwrap().config, one.join("lora"));
    let adapters = || said(Adapters::read(&lora, &config), |it| format!("{it:?}"));
    let of_adapters = ["adapter_config.json", "adapter_model.safetensors"]
        .map(|file| mutate(file, &lora.join(file), Read::AtLeast(2), adapters));
    check(of_one.into_iter().chain([index]).chain(of_adapters));
}

#[test]
fn runs_of_language_models() {
    let (_root, path) = bitwise_run();
    let open = || said(LmRun::open(&path).and_then(|run| run.experiment()), |it| it.config.to_toml());
    check(
        ["config.toml", "seal.toml"]
            .map(|file| mutate(&format!("{file} of a run of a language model"), &path.join(file), Read::Same, open)),
    );
}

#[test]
fn arrays() {
    let place = tempfile::tempdir().unwrap();
    let config = Config::resolve(&Source::File(arrays_of_smoke(place.path(), |_| {})), &[]).unwrap();
    let file = place.path().join("prompts.npz");
    // Whatever the archive does not vouch for is refused; of the rest this reads what a new run would.
    check([mutate("arrays", &file, Read::Same, || {
        let mut task = config.task.clone();
        task.insert("sha256".to_owned(), ArraysConfig::sha256(&file).unwrap().into());
        said(TaskRegistry::builtin().build(&task), |task| {
            let of = |purpose| Sampler::new(task.clone(), Stream::new(0, purpose));
            format!("{:?}", (task.concepts(), of(Purpose::Train).prompts(0..656), of(Purpose::Patch).balanced(0, 100)))
        })
    })]);
}

#[test]
fn texts() {
    let place = tempfile::tempdir().unwrap();
    let [brown, mine] = ["brown", "mine.jsonl"].map(|name| place.path().join(name));
    corpus(&brown);
    lines(&mine);
    let all =
        "shots = [0, 1, 2]\ntemplate = \"{input} -> {output}\\n\"\nnull = false\nnamed = false\nplace = \"prompt\"\n";
    let of_words = format!("kind = \"part_of_speech\"\ncorpus = {brown:?}\nclasses = [\"noun\", \"verb\"]\n{all}");
    let of_lines = format!("kind = \"file\"\nfile = {mine:?}\n{all}");
    check([("corpus", brown, of_words), ("prompts", mine, of_lines)].map(|(name, file, task)| {
        let task = TextTaskConfig::read(&task.parse().unwrap()).unwrap();
        let read = |path: &Path| Ok(vec![TextFile { path: path.to_owned(), bytes: std::fs::read(path)? }]);
        mutate(name, &file, Read::AtLeast(2), || said(task.build(&read), |it| format!("{:?}", it.concepts())))
    }));
}
