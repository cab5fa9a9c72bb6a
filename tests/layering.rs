//! An arrow between crates is a design change: it needs its own commit and a sentence in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::path::Path;

const MEMBERS: [&str; 7] = ["data", "model", "record", "run", "analysis", "trainer", "emergence"];

#[test]
fn crates_use_what_the_drawing_in_the_architecture_says() {
    let uses: [(&str, &[&str]); 6] = [
        ("data", &[]),
        ("model", &[]),
        ("record", &[]),
        ("run", &["data", "model", "record"]),
        ("analysis", &["data", "model", "record", "run"]),
        ("trainer", &["analysis", "data", "model", "record", "run"]),
    ];
    for (name, crates) in uses {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("crates/{name}/Cargo.toml"));
        let manifest: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let used: BTreeSet<&str> = ["dependencies", "dev-dependencies", "build-dependencies"]
            .iter()
            .filter_map(|section| manifest.get(*section)?.as_table())
            .flat_map(|section| section.keys().map(String::as_str))
            .filter(|dependency| MEMBERS.contains(dependency))
            .collect();
        assert_eq!(
            used,
            crates.iter().copied().collect(),
            "the arrows from `{name}` are a design decision: change ARCHITECTURE.md and this test in one commit"
        );
    }
}
