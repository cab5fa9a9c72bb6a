//! Which runs differ only in their seeds, and what the others differ in.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::Compared;

/// Fields that do not make another experiment of a run: its version and name, its seed, what it keeps, and which weights of the
/// same kind it continues from.
const OF_THE_RUN: [&str; 6] = ["version", "name", "seed", "checkpoints.full", "finetune.run", "finetune.weights"];

/// Fields that a label can name all of.
const FEW: usize = 2;

/// The label of what has no field that differs from most.
const AS_MOST: &str = "as most are";

/// A label a run. Runs that differ only in their seeds have the same: the fields that differ between the groups with
/// their values; the name instead where every group has one of its own.
pub fn group_labels(runs: &[Compared]) -> Vec<String> {
    let runs: Vec<_> = runs.iter().map(|run| (run.name.clone(), run.fields.clone())).collect();
    labels(&runs)
}

fn labels(runs: &[(String, BTreeMap<String, String>)]) -> Vec<String> {
    let fields = |(_, fields): &(String, BTreeMap<String, String>)| {
        let mut fields = fields.clone();
        fields.retain(|path, _| !OF_THE_RUN.contains(&path.as_str()));
        fields
    };
    let fields: Vec<BTreeMap<String, String>> = runs.iter().map(fields).collect();
    let labels = differences(&fields);
    let names: Vec<String> = runs.iter().map(|(name, _)| name.clone()).collect();
    let distinct = |all: &[String]| all.iter().collect::<BTreeSet<_>>().len();
    let pairs = names.iter().zip(&labels).collect::<BTreeSet<_>>().len();
    match names.iter().min() {
        // Under several names the same experiment.
        Some(first) if labels.iter().all(String::is_empty) => vec![first.clone(); names.len()],
        _ if distinct(&names) == pairs && distinct(&labels) == pairs => names,
        _ => labels,
    }
}

/// Of every set of fields those that are not the same in all, with their values. Where many differ, a value that more than half
/// of the sets have is left out: it is the others that tell them apart.
pub fn differences(sets: &[BTreeMap<String, String>]) -> Vec<String> {
    let paths: BTreeSet<&String> = sets.iter().flat_map(BTreeMap::keys).collect();
    let varies = |path: &&String| sets.iter().any(|fields| fields.get(*path) != sets[0].get(*path));
    let varied: Vec<&String> = paths.into_iter().filter(varies).collect();
    let is_usual = |value: Option<&String>, path: &String| {
        varied.len() > FEW && 2 * sets.iter().filter(|fields| fields.get(path) == value).count() > sets.len()
    };
    let setting = |fields: &BTreeMap<String, String>, path: &String| {
        let (value, field) = (fields.get(path), shortest(path, &varied));
        let written = || value.map_or(format!("no {field}"), |value| format!("{field} = {}", value.trim_matches('"')));
        (!is_usual(value, path)).then(written)
    };
    let label = |fields| varied.iter().filter_map(|path| setting(fields, path)).collect::<Vec<_>>().join(", ");
    let as_most = |label: String| if label.is_empty() && !varied.is_empty() { AS_MOST.to_owned() } else { label };
    sets.iter().map(label).map(as_most).collect()
}

/// The last parts of a path, as few as no other of `all` ends with.
fn shortest<'a>(path: &'a str, all: &[&String]) -> &'a str {
    let ends = path.rmatch_indices('.').map(|(dot, _)| &path[dot + 1..]);
    let is_one = |end: &&str| all.iter().filter(|other| format!(".{other}").ends_with(&format!(".{end}"))).count() == 1;
    ends.into_iter().find(is_one).unwrap_or(path)
}

/// The order of labels: word by word, where numbers go by their size and before other words, also at the end of a name.
pub(crate) fn compare_labels(a: &str, b: &str) -> Ordering {
    let words = |label: &str| label.split_whitespace().count();
    let compare = |(a, b): (&str, &str)| {
        let [first, second] = [a, b].map(|word| word.trim_end_matches(',').parse::<f64>());
        match (first, second) {
            (Ok(first), Ok(second)) => first.total_cmp(&second),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => numbered(a).cmp(&numbered(b)),
        }
    };
    let found = a.split_whitespace().zip(b.split_whitespace()).map(compare).find(|order| order.is_ne());
    found.unwrap_or_else(|| words(a).cmp(&words(b)).then(a.cmp(b)))
}

/// A word's name and the number behind it, as in `pool-16`; most words are names alone.
fn numbered(word: &str) -> (&str, Option<u64>) {
    let word = word.trim_end_matches(',');
    let numbered = word.rsplit_once('-').and_then(|(name, number)| Some((name, Some(number.parse().ok()?))));
    numbered.unwrap_or((word, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The labels of runs of one configuration with other values of some fields, `path=value`.
    fn labels(runs: &[&[&str]]) -> Vec<String> {
        let usual = ["name=smoke", "seed=0", "task.n_points=6", "model.init=\"fan_in\""];
        let run = |sets: &&[&str]| {
            let fields: BTreeMap<String, String> = (usual.iter().chain(*sets))
                .map(|set| set.split_once('=').unwrap())
                .map(|(path, value)| (path.to_owned(), value.to_owned()))
                .collect();
            (fields["name"].clone(), fields)
        };
        super::labels(&runs.iter().map(run).collect::<Vec<_>>())
    }

    #[test]
    fn seeds_of_one_experiment_are_one_group() {
        assert_eq!(labels(&[&["seed=0"], &["seed=1"]]), ["smoke", "smoke"]);
        assert_eq!(labels(&[&["name=b", "seed=0"], &["name=a", "seed=1"]]), ["a", "a"]);
    }

    #[test]
    fn groups_are_called_by_what_differs() {
        let found = labels(&[&["task.n_points=4"], &["task.n_points=6"], &["task.n_points=6", "seed=2"]]);
        assert_eq!(found, ["n_points = 4", "n_points = 6", "n_points = 6"]);
        let found = labels(&[&[], &["task.bases.blocks.shared=1"]]);
        assert_eq!(found, ["no shared", "shared = 1"]);
        let found = labels(&[&["model.init=\"gpt2\""], &["task.weights=[1.0, 2.0]"]]);
        assert_eq!(found, ["init = gpt2, no weights", "init = fan_in, weights = [1.0, 2.0]"]);
        let found = labels(&[&["eval.n=1", "probe.n=2", "steps=3"], &["eval.n=2", "probe.n=1", "steps=4"]]);
        assert_eq!(found[0], "eval.n = 1, probe.n = 2, steps = 3");
    }

    #[test]
    fn where_many_fields_differ_what_most_have_is_left_out() {
        let found = labels(&[&["a=1", "b=1", "c=1"], &["a=2", "b=1", "c=1"], &["a=1", "b=2", "c=2"], &["a=1", "b=1"]]);
        assert_eq!(found, ["c = 1", "a = 2, c = 1", "b = 2, c = 2", "no c"]);
        let found = labels(&[&["a=1"], &["a=2"], &["b=1"], &["c=1"], &["a=1", "d_model=4"], &["a=1"], &["a=1"]]);
        assert_eq!(found[0], "as most are");
    }

    #[test]
    fn labels_stand_in_the_order_of_their_numbers() {
        let sorted = ["n = 6", "n = 12", "n = 12, m = 2", "n = 12, m = 10", "n = all", "no n", "no n at all"];
        let mut found = sorted;
        found.sort_unstable();
        assert_ne!(found, sorted);
        found.sort_by(|a, b| compare_labels(a, b));
        assert_eq!(found, sorted);
        assert!(compare_labels("pool-4", "pool-16").is_lt() && compare_labels("pool-16", "fresh").is_gt());
    }

    #[test]
    fn labels_have_one_order_wherever_they_begin() {
        let sorted = ["pool-4", "pool-16", "pool-4-small", "pool-16-small, 3", "pool-16-small, 12"];
        let mut all = sorted.map(str::to_owned).to_vec();
        all.sort_by(|a, b| compare_labels(a, b));
        let expected = all.clone();
        for turn in 0..all.len() {
            all.rotate_left(turn);
            all.sort_by(|a, b| compare_labels(a, b));
            assert_eq!(all, expected);
        }
        for [a, b, c] in
            [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 4], [0, 3, 4]].map(|places| places.map(|at| &expected[at]))
        {
            assert!(compare_labels(a, b).is_lt() && compare_labels(b, c).is_lt() && compare_labels(a, c).is_lt());
        }
    }

    #[test]
    fn names_win_where_every_group_has_its_own() {
        let found = labels(&[&["name=short", "task.n_points=4"], &["name=long", "task.n_points=6"]]);
        assert_eq!(found, ["short", "long"]);
        // One name for two experiments tells them not apart.
        let found = labels(&[&["name=a", "task.n_points=4"], &["name=a", "task.n_points=6"]]);
        assert_eq!(found, ["n_points = 4", "n_points = 6"]);
    }
}
