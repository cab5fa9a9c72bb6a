//! The tables of a run as curves over the steps, for TensorBoard.

use std::path::Path;

use record::{Cells, Output, RecordError, Scalars, write_events};

/// The tables that curves are made of, each with the columns that tell one curve from another; every other column but
/// `step` is a scalar. Left out are tables without a step, and those with a row for each prompt.
const CURVES: &[(&str, &[&str])] = &[
    ("training", &[]),
    ("adapter/tuning_loss", &[]),
    ("metrics", &["split", "concept", "position"]),
    ("accuracy", &["concept", "shots"]),
    ("cd", &["layer", "token", "probe", "concept"]),
    ("cd_best", &["token", "probe", "selection"]),
    ("cd_positions", &["position", "reader"]),
    ("cd_sites", &["layer", "token", "site", "probe", "concept"]),
    ("separation", &["layer", "token", "statistic"]),
    ("cd_pairs", &["layer", "token", "concept", "other"]),
    ("tdnv", &["layer", "token"]),
    ("algorithms", &["predictor", "concept", "position"]),
    ("patching", &["layer", "token", "position", "kind", "source", "target", "strength"]),
    ("interchange", &["layer", "places", "donor", "subspace", "rank", "target"]),
    ("interchange_heads", &["layer", "head", "places", "donor", "target"]),
    ("interventions", &["layer", "shots", "mean_shots", "kind", "source", "target", "strength"]),
    ("pruning", &["layer", "head", "concept"]),
    ("heads", &["layer", "head"]),
    ("sensitivity", &["layer", "token", "prompts_per_concept", "neighbours"]),
];

/// Every scalar of a run's tables, by step. The tag is `TABLE.COLUMN`, and behind it `/NAME=CELL` for each column that
/// tells the curve from others and is not empty: `cd.score/layer=2/token=x12/probe=knn`.
///
/// # Errors
/// When a table cannot be read, or a cell of a step or scalar is no number.
pub fn scalars(run: &Path) -> Result<Scalars, RecordError> {
    let mut scalars = Scalars::new();
    for (table, names) in CURVES {
        let path = run.join(format!("{table}.csv"));
        if let Some(cells) = Cells::read(&path)? {
            add(&mut scalars, table, names, &cells).map_err(|reason| RecordError::malformed(&path, reason))?;
        }
    }
    Ok(scalars)
}

/// Writes `scalars` as an event file of TensorBoard, in which the wall time of a scalar, in seconds, is its step.
///
/// # Errors
/// When something else is there and `force` is not given, or the file cannot be written.
pub fn write_scalars(scalars: &Scalars, path: &Path, force: bool) -> Result<(), RecordError> {
    write_events(path, Output { mark: "emergence export tables", force }, scalars)
}

/// Adds the scalars of one table, but for rows without a step: they are of what is not trained.
fn add(scalars: &mut Scalars, table: &str, names: &[&str], cells: &Cells) -> Result<(), String> {
    if !cells.columns.iter().any(|column| column == "step") {
        return Err("it has no column step".to_owned());
    }
    for (index, row) in cells.rows.iter().enumerate() {
        let filled = || cells.columns.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        let no_number = |(column, cell): (&String, &String)| format!("{column} in row {} is {cell}", index + 1);
        let Some(step) = filled().find(|(column, _)| *column == "step") else { continue };
        let at_step = scalars.entry(step.1.parse().map_err(|_| no_number(step))?).or_default();
        let is_name = |column: &str| names.contains(&column);
        let curve: String =
            filled().filter(|(column, _)| is_name(column)).map(|(column, cell)| format!("/{column}={cell}")).collect();
        for (column, cell) in filled().filter(|(column, _)| *column != "step" && !is_name(column)) {
            let scalar: f64 = cell.parse().map_err(|_| no_number((column, cell)))?;
            at_step.push((format!("{table}.{column}{curve}"), scalar as f32));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use record::Folder;

    use super::*;
    use crate::ALL;

    #[test]
    fn every_table_is_curves_or_known_to_be_none() {
        let tables = ALL.iter().flat_map(|entry| (entry.tables)(&Folder::at("")));
        let found: BTreeSet<String> = tables.map(|table| table.file().replace(".csv", "")).collect();
        let none = ["baselines", "transplant", "map", "answers"];
        let of_training = ["training", "adapter/tuning_loss"];
        let known = CURVES.iter().map(|(table, _)| *table).filter(|table| !of_training.contains(table)).chain(none);
        assert_eq!(found, known.map(str::to_owned).collect());
    }

    #[test]
    fn a_curve_is_named_by_what_tells_it_from_others() {
        let place = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(place.path().join(file), text).unwrap();
        assert!(scalars(place.path()).unwrap().is_empty());
        write("training.csv", "step,loss\n5,0.1\n");
        write("cd.csv", "step,layer,token,probe,concept,score,lo\n5,0,x6,knn,\"B1 (0,1)\",0.5,\n9,0,x6,knn,,1.0,0.5\n");
        write("cd_positions.csv", "step,position,reader,score\n,1,bayes,0.5\n");
        let tagged = |tag: &str, scalar| (tag.to_owned(), scalar);
        let expected = Scalars::from([
            (
                5,
                vec![tagged("training.loss", 0.1), tagged("cd.score/layer=0/token=x6/probe=knn/concept=B1 (0,1)", 0.5)],
            ),
            (
                9,
                vec![
                    tagged("cd.score/layer=0/token=x6/probe=knn", 1.0),
                    tagged("cd.lo/layer=0/token=x6/probe=knn", 0.5),
                ],
            ),
        ]);
        assert_eq!(scalars(place.path()).unwrap(), expected);
        for (text, words) in [
            ("loss\n0.5\n", "training.csv is damaged: it has no column step"),
            ("step,loss\n5,0.5\n6,low\n", "training.csv is damaged: loss in row 2 is low"),
            ("step,loss\n-1,0.5\n", "step in row 1 is -1"),
        ] {
            write("training.csv", text);
            let refusal = scalars(place.path()).unwrap_err().to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
