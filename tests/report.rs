//! A finished run has every table, figure and a report that opens offline.

use analysis::{BestLayerRow, ComponentRow, DecodabilityRow, Selection};
use data::Token;
use probe::{Component, ProbeKind};
use run::RunDir;

use crate::program::{emergence, only_run, smoke_run, stderr, succeed};

#[test]
fn one_command_makes_tables_figures_and_a_report() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().to_str().unwrap();
    let text = succeed(&["train", "smoke", "--quiet", "--out", out]);
    let run = only_run(root.path());
    for column in ["model", "ridge", "bayes", "oracle", "Concept Decodability", "report:"] {
        assert!(text.contains(column), "no {column} in\n{text}");
    }
    for table in ["metrics", "training", "baselines", "cd", "cd_best", "map"] {
        let rows = std::fs::read_to_string(run.join(format!("{table}.csv"))).unwrap().lines().count();
        assert!(rows > 1, "{table}.csv has {rows} lines");
    }
    for figure in ["emergence", "heatmap", "positions", "map"] {
        let png = std::fs::read(run.join(format!("plots/{figure}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{figure}.png");
        assert!(std::fs::read_to_string(run.join(format!("plots/{figure}.svg"))).unwrap().starts_with("<svg"));
    }
    let html = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert_eq!(html.matches("<svg").count(), 4);
    assert!(!html.contains("<script") && !html.contains("src=\"http") && !html.contains("href=\"http"));
}

#[test]
fn progress_shows_concept_decodability() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().to_str().unwrap();
    // One row, at the last step, whose checkpoint is measured behind it; so what is shown is of the one before.
    let output = emergence(&["train", "smoke", "--out", out, "--set", "train.log_every=40"]).output().unwrap();
    let run = RunDir::open(&only_run(root.path())).unwrap();
    let rows = run.table::<BestLayerRow>().read().unwrap();
    let at = |step, probe| {
        let is_it = |row: &&BestLayerRow| {
            (row.step, row.probe, row.selection, row.token) == (step, probe, Selection::HeldOut, Token::X(6))
        };
        format!("CD {:.2} (chance 0.50) ", rows.iter().find(is_it).unwrap().score)
    };
    assert_ne!(at(30, ProbeKind::Knn), at(30, ProbeKind::Quadratic));
    assert!(stderr(&output).contains(&at(30, ProbeKind::Knn)), "{}", stderr(&output));
}

#[test]
fn what_is_named_twice_is_done_once() {
    let (_root, run) = smoke_run();
    let cases = [
        ["map", "--layer", "1", "map"],
        ["positions", "--step", "10", "cd_positions"],
        ["sites", "--step", "10", "cd_sites"],
        ["patch", "--strengths", "-1", "patching"],
    ];
    for [command, option, value, table] in cases {
        let rows = |options: &[&str]| {
            succeed(&[&[command, run.to_str().unwrap()], options].concat());
            std::fs::read_to_string(run.join(format!("{table}.csv"))).unwrap()
        };
        assert!(rows(&[option, value]) == rows(&[option, value, option, value]), "{command} {option}");
    }
}

#[test]
fn what_is_asked_of_a_finished_run_gets_a_table_and_is_in_the_next_report() {
    let (_root, run) = smoke_run();
    let run_name = run.to_str().unwrap();
    for command in ["positions", "separation", "sensitivity", "sites"] {
        let tables = succeed(&[command, run_name]);
        for table in tables.lines() {
            assert!(std::fs::read_to_string(table).unwrap().lines().count() > 1, "{table}");
        }
    }
    succeed(&["report", run_name]);
    let html = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert_eq!(html.matches("<svg").count(), 8);
    assert!(html.contains("Sensitivity of Concept Decodability"));
}

#[test]
fn figures_and_captions_are_of_the_same_tables_and_token() {
    let root = tempfile::tempdir().unwrap();
    let tokens = "probe.tokens=[\"y6\",\"x3\",\"x6\"]";
    succeed(&["train", "smoke", "--quiet", "--set", tokens, "--out", root.path().to_str().unwrap()]);
    let run = only_run(root.path());
    let run_name = run.to_str().unwrap();
    let report = || {
        succeed(&["report", run_name]);
        std::fs::read_to_string(run.join("report.html")).unwrap()
    };
    assert!(report().contains("of the x6 token"));
    succeed(&["patch", run_name, "--layer", "2", "--steer", "0"]);
    assert!(report().contains("layer 2, token x6 replaced"));
    assert!(run.join("plots/patching.png").exists());
    std::fs::remove_file(run.join("patching.csv")).unwrap();
    assert!(!report().contains("replaced"));
    assert!(!run.join("plots/patching.png").exists() && !run.join("plots/steering.svg").exists());
}

#[test]
fn a_run_without_an_x_token_has_its_figures() {
    let root = tempfile::tempdir().unwrap();
    let tokens = "probe.tokens=[\"last_y\"]";
    succeed(&["train", "smoke", "--quiet", "--set", tokens, "--out", root.path().to_str().unwrap()]);
    let run = only_run(root.path());
    assert!(std::fs::read_to_string(run.join("plots/emergence.svg")).unwrap().contains("token y6"));
    assert!(run.join("plots/heatmap.png").exists());
}

#[test]
fn every_method_of_the_map_has_rows_and_a_figure_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let many = "probe.prompts_per_concept=16";
    succeed(&["train", "smoke", "--quiet", "--set", many, "--out", root.path().to_str().unwrap()]);
    let run = only_run(root.path());
    let run_name = run.to_str().unwrap();
    let components = std::fs::read_to_string(run.join("map.csv")).unwrap();
    // A t-SNE map is of an older program.
    let older = components.lines().skip(1).map(|row| format!("{}\n", row.replacen("pca", "tsne", 1)));
    std::fs::write(run.join("map.csv"), components.clone() + &older.collect::<String>()).unwrap();
    for method in ["umap", "umap"] {
        succeed(&["map", run_name, "--method", method]);
    }
    let table = std::fs::read_to_string(run.join("map.csv")).unwrap();
    assert!(table.starts_with(&components), "principal components stay as they were");
    assert_eq!(table.lines().count() - 1, 3 * (components.lines().count() - 1));
    succeed(&["map", run_name, "--method", "umap", "--token", "last_y"]);
    succeed(&["report", run_name]);
    let svg = |name: &str| std::fs::read_to_string(run.join("plots").join(name)).unwrap();
    assert!(svg("map_umap.svg").contains("token y6") && svg("map_tsne.svg").contains("token x6"));
    let html = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(html.contains("Hidden states, UMAP") && html.contains("Hidden states, t-SNE"));
    assert!(run.join("plots/map_umap.png").exists() && run.join("plots/map_tsne.png").exists());
}

#[test]
fn tables_computed_again_from_checkpoints_are_the_same() {
    let (_root, run) = smoke_run();
    for (command, table) in
        [("cd", "cd.csv"), ("cd", "cd_best.csv"), ("map", "map.csv"), ("baselines", "baselines.csv")]
    {
        let before = std::fs::read_to_string(run.join(table)).unwrap();
        succeed(&[command, run.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(run.join(table)).unwrap(), before, "{table}");
    }
}

#[test]
fn the_residual_stream_among_the_sites_is_the_one_of_the_cd_table() {
    let (_root, run) = smoke_run();
    let run = RunDir::open(&run).unwrap();
    succeed(&["sites", run.path().to_str().unwrap(), "--step", "40,8"]);
    let sites = run.table::<ComponentRow>().read().unwrap();
    let residual: Vec<DecodabilityRow> = sites
        .into_iter()
        .filter(|row| row.component == Component::Residual)
        .map(|ComponentRow { step, layer, token, probe, score, chance, lo, hi, n, .. }| DecodabilityRow {
            step,
            layer,
            token,
            probe,
            concept: None,
            score,
            chance,
            lo,
            hi,
            n,
        })
        .collect();
    let mut cd = run.table::<DecodabilityRow>().read().unwrap();
    cd.retain(|row| row.concept.is_none() && [8, 40].contains(&row.step));
    assert_eq!(residual, cd);
}

#[test]
fn the_algorithm_trace_enters_the_report() {
    let (_root, run) = smoke_run();
    succeed(&["algorithms", run.to_str().unwrap()]);
    succeed(&["report", run.to_str().unwrap()]);
    let html = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert_eq!(html.matches("<svg").count(), 5);
    assert!(
        html.contains("answers are nearest to: zero from step 0 on."),
        "a model that has learned nothing answers with little"
    );
}
