//! Whatever is written where a configuration or weights should be is taken or refused, without a panic.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use run::{Config, Source};

/// Any text of `characters`.
fn text(characters: impl Strategy<Value = char>, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(characters, 0..=most).prop_map(|characters| characters.into_iter().collect())
}

/// Any TOML value up to a small depth.
fn value() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(toml::Value::Integer),
        any::<f64>().prop_map(toml::Value::Float),
        any::<bool>().prop_map(toml::Value::Boolean),
        text(prop::char::any(), 8).prop_map(toml::Value::String),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(toml::Value::Array),
            prop::collection::btree_map(text(prop::char::range('a', 'z'), 8), inner, 0..3)
                .prop_map(|table| toml::Value::Table(table.into_iter().collect())),
        ]
    })
}

/// A value such as a field has, which may well be taken.
fn like(there: toml::Value) -> BoxedStrategy<toml::Value> {
    match there {
        toml::Value::Integer(_) => (1..40_i64).prop_map(toml::Value::Integer).boxed(),
        toml::Value::Float(_) => (0.001..0.999).prop_map(toml::Value::Float).boxed(),
        other => Just(other).boxed(),
    }
}

#[test]
fn any_value_in_any_field_is_taken_or_refused() {
    const CASES: u32 = 2000;
    let smoke = Config::resolve(&Source::named("smoke"), &[]).unwrap();
    let table: toml::Table = smoke.to_toml().parse().unwrap();
    let in_section = |(section, value): (&String, &toml::Value)| match value {
        toml::Value::Table(fields) => {
            fields.iter().map(|(field, value)| (format!("{section}.{field}"), value.clone())).collect()
        }
        value => vec![(section.clone(), value.clone())],
    };
    let fields: Vec<(String, toml::Value)> = table.iter().flat_map(in_section).collect();
    let field_and_value =
        prop::sample::select(fields).prop_flat_map(|(path, there)| (Just(path), prop_oneof![value(), like(there)]));
    let taken = Cell::new(0);
    let property = |(path, value): (String, toml::Value)| {
        if let Ok(config) = Config::resolve(&Source::named("smoke"), &[format!("{path}={value}")]) {
            let again = config.to_toml();
            if let Ok(experiment) = config.build(&data::TaskRegistry::builtin()) {
                taken.set(taken.get() + 1);
                prop_assert_eq!(experiment.config.to_toml(), again);
            }
        }
        Ok(())
    };
    let mut runner = TestRunner::new(ProptestConfig::with_cases(CASES));
    runner.run(&field_and_value, property).unwrap();
    eprintln!("{} of {CASES} values were taken", taken.get());
    assert!(taken.get() > CASES / 5, "{} of {CASES} values were taken, so that hardly any is checked", taken.get());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn text_that_is_no_configuration_is_refused(text in text(prop::char::any(), 60)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.toml");
        std::fs::write(&path, &text).unwrap();
        prop_assert!(Config::resolve(&Source::File(path), &[]).is_err());
    }

    #[test]
    fn bytes_that_are_no_weights_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(model::decode(&bytes).is_err());
    }
}
