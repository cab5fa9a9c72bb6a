//! A command writes over its own earlier output and over nothing else, wherever `--out` leads.

use std::path::Path;

use crate::program::{check, files, smoke_run, succeed};

#[test]
fn nothing_of_a_run_is_written_over() {
    let (root, run) = smoke_run();
    let path = |inside: &str| run.join(inside).to_str().unwrap().to_owned();
    let (run, before) = (path(""), files(&run));
    let link = root.path().join("link").to_str().unwrap().to_owned();
    std::os::unix::fs::symlink(path("cd.csv"), &link).unwrap();
    let words = ["would be written over", "is a part of the run"];
    for force in [&[][..], &["--force"]] {
        for out in
            [path("metrics.csv"), path("checkpoints/00000040/model.safetensors"), path("config.toml"), link.clone()]
        {
            for what in ["states", "prompts"] {
                check(&[&["export", &run, "--what", what, "--out", &out], force].concat(), 2, &words);
            }
            check(&[&["explore", &run, "--out", &out], force].concat(), 2, &words);
        }
        let checkpoint = path("checkpoints/00000040");
        check(&[&["export", &run, "--what", "model", "--out", &checkpoint], force].concat(), 2, &words);
        for out in [&run, &checkpoint, &path("new")] {
            check(&[&["compare", &run, "--out", out], force].concat(), 2, &["is a part of the run"]);
            check(&[&["sweep", "smoke", "--out", out], force].concat(), 2, &["is a part of the run"]);
        }
    }
    assert!(files(Path::new(&run)) == before);
}

#[test]
fn what_another_program_wrote_stays_unless_the_command_is_forced() {
    let (root, run) = smoke_run();
    let run = run.to_str().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let foreign = ["would be written over", "--force writes over it"];
    for what in ["states", "prompts"] {
        let out = path(what);
        std::fs::write(&out, "somebody's").unwrap();
        let export = ["export", run, "--what", what, "--out", &out];
        check(&export, 2, &foreign);
        assert_eq!(std::fs::read(&out).unwrap(), b"somebody's");
        succeed(&[&export[..], &["--force"]].concat());
        // Its own file is known by what is in it, whatever it is called; that of another export is another's.
        succeed(&export);
        let other = if what == "states" { "prompts" } else { "states" };
        check(&["export", run, "--what", other, "--out", &out], 2, &foreign);
    }
    for (what, file) in [("model", "model.safetensors"), ("tables", "events.out.tfevents.emergence")] {
        let (folder, file) = (path(what), path(&format!("{what}/{file}")));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "somebody's").unwrap();
        let export = ["export", run, "--what", what, "--out", &folder];
        check(&export, 2, &foreign);
        assert_eq!(std::fs::read(&file).unwrap(), b"somebody's");
        succeed(&[&export[..], &["--force"]].concat());
        succeed(&export);
    }
    let table = path("compared/lag.csv");
    let compare = ["compare", run, "--out", &path("compared")];
    std::fs::create_dir(path("compared")).unwrap();
    std::fs::write(&table, "mine,yours\n1,2\n").unwrap();
    check(&compare, 2, &foreign);
    assert_eq!(std::fs::read(&table).unwrap(), b"mine,yours\n1,2\n");
    succeed(&[&compare[..], &["--force"]].concat());
    succeed(&compare);
    let nothing = path("nothing");
    std::os::unix::fs::symlink(path("absent"), &nothing).unwrap();
    check(&["export", run, "--out", &nothing], 2, &["is a link to nothing"]);
    assert!(Path::new(&nothing).is_symlink());
    check(&["export", run, "--out", root.path().to_str().unwrap()], 2, &["would be written over, but is not a file"]);
}

#[test]
fn a_page_is_written_over_an_earlier_page_and_over_nothing_else() {
    let (root, run) = smoke_run();
    let (usual, elsewhere) = (run.join("explore.html"), root.path().join("page"));
    let (run, named) = (run.to_str().unwrap(), elsewhere.to_str().unwrap());
    let inside = ["explore", run];
    let outside = ["explore", run, "--out", named];
    for path in [&usual, &elsewhere] {
        std::fs::write(path, "somebody's").unwrap();
    }
    // In the run's folder not even by force.
    for explore in [&inside[..], &["explore", run, "--force"]] {
        check(explore, 2, &["would be written over", "is a part of the run"]);
    }
    check(&outside, 2, &["would be written over", "--force writes over it"]);
    for path in [&usual, &elsewhere] {
        assert_eq!(std::fs::read(path).unwrap(), b"somebody's");
    }
    succeed(&[&outside[..], &["--force"]].concat());
    std::fs::remove_file(&usual).unwrap();
    succeed(&inside);
    let page = std::fs::read(&usual).unwrap();
    for explore in [&inside[..], &outside] {
        succeed(explore);
    }
    assert!([&usual, &elsewhere].iter().all(|path| std::fs::read(path).unwrap() == page), "the same page again");
    check(&["export", run, "--what", "states", "--out", named], 2, &["would be written over"]);
}
