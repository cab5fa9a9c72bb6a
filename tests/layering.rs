//! Which crate uses which: the table in ARCHITECTURE.md is what the manifests say. A new arrow between crates is a design
//! decision and changes that table. And which file alone changes the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What stands between backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the table: a crate, what it uses, and what it uses with its feature `cli` only.
fn drawn() -> BTreeMap<String, [BTreeSet<String>; 2]> {
    let text = read("ARCHITECTURE.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| crate | uses |")).skip(2);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), [names(cells[2]), names(cells[3])])
    };
    table.take_while(|line| line.starts_with('|')).map(row).filter(|(name, _)| name != "emergence").collect()
}

#[test]
fn crates_use_what_the_table_in_the_architecture_says() {
    let drawn = drawn();
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates")).unwrap();
    let folders = folders.map(|entry| entry.unwrap()).filter(|entry| entry.path().join("Cargo.toml").exists());
    let crates: BTreeSet<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(crates, drawn.keys().cloned().collect());
    for (name, [always, with_cli]) in &drawn {
        let manifest: toml::Table = read(&format!("crates/{name}/Cargo.toml")).parse().unwrap();
        let mut used = [BTreeSet::new(), BTreeSet::new()];
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (dependency, how) in manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
                if crates.contains(dependency) {
                    let optional = how.get("optional").is_some_and(|optional| optional.as_bool() == Some(true));
                    used[usize::from(optional)].insert(dependency.clone());
                }
            }
        }
        assert_eq!(used, [always.clone(), with_cli.clone()], "what `{name}` uses, and what with `cli` only");
    }
}

#[test]
fn no_arrow_points_up() {
    let text = read("ARCHITECTURE.md");
    let floors = text.lines().filter_map(|line| line.strip_prefix("floor "));
    let floor: BTreeMap<&str, usize> = floors
        .flat_map(|line| {
            let (number, crates) = line.split_once(' ').unwrap();
            crates.split_whitespace().map(move |name| (name, number.parse().unwrap()))
        })
        .collect();
    for (name, used) in drawn() {
        for below in used.iter().flatten() {
            assert!(floor[below.as_str()] < floor[name.as_str()], "{name} uses {below}");
        }
    }
}

/// Every crate that a crate is built of, with features or without, as Cargo.lock says.
fn built_of(root: &str) -> BTreeSet<String> {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let names = |package: &toml::Value| {
        let used = package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
        // Behind a name may stand a version.
        used.map(|name| name.as_str().unwrap().split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let packages = lock["package"].as_array().unwrap();
    let mut uses: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in packages {
        uses.entry(package["name"].as_str().unwrap()).or_default().extend(names(package));
    }
    let (mut found, mut open) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(uses[name.as_str()].iter().cloned());
        }
    }
    found
}

#[test]
fn the_program_that_trains_has_no_server_in_it() {
    for program in ["trainer", "analysis", "pretrained"] {
        let crates = built_of(program);
        assert!(crates.contains("burn") && !crates.contains("server") && !crates.contains("axum"), "{program}");
    }
    assert!(built_of("emergence").contains("axum"));
}

/// Where the code of a file ends and its tests begin.
const TESTS: [&str; 2] = ["\nmod tests {", "\npub(crate) mod tests {"];

/// What changes the disk, in the standard library.
const CHANGES: [&str; 9] = [
    "fs::write",
    "fs::rename",
    "fs::copy",
    "fs::remove",
    "fs::create_dir",
    "fs::hard_link",
    "File::create",
    "File::options",
    "OpenOptions",
];

/// The files of the crates' programs and libraries.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn one_file_changes_the_disk() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let folders = std::fs::read_dir(&crates).unwrap().map(|entry| entry.unwrap().path().join("src"));
    let is_of_tests = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with("tests.rs") || name == "planted.rs"
    };
    let changes = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let code = TESTS.iter().fold(&*text, |code, tests| code.split(tests).next().unwrap());
        CHANGES.iter().any(|change| code.contains(change))
    };
    let all = folders.filter(|folder| folder.is_dir()).flat_map(|folder| sources(&folder));
    let found: Vec<PathBuf> = all.filter(|path| !is_of_tests(path)).filter(changes).collect();
    assert_eq!(found, [crates.join("record/src/disk.rs")]);
}
