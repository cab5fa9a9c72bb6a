//! The pages of a folder of runs, asked for through the socket: what is listed, how it changes, and who is refused what.

use std::fs::{copy, create_dir, read_to_string, remove_dir_all, remove_file, write};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use run::RunDir;
use serde_json::Value;
use trainer::TrainingRow;

use crate::program::{asking_signals, check, emergence, files, kill, smoke_run};

/// How long a change on the disk may take to be listed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program while it serves a folder on a free port.
struct Served {
    program: Option<Child>,
    /// The address that it printed, from the host on.
    link: String,
}

struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Served {
    fn new(folder: &Path, more: &[&str]) -> Self {
        let mut program = emergence(&[&["serve", folder.to_str().unwrap(), "--port", "0"], more].concat());
        let mut program = program.stderr(Stdio::null()).spawn().unwrap();
        let mut link = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut link).unwrap();
        let link = link.trim().strip_prefix("http://").unwrap().to_owned();
        Self { program: Some(program), link }
    }

    fn port(&self) -> u16 {
        let host = self.link.split('/').next().unwrap();
        host.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Sends a request line and headers as they are.
    fn send(&self, head: &str) -> Answer {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        write!(socket, "{head}\r\nConnection: close\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let code = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        Answer { code, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn get(&self, address: &str) -> Answer {
        self.send(&format!("GET {address} HTTP/1.1\r\nHost: localhost"))
    }

    fn list(&self) -> Value {
        let answer = self.get("/api/runs");
        assert_eq!(answer.code, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// What the list says of a run.
    fn run(&self, name: &str) -> Option<Value> {
        let list = self.list();
        list["runs"].as_array().unwrap().iter().find(|run| run["name"] == name).cloned()
    }

    /// Waits until the list says of a run what it should.
    fn wait(&self, name: &str, is_so: impl Fn(Option<&Value>) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let run = self.run(name);
            if is_so(run.as_ref()) {
                return run.unwrap_or_default();
            }
            assert!(started.elapsed() < PATIENCE, "{name} is {run:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn wait_for(&self, name: &str, state: &str) -> Value {
        self.wait(name, |run| run.is_some_and(|run| run["state"] == state))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill().unwrap();
            program.wait().unwrap();
        }
    }
}

fn name_of(run: &Path) -> String {
    run.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A run that was made and never trained, beside a whole one.
fn untrained(run: &Path, name: &str) -> PathBuf {
    let other = run.parent().unwrap().join(name);
    create_dir(&other).unwrap();
    for file in ["config.toml", "seal.toml", "legend.toml"] {
        copy(run.join(file), other.join(file)).unwrap();
    }
    other
}

#[test]
fn a_run_is_listed_with_what_was_measured_and_its_page_is_that_of_explore() {
    let (root, run) = smoke_run();
    let (served, name) = (Served::new(root.path(), &[]), name_of(&run));
    assert!(served.run(&name).is_some(), "the first answer names all runs");
    let listed = served.wait_for(&name, "finished");
    assert_eq!((&listed["step"], &listed["steps"]), (&40.into(), &40.into()));
    let [error, cd] = [&listed["error"], &listed["cd"][0]].map(|value| value.as_f64().unwrap());
    assert!(error > 0.0 && (0.0..=1.0).contains(&cd) && listed["over_optimal"].as_f64().unwrap() > 0.9);
    assert_eq!(served.list()["settings"]["same"]["train.steps"], "40");
    let page = served.get(&format!("/explore?run={name}"));
    assert!(page.code == 200 && page.body.contains("emergence explore") && page.body.contains("connect-src 'self'"));
    let renewal: Value = serde_json::from_str(&served.get(&format!("/api/page?run={name}")).body).unwrap();
    assert_eq!(renewal["exploration"]["runs"][0]["steps"].as_array().unwrap().last(), Some(&40.into()));
    let since = renewal["version"].as_str().unwrap();
    assert_eq!(served.get(&format!("/api/page?run={name}&since={since}")).code, 204, "nothing is newer");
    let tag = served.get("/api/runs").head;
    let tag = tag.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    assert_eq!(served.send(&format!("GET /api/runs HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}")).code, 304);
    for page in ["/", "/list.js", "/list.css", "/favicon.ico"] {
        assert!(served.get(page).code < 300, "{page}");
    }
}

#[test]
fn runs_appear_fail_break_and_go_and_the_list_says_so() {
    let (root, run) = smoke_run();
    let served = Served::new(root.path(), &[]);
    let other = untrained(&run, "other");
    served.wait_for("other", "stopped");
    write(other.join("failure.txt"), "the loss is not finite at step 7\n").unwrap();
    let failed = served.wait_for("other", "failed");
    assert_eq!(failed["note"], "the loss is not finite at step 7");
    remove_file(other.join("failure.txt")).unwrap();
    write(other.join("config.toml"), "name = ").unwrap();
    let damaged = served.wait_for("other", "damaged");
    assert!(damaged["note"].as_str().unwrap().contains("config.toml"), "{damaged}");
    assert_eq!(served.get("/explore?run=other").code, 503);
    let table = run.join("metrics.csv");
    write(&table, read_to_string(&table).unwrap().replace("relative_mse", "colour")).unwrap();
    let cut = served.wait_for(&name_of(&run), "damaged");
    assert!(cut["note"].as_str().unwrap().contains("metrics.csv"), "{cut}");
    remove_dir_all(&other).unwrap();
    served.wait("other", |run| run.is_none());
    let gone = served.get("/explore?run=other");
    assert!(gone.code == 404 && gone.body.contains("There is no run other in the folder"), "{}", gone.body);
    assert_eq!(served.get("/api/page?run=other").code, 404);
    remove_dir_all(&run).unwrap();
    served.wait(&name_of(&run), |run| run.is_none());
    assert_eq!(served.list()["runs"].as_array().unwrap().len(), 0);
}

#[test]
fn a_run_is_followed_while_a_process_has_it() {
    let (root, whole) = smoke_run();
    let run = RunDir::open(&untrained(&whole, "other")).unwrap();
    let served = Served::new(root.path(), &[]);
    let lock = run.lock().unwrap();
    let row = |step| TrainingRow { step, loss: 1.0, gradient_norm: 1.0, learning_rate: 0.1 };
    let running = served.wait_for("other", "running");
    assert!(running["note"].as_str().unwrap().starts_with("process "), "{running}");
    for step in [10, 20] {
        run.table().append(&[row(step)]).unwrap();
        served.wait("other", |run| run.is_some_and(|run| run["step"] == step));
    }
    assert!(served.run("other").unwrap()["ends"].is_u64(), "two steps have a pace");
    drop(lock);
    let stopped = served.wait_for("other", "stopped");
    assert_eq!(
        (&stopped["step"], &stopped["ends"]),
        (&Value::Null, &Value::Null),
        "what has no checkpoint begins again"
    );
}

#[test]
fn two_runs_are_compared_on_a_page_and_told_apart_by_their_settings() {
    let (root, run) = smoke_run();
    let other = untrained(&run, "other");
    let longer = read_to_string(run.join("config.toml")).unwrap().replace("steps = 40", "steps = 50");
    write(other.join("config.toml"), longer).unwrap();
    remove_file(other.join("seal.toml")).unwrap();
    let (served, name) = (Served::new(root.path(), &[]), name_of(&run));
    served.wait_for("other", "stopped");
    let diff = served.get(&format!("/diff?run={name}&run=other"));
    assert!(diff.code == 200 && diff.body.contains("train.steps") && !diff.body.contains("train.batch_size"));
    assert!(served.get(&format!("/diff?run={name}&run={name}")).code == 400, "a run is told apart from another");
    let steps = &served.list()["settings"]["varying"]["train.steps"];
    assert_eq!((&steps["values"], &steps["of"]), (&["50", "40"][..].into(), &[0, 1][..].into()));
    assert_eq!(served.get(&format!("/explore?run={name}&run=other")).code, 503, "one has nothing to show yet");
    let many: String = (0..17).map(|place| format!("run={place}&")).collect();
    assert_eq!([served.get(&format!("/explore?{many}")).code, served.get("/explore").code], [400, 400]);
}

#[test]
fn no_request_names_a_file_and_nothing_is_changed() {
    let (root, run) = smoke_run();
    write(root.path().join("secret"), "of nobody's business").unwrap();
    let outside = tempfile::tempdir().unwrap();
    let before = files(&run);
    #[cfg(unix)]
    std::os::unix::fs::symlink(outside.path(), root.path().join("elsewhere")).unwrap();
    copy(run.join("config.toml"), outside.path().join("config.toml")).unwrap();
    let served = Served::new(root.path(), &[]);
    served.wait_for(&name_of(&run), "finished");
    for address in [
        "/secret",
        "/../secret",
        "/%2e%2e/secret",
        "/explore?run=../secret",
        "/explore?run=%2e%2e%2fsecret",
        "/explore?run=secret",
        "/explore?run=/etc",
        "/diff?run=..&run=.",
        "/api/page?run=config.toml",
        &format!("/{}/config.toml", name_of(&run)),
    ] {
        let answer = served.get(address);
        assert!(answer.code == 404 && !answer.body.contains("nobody's business"), "{address}: {}", answer.code);
    }
    #[cfg(unix)]
    {
        let listed = served.wait_for("elsewhere", "damaged");
        assert!(listed["note"].as_str().unwrap().contains("leads out of the folder"), "{listed}");
        for address in ["/explore?run=elsewhere", &format!("/diff?run=elsewhere&run={}", name_of(&run))] {
            let answer = served.get(address);
            assert!(
                answer.code == 503 && answer.body.contains("leads out of the folder"),
                "{address}: {}",
                answer.body
            );
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        assert_eq!(served.send(&format!("{method} / HTTP/1.1\r\nHost: localhost")).code, 405, "{method}");
    }
    let head = served.send("HEAD / HTTP/1.1\r\nHost: localhost");
    assert!(head.code == 200 && head.body.is_empty());
    assert_eq!(files(&run), before);
}

#[test]
fn another_name_of_this_machine_is_refused_and_a_token_is_asked_for() {
    let (root, _run) = smoke_run();
    let served = Served::new(root.path(), &[]);
    for host in ["evil.example", "evil.example:8080", "10.0.0.1"] {
        assert_eq!(served.send(&format!("GET /api/runs HTTP/1.1\r\nHost: {host}")).code, 403, "{host}");
    }
    assert_eq!(served.send("GET / HTTP/1.0").code, 403, "one that names no host");
    assert_eq!(served.send("GET / HTTP/1.1\r\nHost: 127.0.0.1:9").code, 200, "a forwarded port is another");
    for more in [&["--token"][..], &["--address", "0.0.0.0"]] {
        let served = Served::new(root.path(), more);
        let token = served.link.split_once("/?token=").unwrap().1.to_owned();
        for address in ["/", "/api/runs", "/?token=", "/?token=00", "/explore?run=x", "/nowhere"] {
            assert_eq!(served.get(address).code, 401, "{address}");
        }
        let entered = served.get(&format!("/?token={token}"));
        assert!(entered.code == 303 && entered.head.contains("\r\nlocation: /\r\n"), "{}", entered.head);
        let cookie = entered.head.split_once("set-cookie: ").unwrap().1.split(';').next().unwrap().to_owned();
        // With it the name does not matter: another one's pages do not have it.
        let with =
            |cookie: &str| served.send(&format!("GET / HTTP/1.1\r\nHost: proxy.example\r\nCookie: a=b; {cookie}"));
        assert_eq!([with(&cookie).code, with("emergence_1=00").code], [200, 401]);
    }
}

#[test]
fn a_thousand_runs_are_named_by_the_first_answer() {
    let (root, run) = smoke_run();
    let all = root.path().join("sweep");
    create_dir(&all).unwrap();
    for number in 0..1000 {
        let folder = all.join(format!("run-{number:04}"));
        create_dir(&folder).unwrap();
        copy(run.join("config.toml"), folder.join("config.toml")).unwrap();
    }
    let served = Served::new(root.path(), &[]);
    let asked = Instant::now();
    assert_eq!(served.list()["runs"].as_array().unwrap().len(), 1001);
    // A tenth of the runs that the documents tell of, in five times the time: this is not a place to measure.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    served.wait_for("sweep/run-0999", "stopped");
}

#[test]
fn what_cannot_be_served_is_said_and_a_signal_ends_it() {
    let (root, run) = smoke_run();
    let folder = root.path().to_str().unwrap();
    check(&["serve", &format!("{folder}/none")], 2, &["RUNS must be a folder that can be read", "none"]);
    check(&["serve", run.join("config.toml").to_str().unwrap()], 2, &["RUNS must be a folder that can be read"]);
    check(&["serve", folder, "--address", "192.0.2.1"], 2, &["--address must be one of this machine"]);
    let mut served = Served::new(&run, &[]);
    assert!(served.run(&name_of(&run)).is_some(), "a run alone is a folder of one");
    check(&["serve", folder, "--port", &served.port().to_string()], 2, &["--port must be free"]);
    let mut program = served.program.take().unwrap();
    kill(asking_signals().last().unwrap(), &program);
    assert_eq!(program.wait().unwrap().code(), Some(130));
}
