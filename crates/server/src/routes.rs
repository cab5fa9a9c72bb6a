//! Which address answers with what. Every answer is of the list or of a page that was made of runs in it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use data::TaskRegistry;
use model::Device;
use plots::explore::{Renewal, STYLE, Source, render_live};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use crate::catalogue::{Catalogue, watch};
use crate::gate::{Gate, guard};
use crate::markup::{differences, message_page};
use crate::pages::{NoPage, Page, Pages};

/// Shows the runs of a folder.
#[derive(Clone, Debug)]
pub struct Server {
    catalogue: Arc<Catalogue>,
    pages: Arc<Pages>,
    /// When it was started, which tells its lists from those of an earlier one.
    started: u128,
}

impl Server {
    /// Of the runs in the folder `root`, of tasks in `registry`. Models are read by a device with so many threads, and as many
    /// states of each run shown as `states` says, or without that as many as keep the page small. A thread begins to look
    /// through the folder.
    ///
    /// # Errors
    /// When there is no such folder, or it cannot be read.
    pub fn new(root: &Path, registry: &TaskRegistry, states: Option<usize>, on: (Device, usize)) -> io::Result<Self> {
        let root = root.canonicalize()?;
        std::fs::read_dir(&root)?;
        let catalogue = Arc::new(Catalogue::new(root));
        // So that the first answer names all runs. An error is shown there.
        let _ = catalogue.find();
        let (watched, known) = (Arc::downgrade(&catalogue), registry.clone());
        thread::Builder::new().name("runs".to_owned()).spawn(move || watch(watched, &known))?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Ok(Self { catalogue, pages: Arc::new(Pages::new(registry.clone(), states, on)), started })
    }

    /// Answers at an address until the process ends; `ready` is told which one that is, and says who is let in.
    ///
    /// # Errors
    /// When the address cannot be had, or the system fails.
    pub fn run(self, address: SocketAddr, ready: impl FnOnce(SocketAddr) -> io::Result<Gate>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::bind(address).await?;
            let gate = Arc::new(ready(listener.local_addr()?)?);
            axum::serve(listener, self.router(gate)).await
        })
    }

    fn router(self, gate: Arc<Gate>) -> Router {
        let script = || async { ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT) };
        let style = || async { ([(CONTENT_TYPE, "text/css; charset=utf-8")], format!("{STYLE}\n{LIST_STYLE}")) };
        Router::new()
            .route("/", get(|| async { (POLICY, Html(LIST)) }))
            .route("/list.js", get(script))
            .route("/list.css", get(style))
            .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
            .route("/api/runs", get(list))
            .route("/api/page", get(renewal))
            .route("/explore", get(explore))
            .route("/diff", get(diff))
            .fallback(|| async { message(StatusCode::NOT_FOUND, "There is no such page.") })
            .with_state(self)
            .layer(from_fn_with_state(gate, guard))
            .layer(map_response(headed))
    }

    async fn page(&self, names: Vec<String>) -> Result<Page, NoPage> {
        let Self { catalogue, pages, .. } = self.clone();
        let page = spawn_blocking(move || pages.get(&catalogue, &names)).await;
        page.unwrap_or_else(|_| {
            Err(NoPage::Unreadable("The page could not be made: the program has a fault.".to_owned()))
        })
    }
}

const LIST: &str = include_str!("web/list.html");
const LIST_STYLE: &str = include_str!("web/list.css");
const SCRIPT: &str = concat!(include_str!("web/runs.js"), include_str!("web/choices.js"), include_str!("web/table.js"));

/// What pages of the server itself may load: nothing but its own files.
const POLICY: [(HeaderName, &str); 1] = [(
    CONTENT_SECURITY_POLICY,
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'",
)];

/// Every answer is asked for again, is what it says, stands in no frame, and leaves no trace of its address elsewhere.
async fn headed(mut response: Response) -> Response {
    let always = [
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    response.headers_mut().extend(always.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// The list of all runs as JSON, or that it is the one that the browser has.
async fn list(State(server): State<Server>, headers: HeaderMap) -> Response {
    let list = server.catalogue.list();
    let tag = format!("\"{}-{}\"", server.started, list.version);
    if headers.get(IF_NONE_MATCH).is_some_and(|there| there.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    let kind = (CONTENT_TYPE, "application/json".to_owned());
    ([kind, (ETAG, tag)], list.document.clone()).into_response()
}

/// The page of one run, or of several that are compared.
async fn explore(State(server): State<Server>, RawQuery(query): RawQuery) -> Response {
    let names = runs_of(query.as_deref());
    let asked =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(names.iter().map(|name| ("run", name))).finish();
    match server.page(names).await {
        Ok(page) => {
            let source = Source { data: format!("/api/page?{asked}"), list: "/".to_owned(), version: page.version };
            Html(render_live(&page.exploration, &source)).into_response()
        }
        Err(none) => message(status(&none), &none.to_string()),
    }
}

/// What a page shows now, if that is not what it shows already.
async fn renewal(State(server): State<Server>, RawQuery(query): RawQuery) -> Response {
    let query = query.as_deref();
    let shown = pairs(query).into_iter().find(|(name, _)| name == "since").map(|(_, version)| version);
    match server.page(runs_of(query)).await {
        Ok(page) if Some(&page.version) == shown.as_ref() => StatusCode::NO_CONTENT.into_response(),
        Ok(Page { version, exploration, .. }) => {
            let renewal = serde_json::to_string(&Renewal { version: &version, exploration: &exploration });
            let renewal = renewal.expect("numbers and text have a JSON form");
            ([(CONTENT_TYPE, "application/json")], renewal).into_response()
        }
        Err(none) => (status(&none), none.to_string()).into_response(),
    }
}

/// The settings in which two runs differ.
async fn diff(State(server): State<Server>, RawQuery(query): RawQuery) -> Response {
    let names = runs_of(query.as_deref());
    let [a, b] = names.as_slice() else {
        return message(StatusCode::BAD_REQUEST, "Two runs have to be named.");
    };
    let list = server.catalogue.list();
    let settings = |name: &String| {
        let entry = list.entries.get(name).ok_or_else(|| NoPage::Gone(name.clone()))?;
        entry.readable().map_err(NoPage::Unreadable)?;
        Ok(&*entry.settings)
    };
    match settings(a).and_then(|first| Ok([first, settings(b)?])) {
        Ok(both) => (POLICY, differences([a, b], both)).into_response(),
        Err(none) => message(status(&none), &none.to_string()),
    }
}

/// A page that says one thing, and looks again where that may change.
fn message(code: StatusCode, text: &str) -> Response {
    let again = (code == StatusCode::SERVICE_UNAVAILABLE).then_some((HeaderName::from_static("refresh"), "3"));
    let title = if again.is_some() { "Nothing to show" } else { "Not there" };
    (code, POLICY, again.map(|again| [again]), message_page(title, text)).into_response()
}

fn status(none: &NoPage) -> StatusCode {
    match none {
        NoPage::Count(_) => StatusCode::BAD_REQUEST,
        NoPage::Gone(_) => StatusCode::NOT_FOUND,
        NoPage::Unreadable(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The runs that a query names, each once.
fn runs_of(query: Option<&str>) -> Vec<String> {
    let mut runs = Vec::new();
    for (_, run) in pairs(query).into_iter().filter(|(name, _)| name == "run") {
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    runs
}

fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}
