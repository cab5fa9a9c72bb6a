//! Many runs from one file: each goes on where it stopped, none takes the others with it, and together they are compared.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::LazyLock;
use std::time::Duration;

use analysis::Selection;
use data::{TaskRegistry, Token};
use probe::ProbeKind;
use run::{Config, RunDir, Source};
use tempfile::TempDir;

use crate::program::{Files, asking_signals, check, copy_of, emergence, files, kill, stderr, succeed, wait_for_rows};

/// Two noises, two seeds.
const SWEEP: &str =
    "extends = \"smoke\"\nname = \"noises\"\nseeds = [0, 1]\n[grid]\ntask.noise_variance = [0.01, 0.5]\n";

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("sweep.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn runs(out: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("config.toml").exists());
    found.sort();
    found
}

fn sweep(file: &str, out: &Path, more: &[&str]) -> String {
    succeed(&[&["sweep", file, "--quiet", "--out", out.to_str().unwrap()], more].concat())
}

/// A finished sweep of [`SWEEP`], made once.
fn finished() -> TempDir {
    static FINISHED: LazyLock<Files> = LazyLock::new(|| {
        let [folder, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
        sweep(&write(folder.path(), SWEEP), out.path(), &[]);
        files(out.path())
    });
    copy_of(&FINISHED)
}

#[test]
fn a_run_that_was_lengthened_to_another_of_its_sweep_does_not_count_twice() {
    let [folder, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let file = write(folder.path(), "extends = \"smoke\"\nname = \"lengths\"\n[grid]\ntrain.steps = [10, 20]\n");
    sweep(&file, out.path(), &[]);
    let steps = |run: &PathBuf| RunDir::open(run).unwrap().config().unwrap().train.steps;
    let short = runs(out.path()).into_iter().find(|run| steps(run) == 10).unwrap();
    succeed(&["resume", short.to_str().unwrap(), "--steps", "20", "--quiet"]);
    let words = ["must have runs that differ, but twice has lengths-", "was lengthened to 20 steps"];
    check(&["sweep", &file, "--out", out.path().to_str().unwrap()], 2, &words);
}

#[test]
fn a_sweep_is_its_runs_whatever_the_jobs() {
    let [folder, one, two] = [1, 2, 3].map(|_| tempfile::tempdir().unwrap());
    let file = write(folder.path(), SWEEP);
    let text = sweep(&file, one.path(), &[]);
    for word in ["noise_variance = 0.01", "noise_variance = 0.5", "seed", "CD half"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    for (set, field) in [("task.noise_variance=0.1", "grid"), ("seed=7", "seeds")] {
        let words = [&format!("--set must be of a field that {field} leaves open, but is {set}") as &str];
        check(&["sweep", &file, "--list", "--set", set], 2, &words);
    }
    sweep(&file, two.path(), &["--jobs", "3"]);
    assert_eq!(runs(one.path()).len(), 4);
    for (ours, theirs) in runs(one.path()).iter().zip(runs(two.path())) {
        for table in ["training.csv", "metrics.csv", "cd.csv", "map.csv"] {
            assert!(std::fs::read(ours.join(table)).unwrap() == std::fs::read(theirs.join(table)).unwrap(), "{table}");
        }
    }
    for table in ["sweep", "points", "curves", "correlation"] {
        let [ours, theirs] = [&one, &two].map(|out| std::fs::read(out.path().join(format!("{table}.csv"))).unwrap());
        assert!(!ours.is_empty() && ours == theirs, "{table}.csv");
    }
    // One row a run for all concepts together and for each of the two.
    let json: serde_json::Value = serde_json::from_str(&sweep(&file, one.path(), &["--json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 4 * 3);
}

#[test]
fn a_run_alone_is_the_same_as_in_a_sweep() {
    let (together, alone) = (finished(), tempfile::tempdir().unwrap());
    let out = alone.path().to_str().unwrap();
    let sets = ["--set", "name=noises", "--set", "task.noise_variance=0.5", "--seed", "1"];
    succeed(&[&["train", "smoke", "--quiet", "--out", out][..], &sets[..]].concat());
    let alone = runs(alone.path()).remove(0);
    let same = together.path().join(alone.file_name().unwrap());
    assert!(std::fs::read(alone.join("cd.csv")).unwrap() == std::fs::read(same.join("cd.csv")).unwrap());
}

#[test]
fn a_failed_run_is_named_and_the_others_are_done() {
    let [folder, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let file = write(folder.path(), "extends = \"smoke\"\n[grid]\ntrain.learning_rate = [1e30, 1e-3]\n");
    let output = emergence(&["sweep", &file, "--out", out.path().to_str().unwrap()]).output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("1 failed") && message.contains("the loss is not finite"), "{message}");
    let reports: Vec<bool> = runs(out.path()).iter().map(|run| run.join("report.html").exists()).collect();
    assert_eq!(reports.iter().filter(|there| **there).count(), 1);
    assert!(out.path().join("sweep.csv").exists());
}

#[test]
fn a_stopped_sweep_goes_on_run_by_run_to_the_same_bits() {
    let [folder, whole, stopped] = [1, 2, 3].map(|_| tempfile::tempdir().unwrap());
    let file = write(folder.path(), SWEEP);
    let longer = ["--jobs", "2", "--set", "train.steps=120"];
    sweep(&file, whole.path(), &longer);
    let out = stopped.path().to_str().unwrap();
    for signal in asking_signals() {
        let arguments = [&["sweep", &file, "--quiet", "--out", out], &longer[..]].concat();
        let child = emergence(&arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        // The process may be done already, or not have its handler yet; both end in a sweep that goes on.
        kill(signal, &child);
        child.wait_with_output().unwrap();
    }
    sweep(&file, stopped.path(), &longer);
    for table in ["sweep.csv", "points.csv", "curves.csv"] {
        let [ours, theirs] = [&stopped, &whole].map(|out| std::fs::read(out.path().join(table)).unwrap());
        assert!(ours == theirs, "{table}");
    }
    // What is done is not touched again.
    let reports = || {
        runs(stopped.path())
            .iter()
            .map(|run| run.join("report.html").metadata().unwrap().modified().unwrap())
            .collect::<Vec<_>>()
    };
    let before = reports();
    sweep(&file, stopped.path(), &longer);
    assert_eq!(reports(), before);
}

#[test]
fn a_signal_stops_all_runs_and_says_how_to_go_on() {
    let [folder, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let file = write(folder.path(), SWEEP);
    let endless = ["--jobs", "2", "--set", "train.steps=1000000", "--set", "checkpoints.every=1000000"];
    let arguments = [&["sweep", &file, "--quiet", "--out", out.path().to_str().unwrap()], &endless[..]].concat();
    let child = emergence(&arguments).spawn().unwrap();
    wait_for_rows(out.path());
    kill("-TERM", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(stderr(&output).contains("go on with the same command"), "{}", stderr(&output));
}

#[test]
fn workers_that_start_together_train_every_run_once_and_each_writes_the_whole_comparison() {
    let [folder, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let file = write(folder.path(), SWEEP);
    let worker = || emergence(&["sweep", &file, "--json", "--out", out.path().to_str().unwrap()]).spawn().unwrap();
    let workers: Vec<Child> = (0..4).map(|_| worker()).collect();
    for output in workers.into_iter().map(|worker| worker.wait_with_output().unwrap()) {
        assert!(output.status.success(), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json.as_array().unwrap().len(), 4 * 3, "{}", stderr(&output));
    }
    let alone = finished();
    assert_eq!(runs(out.path()).len(), 4);
    for (ours, theirs) in runs(out.path()).iter().zip(runs(alone.path())) {
        // A step that was taken twice would be in it twice.
        for table in ["training.csv", "metrics.csv", "cd.csv", "map.csv"] {
            assert!(std::fs::read(ours.join(table)).unwrap() == std::fs::read(theirs.join(table)).unwrap(), "{table}");
        }
    }
    let [ours, theirs] = [&out, &alone].map(|out| std::fs::read(out.path().join("sweep.csv")).unwrap());
    assert!(ours == theirs);
    assert!(files(out.path()).into_keys().eq(files(alone.path()).into_keys()), "something of a lock stays");
}

#[test]
fn a_run_that_another_process_has_is_waited_for_and_no_failure() {
    let [folder, out] = [1, 2].map(|_| tempfile::tempdir().unwrap());
    let file = write(folder.path(), "extends = \"smoke\"\nname = \"held\"\nseeds = [0, 1]\n");
    let config = Config::resolve(&Source::named("smoke"), &["name=held".to_owned()]).unwrap();
    let held = RunDir::create(out.path(), &config.build(&TaskRegistry::builtin()).unwrap()).unwrap();
    let lock = held.lock().unwrap();
    let until_busy = || {
        let mut worker = emergence(&["sweep", &file, "--out", out.path().to_str().unwrap()]).spawn().unwrap();
        let busy = format!("{}: busy, process {} on", held.path().display(), std::process::id());
        let mut notes = BufReader::new(worker.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(notes.any(|note| note.starts_with(&busy)));
        (worker, notes)
    };
    let (mut worker, mut notes) = until_busy();
    kill("-TERM", &worker);
    assert!(notes.any(|note| note.contains("of 2 runs done, everything is saved; go on with the same command")));
    assert_eq!(worker.wait().unwrap().code(), Some(130));
    let (worker, mut notes) = until_busy();
    assert!(notes.any(|note| note.contains(": done, run 2 of 2")), "the other run is not waited with");
    drop(lock);
    assert!(notes.any(|note| note.starts_with(&format!("{}: done, run 1 of 2", held.path().display()))));
    assert!(worker.wait_with_output().unwrap().status.success());
}

#[test]
fn compare_reads_runs_and_folders_of_runs() {
    let (folder, out) = (tempfile::tempdir().unwrap(), finished());
    let beside = succeed(&["compare", out.path().to_str().unwrap()]);
    let runs: Vec<String> = runs(out.path()).iter().map(|run| run.to_str().unwrap().to_owned()).collect();
    let to = folder.path().join("tables");
    let named: Vec<&str> = runs.iter().map(String::as_str).collect();
    // A run that is named twice counts once, and of two copies that which has come further.
    let behind = folder.path().join("behind");
    std::fs::create_dir(&behind).unwrap();
    for file in ["config.toml", "baselines.csv", "cd.csv", "cd_best.csv", "metrics.csv"] {
        let text = std::fs::read_to_string(Path::new(&runs[0]).join(file)).unwrap();
        let until = |line: &&str| !line.starts_with("40,");
        std::fs::write(
            behind.join(file),
            text.lines().filter(until).map(|line| format!("{line}\n")).collect::<String>(),
        )
        .unwrap();
    }
    let copies = ["compare", behind.to_str().unwrap(), named[0]];
    let same = succeed(&[&copies[..], &named[..], &["--out", to.to_str().unwrap()]].concat());
    assert_eq!(beside, same);
    let alone = emergence(&["compare", behind.to_str().unwrap()]).output().unwrap();
    assert!(stderr(&alone).contains("not finished: measured until step 30 of 40"), "{}", stderr(&alone));
    for (folder, name) in [(out.path().join("compare"), "comparison"), (to, "cd_against_error")] {
        assert!(std::fs::read(folder.join(format!("{name}.png"))).unwrap().starts_with(b"\x89PNG"));
        assert!(std::fs::read_to_string(folder.join(format!("{name}.svg"))).unwrap().starts_with("<svg"));
    }
}

#[test]
fn a_page_names_its_runs_by_what_they_differ_in_and_has_them_in_that_order() {
    let names = |of: &[&Path]| {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("page.html");
        let of: Vec<&str> = of.iter().map(|path| path.to_str().unwrap()).collect();
        succeed(&[&["explore"], &of[..], &["--out", out.to_str().unwrap()]].concat());
        let page = std::fs::read_to_string(&out).unwrap();
        let name = |part: &str| part.split_once(" (noises-").map(|(name, _)| name.to_owned());
        page.split("\"name\":\"").filter_map(name).collect::<Vec<_>>()
    };
    let out = finished();
    let all =
        ["noise_variance = 0.01", "noise_variance = 0.5"].map(|noise| [0, 1].map(|s| format!("{noise}, seed {s}")));
    assert_eq!(names(&[out.path()]), all.concat());
    let seeds: Vec<PathBuf> = runs(out.path()).into_iter().filter(|run| noise_of(run) == 0.5).collect();
    assert_eq!(names(&[&seeds[1], &seeds[0]]), ["seed 0", "seed 1"]);
}

fn noise_of(run: &Path) -> f64 {
    let config = RunDir::open(run).unwrap().config().unwrap();
    config.task["noise_variance"].as_float().unwrap()
}

#[test]
fn a_run_is_compared_once_and_by_its_own_name_wherever_it_lies() {
    let [folder, made, moved] = [1, 2, 3].map(|_| tempfile::tempdir().unwrap());
    sweep(&write(folder.path(), "extends = \"smoke\"\nseeds = [0, 1]\n"), made.path(), &[]);
    // Both runs in folders of the same name, and one of them a second time.
    let places = ["a/run", "b/run", "copy"].map(|place| moved.path().join(place));
    for (run, place) in runs(made.path()).iter().cycle().zip(&places) {
        std::fs::create_dir_all(place).unwrap();
        for file in std::fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            std::fs::copy(&file, place.join(file.file_name().unwrap())).unwrap();
        }
    }
    let names = |out: &Path| {
        let ends = record::Folder::create(out).unwrap().table::<analysis::SweepRow>().read().unwrap();
        ends.into_iter().filter(|row| row.concept.is_none()).map(|row| row.run).collect::<Vec<_>>()
    };
    let expected = names(made.path());
    assert_eq!(expected.len(), 2);
    let paths = places.each_ref().map(|place| place.to_str().unwrap());
    let out = moved.path().join("tables");
    succeed(&[&["compare"], &paths[..], &["--out", out.to_str().unwrap()]].concat());
    assert_eq!(names(&out), expected);
    // From within a run, its tables lie beside it as well.
    let output = emergence(&["compare", "."]).current_dir(&places[0]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let made = runs(made.path());
    assert_eq!(names(&moved.path().join("a/compare")), [made[0].file_name().unwrap().to_str().unwrap()]);
}

#[test]
fn compare_takes_another_probe_and_averages_replaced_states() {
    let root = finished();
    let runs = runs(root.path());
    for run in &runs {
        succeed(&["patch", run.to_str().unwrap(), "--mean-prompts", "10"]);
    }
    succeed(&["compare", root.path().to_str().unwrap(), "--probe", "quadratic"]);
    let compared = record::Folder::create(&root.path().join("compare-quadratic")).unwrap();
    let ends = compared.table::<analysis::SweepRow>().read().unwrap();
    let best = run::RunDir::open(&runs[0]).unwrap().table::<analysis::BestLayerRow>().read().unwrap();
    let quadratic = best.iter().rfind(|row| {
        row.probe == ProbeKind::Quadratic && row.selection == Selection::HeldOut && matches!(row.token, Token::X(_))
    });
    let name = runs[0].file_name().unwrap().to_str().unwrap();
    let end = ends.iter().find(|row| row.run == name && row.concept.is_none()).unwrap();
    assert_eq!(end.cd, quadratic.unwrap().score);
    // Two groups; three layers with own and another concept's mean and three controls.
    assert!(compared.path().join("replacement.svg").exists());
    let replaced = compared.table::<analysis::ReplacementRow>().read().unwrap();
    assert_eq!(replaced.len(), 2 * 3 * 5);
    for row in replaced.iter().filter(|row| row.by == analysis::Replacement::Itself) {
        assert_eq!((row.change, row.lo, row.hi, row.n, row.raised), (0.0, Some(0.0), Some(0.0), 2, 0));
    }
    // Without the patched runs' tables nothing is left of their figure.
    runs.iter().for_each(|run| std::fs::remove_file(run.join("patching.csv")).unwrap());
    succeed(&["compare", root.path().to_str().unwrap(), "--probe", "quadratic"]);
    let figure = |name: &str| ["svg", "png"].map(|kind| compared.path().join(format!("{name}.{kind}")).exists());
    assert_eq!((figure("replacement"), figure("comparison")), ([false; 2], [true; 2]));
}

#[test]
fn the_end_of_a_run_is_its_held_out_decodability_by_knn() {
    let root = finished();
    let ends = record::Folder::create(root.path()).unwrap().table::<analysis::SweepRow>().read().unwrap();
    for path in runs(root.path()) {
        let best = run::RunDir::open(&path).unwrap().table::<analysis::BestLayerRow>().read().unwrap();
        let knn = |row: &&analysis::BestLayerRow| (row.probe, row.selection) == (ProbeKind::Knn, Selection::HeldOut);
        let expected = best.iter().filter(knn).rfind(|row| matches!(row.token, Token::X(_))).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let end = ends.iter().find(|row| row.run == name && row.concept.is_none()).unwrap();
        assert_eq!((end.cd, end.layer), (expected.score, expected.layer));
    }
}

/// Presets as well: each is a sweep of one run.
#[test]
fn every_sweep_is_complete() {
    let folders = [
        concat!(env!("CARGO_MANIFEST_DIR"), "/experiments"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/sweeps"),
    ];
    for entry in folders.into_iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let sweep = run::Sweep::resolve(&run::Source::File(path.clone()), &[]).unwrap();
            for config in sweep.configs {
                config
                    .build(&data::TaskRegistry::builtin())
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
        }
    }
}
