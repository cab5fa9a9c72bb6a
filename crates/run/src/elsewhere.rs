//! Tasks whose prompts are made elsewhere: what a configuration needs to say of them and its writer does not.

use std::path::{Path, absolute};

use data::{ArraysConfig, Division};
use toml::{Table, Value};

use crate::ConfigError;
use crate::resolve::read_as;

/// Prompts of every concept that are set apart for patching: as many as `patch` takes unless it is told otherwise.
const PATCHED: usize = 100;

/// Sets the paths of a `[task]` of the kind `kind` that stands in a file in the folder `beside`.
pub(crate) fn place(task: &mut Table, kind: Option<&str>, beside: &Path) {
    match kind {
        Some("arrays") => {
            if let Some(Value::String(file)) = task.get_mut("file") {
                *file = beside.join(&file).display().to_string();
            }
        }
        Some("process") if task.contains_key("command") => {
            let folder = task.get("folder").and_then(Value::as_str).map_or(beside.to_owned(), |it| beside.join(it));
            task.insert("folder".to_owned(), Value::String(folder.display().to_string()));
        }
        _ => {}
    }
}

/// Sets the paths that a `[grid]` of such a file lists for a task of the kind `kind`.
pub(crate) fn place_grid(grid: &mut Table, kind: Option<&str>, beside: &Path) {
    let field = match kind {
        Some("arrays") => "file",
        Some("process") => "folder",
        _ => return,
    };
    let whole = format!("task.{field}");
    let lists = grid.iter_mut().filter_map(|(name, value)| match name.as_str() {
        "task" => value.get_mut(field),
        name => (name == whole).then_some(value),
    });
    for value in lists.filter_map(Value::as_array_mut).flatten() {
        if let Value::String(path) = value {
            *path = beside.join(&*path).display().to_string();
        }
    }
}

/// Completes the `[task]` of a whole configuration: paths that hold from anywhere, the hash of its file, and which of the
/// prompts there are for what.
///
/// # Errors
/// When the file cannot be read, or the number of prompts that are asked for is none.
pub(crate) fn complete(table: &mut Table) -> Result<(), ConfigError> {
    let asked = |section: &str, field: &str| table.get(section)?.get(field)?.as_integer();
    let (eval, probed) = (asked("eval", "prompts_per_concept"), asked("probe", "prompts_per_concept"));
    let probe = probed.zip(asked("probe", "resamples")).and_then(|(prompts, resamples)| prompts.checked_mul(resamples));
    let Some(Value::Table(task)) = table.get_mut("task") else { return Ok(()) };
    match task.get("kind").and_then(Value::as_str) {
        Some("arrays") => {
            let Some(Value::String(file)) = task.get_mut("file") else { return Ok(()) };
            *file = anywhere(Path::new(file));
            let file = file.clone();
            if !task.contains_key("sha256") {
                task.insert("sha256".to_owned(), Value::String(ArraysConfig::sha256(Path::new(&file))?));
            }
            if let (Some(eval), Some(probe), false) = (eval, probe, task.contains_key("division")) {
                let parts = [("eval", eval), ("probe", probe), ("patch", PATCHED as i64)];
                let division: Table = parts.map(|(part, n)| (part.to_owned(), Value::Integer(n))).into_iter().collect();
                read_as::<Division>(division.clone())?;
                task.insert("division".to_owned(), Value::Table(division));
            }
        }
        Some("process") => {
            let folder = task.get("folder").and_then(Value::as_str).unwrap_or(".");
            let folder = anywhere(Path::new(folder));
            task.insert("folder".to_owned(), Value::String(folder));
        }
        _ => {}
    }
    Ok(())
}

fn anywhere(path: &Path) -> String {
    absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Removes what does not count for the identity of a run from its `[task]`: where things lie.
pub(crate) fn without_place(task: &mut Table) {
    match task.get("kind").and_then(Value::as_str) {
        Some("arrays") => drop(task.remove("file")),
        Some("process") => drop(task.remove("folder")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Config, Source};

    const TASK: &str = "extends = \"smoke\"\n[task]\n";

    fn resolve(path: &Path, sets: &[&str]) -> Config {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        Config::resolve(&Source::File(path.to_owned()), &sets).unwrap()
    }

    #[test]
    fn a_file_is_known_by_its_contents_wherever_it_lies() {
        let place = tempfile::tempdir().unwrap();
        let [here, there] = ["here", "there"].map(|name| place.path().join(name));
        let configs = [&here, &there].map(|folder| {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("prompts.npz"), "prompts").unwrap();
            fs::write(folder.join("mine.toml"), format!("{TASK}kind = \"arrays\"\nfile = \"prompts.npz\"")).unwrap();
            resolve(&folder.join("mine.toml"), &[])
        });
        let [ours, theirs] = configs;
        assert_eq!(ours.task["file"].as_str(), here.join("prompts.npz").to_str());
        assert_eq!(ours.identity(), theirs.identity());
        // The smoke preset evaluates 20 prompts of a concept, and probes four times 12.
        assert_eq!(ours.task["division"].to_string(), "{ eval = 20, patch = 100, probe = 48 }");
        // How a run is measured does not change what it trains on once that is said.
        let of_run = Value::Table(ours.task.clone()).to_string();
        fs::write(here.join("run.toml"), format!("extends = \"smoke\"\ntask = {of_run}")).unwrap();
        assert_eq!(resolve(&here.join("run.toml"), &["probe.resamples=1"]).identity(), ours.identity());
        fs::write(here.join("prompts.npz"), "others").unwrap();
        assert_ne!(resolve(&here.join("mine.toml"), &[]).identity(), ours.identity());
    }

    #[test]
    fn what_a_bare_name_names_lies_in_the_folder_that_one_is_in() {
        let task = "[task]\nkind = \"process\"\ncommand = [\"python3\", \"mine.py\"]\n";
        let mut table: Table = task.parse().unwrap();
        Source::File("mine.toml".into()).place(&mut table, None);
        assert_eq!(table["task"]["folder"].as_str(), Some("."));
    }

    #[test]
    fn the_files_of_a_sweep_lie_beside_it() {
        let place = tempfile::tempdir().unwrap();
        ["a.npz", "b.npz"].iter().for_each(|name| fs::write(place.path().join(name), name).unwrap());
        let sweep = place.path().join("sweep.toml");
        let task = |file: &str| format!("task = {{ kind = \"arrays\", file = \"{file}\" }}\n");
        for text in [
            format!("[[runs]]\nname = \"a\"\n{}[[runs]]\nname = \"b\"\n{}", task("a.npz"), task("b.npz")),
            format!("{}[grid]\ntask.file = [\"a.npz\", \"b.npz\"]\n", task("a.npz")),
            format!("{}[grid]\n\"task.file\" = [\"a.npz\", \"b.npz\"]\n", task("a.npz")),
        ] {
            fs::write(&sweep, format!("extends = \"smoke\"\n{text}")).unwrap();
            let configs = crate::Sweep::resolve(&Source::File(sweep.clone()), &[]).unwrap().configs;
            let files: Vec<_> = configs.iter().map(|config| config.task["file"].as_str().unwrap()).collect();
            assert_eq!(files, ["a.npz", "b.npz"].map(|name| place.path().join(name).to_str().unwrap().to_owned()));
        }
    }

    #[test]
    fn a_program_is_started_beside_the_file_that_names_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("mine.toml");
        let program = "kind = \"process\"\ncommand = [\"python3\", \"mine.py\"]\nversion = \"1\"";
        fs::write(&path, format!("{TASK}{program}")).unwrap();
        fs::write(place.path().join("next.toml"), "extends = \"mine.toml\"\nname = \"next\"").unwrap();
        let config = resolve(&path, &[]);
        assert_eq!(config.task["folder"].as_str(), place.path().to_str());
        assert_eq!(resolve(&place.path().join("next.toml"), &[]).task, config.task);
        assert_eq!(resolve(&path, &["task.folder=/"]).identity(), config.identity());
        assert_ne!(resolve(&path, &["task.version=2"]).identity(), config.identity());
    }
}
