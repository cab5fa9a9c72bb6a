//! A sweep: one configuration, and what is varied about it.

use std::collections::BTreeSet;

use record::{FieldChange, Folder, Seal};
use serde::Deserialize;
use toml::{Table, Value};

use crate::checks::check_name;
use crate::resolve::{apply, insert, lay_over, read_as};
use crate::sealing::listed;
use crate::{Config, ConfigError, RunError, Source};

/// Runs of a sweep, at most: far more than anybody trains, and few enough to be listed.
const MOST_RUNS: usize = 10_000;

/// Configurations that differ in some fields.
///
/// The file is a preset with three keys more, each of which may be left out, and it may extend a preset as other
/// presets do:
///
/// ```toml
/// extends = "quickstart"
/// name = "context"
/// seeds = [0, 1, 2]           # each with every run below
/// train.steps = 8000
///
/// [grid]                      # every combination of the values of these fields
/// task.n_points = [8, 12, 16]
///
/// [[runs]]                    # each with every combination of the grid; laid over the rest as a preset is
/// name = "context-wide"
/// model = { d_model = 128 }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The file's own name for the whole.
    pub name: String,
    /// The configurations: list by grid by seeds, the seeds fastest.
    pub configs: Vec<Config>,
    /// The whole file: what it extends, its own fields and the changes that were asked for.
    pub values: Table,
}

const RUNS: &str = "runs";
const FILE: &str = "file";

/// What a sweep's file has beside a preset's fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Varied {
    seeds: Option<Vec<u64>>,
    grid: Option<Table>,
    runs: Option<Vec<Table>>,
}

impl Sweep {
    /// Reads `source` and applies `sets` (`path=value`) before anything is varied.
    ///
    /// # Errors
    /// As [`Config::resolve`] for every configuration; also when a list of values is empty or no list, an entry of `runs` sets
    /// what the grid or the seeds set, two runs are the same, there are more than 10,000, or the name is no name of a run.
    /// Ranges are checked by [`Config::build`].
    pub fn resolve(source: &Source, sets: &[String]) -> Result<Self, ConfigError> {
        source.named_in(sets, |sets| Self::varied(source, sets))
    }

    fn varied(source: &Source, sets: &[String]) -> Result<Self, ConfigError> {
        let mut table = source.table(1)?;
        sets.iter().try_for_each(|set| apply(&mut table, set))?;
        let values = table.clone();
        let varied = take_varied(&mut table)?;
        let set_before = |field: &str, path: &str| {
            let overridden = |set: &&String| {
                let set = set.split('=').next().map_or("", str::trim);
                set.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let found = sets.iter().find(overridden);
            found.map_or(Ok(()), |set| Err(out_of_range("--set", &format!("of a field that {field} leaves open"), set)))
        };
        let of_runs: BTreeSet<String> =
            varied.runs.iter().flatten().flat_map(|run| record::leaves(run).into_keys()).collect();
        let set_once = |field: &str, path: &str| match of_runs.contains(path) {
            true => Err(out_of_range(field, "of values that no entry of runs sets", path)),
            false => Ok(()),
        };
        let mut tables = match varied.runs {
            None => vec![table.clone()],
            Some(runs) => {
                check_number(runs.len())?;
                not_empty("runs", runs)?.into_iter().map(|run| laid_over(&table, run)).collect()
            }
        };
        for (name, value) in varied.grid.unwrap_or_default() {
            for (path, values) in leaves(&name, value)? {
                set_once("grid", &path)?;
                set_before("grid", &path)?;
                tables = vary(tables, &path, &values)?;
            }
        }
        if let Some(seeds) = varied.seeds {
            set_once("seeds", "seed")?;
            set_before("seeds", "seed")?;
            let seeds: Vec<Value> = seeds.into_iter().map(seed_value).collect::<Result<_, _>>()?;
            tables = vary(tables, "seed", &not_empty("seeds", seeds)?)?;
        }
        let configs = tables.into_iter().map(Config::complete).collect::<Result<Vec<_>, _>>()?;
        let mut seen = BTreeSet::new();
        if let Some(twin) = configs.iter().find(|config| !seen.insert(config.identity())) {
            let same = format!("twice {}", twin.run_name());
            return Err(out_of_range("seeds, grid and runs", "values that make no two runs the same", same));
        }
        let name = Config::complete(table)?.name;
        check_name(&name)?;
        Ok(Self { name, configs, values })
    }

    /// The file in the folder of a comparison that says what was compared.
    pub const SEAL: &str = "compared.toml";

    /// The names of the runs, and what they came from.
    pub fn seal(&self) -> Seal {
        let runs = self.configs.iter().map(|config| Value::String(config.run_name())).collect();
        let (runs, file) = (Value::Array(runs), Value::Table(self.values.clone()));
        Seal::of([(RUNS.to_owned(), runs), (FILE.to_owned(), file)].into_iter().collect())
    }

    /// Checks that every run that was compared in `folder` is in the sweep that `seal` is of: it may get more.
    ///
    /// # Errors
    /// When one is missing. Names it, and what was changed.
    pub fn check_sealed(folder: &Folder, seal: &Seal) -> Result<(), RunError> {
        let Some(sealed) = Seal::read_from(folder, Self::SEAL)? else { return Ok(()) };
        let runs = |seal: &Seal| match seal.values().get(RUNS) {
            Some(Value::Array(runs)) => runs.clone(),
            _ => Vec::new(),
        };
        let file = |seal: &Seal| match seal.values().get(FILE) {
            Some(Value::Table(file)) => file.clone(),
            _ => Table::new(),
        };
        let now = runs(seal);
        let gone: Vec<Value> = runs(&sealed).into_iter().filter(|run| !now.contains(run)).collect();
        let Some(first) = gone.first() else { return Ok(()) };
        let changes = listed(&FieldChange::between(&file(&sealed), &file(seal)));
        let path = folder.path().join(Self::SEAL);
        Err(RunError::OtherSweep { path, missing: gone.len(), first: first.to_string(), changes })
    }
}

fn take_varied(table: &mut Table) -> Result<Varied, ConfigError> {
    let mut varied = Table::new();
    for key in ["seeds", "grid", "runs"] {
        varied.extend(table.remove(key).map(|value| (key.to_owned(), value)));
    }
    read_as(varied)
}

fn laid_over(table: &Table, run: Table) -> Table {
    let mut whole = table.clone();
    lay_over(&mut whole, run);
    whole
}

/// The lists of a grid, by the paths of their fields, however these are nested.
fn leaves(path: &str, value: Value) -> Result<Vec<(String, Vec<Value>)>, ConfigError> {
    match value {
        Value::Array(values) => Ok(vec![(path.to_owned(), not_empty(&format!("grid.{path}"), values)?)]),
        Value::Table(section) => {
            let inside = section.into_iter().map(|(name, value)| leaves(&format!("{path}.{name}"), value));
            Ok(inside.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        other => Err(out_of_range(&format!("grid.{path}"), "a list of values", other)),
    }
}

/// Every table with every value at `path`.
fn vary(tables: Vec<Table>, path: &str, values: &[Value]) -> Result<Vec<Table>, ConfigError> {
    check_number(tables.len() * values.len())?;
    let with = |table: &Table, value: &Value| {
        let mut table = table.clone();
        let shape = |reason| ConfigError::Shape { reason: format!("grid.{path}: {reason}") };
        insert(&mut table, path, value.clone()).map_err(shape)?;
        Ok(table)
    };
    tables.iter().flat_map(|table| values.iter().map(move |value| with(table, value))).collect()
}

fn check_number(runs: usize) -> Result<(), ConfigError> {
    match runs > MOST_RUNS {
        true => Err(out_of_range("seeds, grid and runs", &format!("at most {MOST_RUNS} runs together"), runs)),
        false => Ok(()),
    }
}

fn not_empty<T>(field: &str, values: Vec<T>) -> Result<Vec<T>, ConfigError> {
    if values.is_empty() {
        return Err(out_of_range(field, "a list of at least one", "empty"));
    }
    Ok(values)
}

fn seed_value(seed: u64) -> Result<Value, ConfigError> {
    let range = format!("between 0 and {}", i64::MAX);
    i64::try_from(seed).map(Value::Integer).map_err(|_| out_of_range("seeds", &range, seed))
}

fn out_of_range(field: &str, range: &str, value: impl ToString) -> ConfigError {
    ConfigError::OutOfRange { field: field.to_owned(), range: range.to_owned(), value: value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, sets: &[&str]) -> Result<Sweep, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sweep.toml");
        std::fs::write(&path, text).unwrap();
        Sweep::resolve(&Source::File(path), &sets.iter().map(|set| (*set).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_run_of_the_list_meets_every_cell_of_the_grid_and_every_seed() {
        let text = "extends = \"quickstart\"\nname = \"both\"\nseeds = [3, 4]\ntrain.steps = 9\n\
            [grid]\ntask.n_points = [5, 6]\n\"task.noise_variance\" = [0.5]\n\
            [[runs]]\nname = \"narrow\"\n[[runs]]\nname = \"wide\"\nmodel = { d_model = 8 }\n";
        let sweep = resolve(text, &["train.batch_size=16"]).unwrap();
        let found = |config: &Config| {
            assert_eq!((config.train.steps, config.train.batch_size), (9, 16));
            assert_eq!(config.task["noise_variance"].as_float(), Some(0.5));
            (config.name.clone(), config.model.d_model, config.task["n_points"].as_integer().unwrap(), config.seed)
        };
        let mut expected = Vec::new();
        for (name, d_model) in [("narrow", 64), ("wide", 8)] {
            for n_points in [5, 6] {
                expected.extend([3, 4].map(|seed| (name.to_owned(), d_model, n_points, seed)));
            }
        }
        assert_eq!(sweep.configs.iter().map(found).collect::<Vec<_>>(), expected);
        assert_eq!(sweep.name, "both");
    }

    #[test]
    fn more_runs_than_can_be_listed_are_refused() {
        let hundred = format!("{:?}", (1..=101).collect::<Vec<_>>());
        let listed: String = (1..=10_001).map(|seed| format!("{{seed={seed}}},")).collect();
        for (varied, runs) in [
            (format!("seeds = {hundred}\ngrid.train.steps = {hundred}"), 10_201),
            (format!("runs = [{listed}]"), 10_001),
        ] {
            let refusal = resolve(&format!("extends = \"smoke\"\n{varied}\n"), &[]).unwrap_err().to_string();
            assert!(refusal.contains(&format!("at most 10000 runs together, but is {runs}")), "{refusal}");
        }
    }

    #[test]
    fn what_an_entry_of_the_list_sets_is_not_varied_too() {
        let entry = "extends = \"smoke\"\nname = \"both\"\n[[runs]]\nseed = 9\ntask = { noise_variance = 0.5 }\n";
        for (varied, word) in
            [("seeds=[0,1]", "seed"), ("grid={task={noise_variance=[0.1,0.2]}}", "task.noise_variance")]
        {
            let refusal = resolve(entry, &[varied]).unwrap_err().to_string();
            assert!(refusal.contains(&format!("that no entry of runs sets, but is {word}")), "{refusal}");
        }
        assert_eq!(resolve(entry, &["grid={train={steps=[8,9]}}"]).unwrap().configs.len(), 2);
    }

    #[test]
    fn a_preset_is_a_sweep_of_one_run() {
        let source = Source::named("smoke");
        let sweep = Sweep::resolve(&source, &[]).unwrap();
        assert_eq!(sweep.configs, [Config::resolve(&source, &[]).unwrap()]);
    }
}
