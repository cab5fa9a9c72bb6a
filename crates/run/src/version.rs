//! Configurations of earlier programs, and what they mean today.

use record::hex;
use serde::ser::{Serialize, SerializeMap, Serializer};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::ConfigError;
use crate::checks::check;

/// The version of configurations that this program writes. A file without one is of version 1, unless it extends another.
pub(crate) const VERSION: u32 = MIGRATIONS[MIGRATIONS.len() - 1].to;

/// A step from one version of configurations to the next.
pub(crate) struct Migration {
    /// The version behind it.
    to: u32,
    /// Writes what the programs before it did without saying so, which need not be what `experiments/base.toml` says
    /// today: an old run keeps its meaning.
    apply: fn(&mut Table),
}

/// Every step, in order. A field that is added, renamed or removed gets one, and no field of an old run is filled elsewhere.
pub(crate) const MIGRATIONS: &[Migration] = &[
    // The version is written down. Nothing else is new.
    Migration { to: 2, apply: |_table| () },
];

/// The version of `table`, which extends nothing.
///
/// # Errors
/// When it says one that this program does not know.
pub(crate) fn version(table: &Table) -> Result<u32, ConfigError> {
    let known = |version: &i64| u32::try_from(*version).is_ok_and(|version| (1..=VERSION).contains(&version));
    match table.get("version") {
        None => Ok(1),
        Some(Value::Integer(version)) if known(version) => Ok(*version as u32),
        Some(Value::Integer(version)) if *version > i64::from(VERSION) => {
            let range = format!("between 1 and {VERSION}, what this program knows");
            check("version", range, format!("{version}, of a newer program"), false).map(|()| 1)
        }
        Some(other) => {
            check("version", format!("between 1 and {VERSION}, what this program knows"), other, false).map(|()| 1)
        }
    }
}

/// Brings a whole configuration to the version of today.
///
/// # Errors
/// As [`version`].
pub(crate) fn migrate(table: &mut Table) -> Result<(), ConfigError> {
    let from = version(table)?;
    apply_behind(from, MIGRATIONS, table);
    table.insert("version".to_owned(), Value::Integer(VERSION.into()));
    Ok(())
}

fn apply_behind(version: u32, migrations: &[Migration], table: &mut Table) {
    migrations.iter().filter(|migration| migration.to > version).for_each(|migration| (migration.apply)(table));
}

/// The hash in the name of the folder of a run of version 1: of the text that its program wrote, without the name, the
/// number of full checkpoints, and the notes on what it continues from.
pub(crate) fn identity_of_version_1(table: &Table) -> String {
    let mut same = table.clone();
    let mut blank = |section: &str, field: &str, value: Value| {
        let fields = same.get_mut(section).and_then(Value::as_table_mut);
        fields.and_then(|fields| fields.get_mut(field)).into_iter().for_each(|found| *found = value.clone());
    };
    blank("checkpoints", "full", Value::Integer(1));
    blank("finetune", "run", Value::String(String::new()));
    blank("finetune", "step", Value::Integer(0));
    same.insert("name".to_owned(), Value::String(String::new()));
    let text = toml::to_string_pretty(&InOrder { table: &same, order: &ORDER }).unwrap_or_default();
    hex(&Sha256::digest(text))[..8].to_owned()
}

/// The fields as version 1 wrote them; those of a task stand in alphabetical order.
#[rustfmt::skip]
const ORDER: [&str; 46] = [
    "name", "seed", "task", "model", "train", "eval", "probe", "checkpoints", "finetune",
    "d_model", "n_layers", "n_heads", "init", "read_in_gain", "position_std", "latent", "width", "decoder_layers",
    "kind", "steps", "batch_size", "shards", "learning_rate", "schedule", "beta_1", "beta_2", "epsilon", "clip_norm",
    "log_every", "warm_up", "until", "floor",
    "probes", "neighbours", "folds", "ridge", "shrinkage", "prompts_per_concept", "resamples", "tokens",
    "every", "full", "run", "step", "weights", "free",
];

/// A table whose fields are written in that order, and all others behind them as they are.
struct InOrder<'a> {
    table: &'a Table,
    order: &'a [&'a str],
}

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = |name: &str| self.order.iter().position(|field| *field == name).unwrap_or(self.order.len());
        let mut fields: Vec<(&String, &Value)> = self.table.iter().collect();
        fields.sort_by_key(|(name, _)| place(name));
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for (name, value) in fields {
            match value {
                Value::Table(table) if name == "task" => map.serialize_entry(name, table)?,
                Value::Table(table) => map.serialize_entry(name, &InOrder { table, order: self.order })?,
                value => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

/// What `train smoke` wrote in version 1.
#[cfg(test)]
pub(crate) const OF_VERSION_1: &str = include_str!("fixtures/version_1.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::apply;

    #[test]
    fn the_names_of_folders_of_version_1_are_known() {
        let with = |sets: &[&str]| {
            let mut table: Table = OF_VERSION_1.parse().unwrap();
            sets.iter().for_each(|set| apply(&mut table, set).unwrap());
            table
        };
        let finetune = "finetune={run=\"smoke-987aa00a\",step=40,free={last=1},\
            weights=\"713a82f8f99877b2ea2560a5a6f9deeed2b21f8f750350e1e284172196794e52\"}";
        // As the program named the folders then.
        let cases: [(&[&str], &str); 4] = [
            (&[], "987aa00a"),
            (&["name=other", "checkpoints.full=9"], "987aa00a"),
            (&["name=smoke-finetune", "task.bases={coordinates=[[0,2],[1,3]]}", finetune], "8a5dd2e0"),
            (&["model.latent={width=4,decoder_layers=1}", SCHEDULE], "9af9c3d1"),
        ];
        for (sets, hash) in cases {
            assert_eq!(identity_of_version_1(&with(sets)), hash, "{sets:?}");
        }
    }

    const SCHEDULE: &str = "train.schedule={kind=\"cosine\",warm_up=5,until=50,floor=0.1}";

    #[test]
    fn migrations_behind_the_version_are_applied_in_order() {
        let steps = [
            Migration { to: 2, apply: |table| drop(table.insert("a".to_owned(), Value::Integer(1))) },
            Migration { to: 3, apply: |table| drop(table.remove("a").map(|a| table.insert("b".to_owned(), a))) },
        ];
        let mut old = Table::new();
        apply_behind(1, &steps, &mut old);
        assert_eq!(old, "b = 1".parse().unwrap());
        let mut newer: Table = "a = 7".parse().unwrap();
        apply_behind(2, &steps, &mut newer);
        assert_eq!(newer, "b = 7".parse().unwrap());
        apply_behind(3, &steps, &mut newer);
        assert_eq!(newer, "b = 7".parse().unwrap());
    }

    #[test]
    fn a_version_that_is_not_known_is_refused() {
        for (text, words) in
            [("version = 3", "but is 3"), ("version = 0", "but is 0"), ("version = \"2\"", "but is \"2\"")]
        {
            let refusal = migrate(&mut text.parse().unwrap()).unwrap_err().to_string();
            assert!(refusal.starts_with("version must be between 1 and 2") && refusal.contains(words), "{refusal}");
        }
    }
}
