//! A page that one can play with: states that move over checkpoints or layers, curves with a cursor, and the numbers there.
//! One HTML file with everything inside, which opens offline.
//!
//! The page is `page.html` and the scripts and style beside it, as they are. What it shows is handed to it as numbers and
//! text, and written into it as JSON.

mod plane;

use serde::Serialize;

use crate::color::color_of;

pub use plane::{Plane, Points};

/// Everything that a page shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Exploration {
    /// Name of what is shown.
    pub title: String,
    /// One run or more.
    pub runs: Vec<ExploredRun>,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExploredRun {
    /// What tells it from the others.
    pub name: String,
    /// Names of the concepts.
    pub concepts: Vec<String>,
    /// Whether the slider moves over layers, because there is one checkpoint only.
    pub over_layers: bool,
    /// The layer and the token that are shown first.
    pub start: (usize, String),
    /// Concept of every state.
    pub labels: Vec<usize>,
    /// Checkpoints whose states are shown, ascending.
    pub steps: Vec<usize>,
    /// The states, by layer and token.
    pub planes: Vec<Plane>,
    /// The probes' accuracies.
    pub scores: Curves,
    /// What guessing reaches, 0 to 1.
    pub chance: f64,
    /// How well the model answers.
    pub answers: Curves,
    /// What that is, as the title of an axis.
    pub answers_title: String,
    /// Levels that the answers are compared with.
    pub levels: Vec<Level>,
}

/// Lines over the same steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Curves {
    /// The steps, ascending.
    pub steps: Vec<usize>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line, and which it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// The layer; none where it is of all.
    pub layer: Option<usize>,
    /// The token; none where it is of all.
    pub token: Option<String>,
    /// The probe; none where it is of none.
    pub probe: Option<String>,
    /// The control of the probe; none where it is the probe itself.
    pub control: Option<String>,
    /// Index of the concept; none where it is of all.
    pub concept: Option<usize>,
    /// A value for every step, with the ends of its interval where there is one.
    pub values: Values,
}

/// Values, rounded to thousandths.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Values {
    mean: Vec<Option<i64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lo: Vec<Option<i64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hi: Vec<Option<i64>>,
}

/// A level of one concept, or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Level {
    /// What it is of.
    pub name: String,
    /// Index of the concept; none where it is of all.
    pub concept: Option<usize>,
    /// Where it lies.
    pub value: f64,
}

impl Values {
    /// Of values without an interval; one that is not there, or is not finite, is a gap.
    pub fn plain(means: impl IntoIterator<Item = Option<f64>>) -> Self {
        Self { mean: means.into_iter().map(|mean| mean.and_then(thousandths)).collect(), ..Self::default() }
    }

    /// Of values with the ends of their intervals.
    pub fn with_intervals(values: impl IntoIterator<Item = Option<[f64; 3]>>) -> Self {
        let mut all = Self::default();
        for value in values {
            let part = |part: usize| value.and_then(|value| thousandths(value[part]));
            all.mean.push(part(0));
            all.lo.push(part(1));
            all.hi.push(part(2));
        }
        all
    }
}

fn thousandths(value: f64) -> Option<i64> {
    value.is_finite().then(|| (1000.0 * value).round() as i64)
}

/// What a page has within its first bytes, by which it is known.
pub const MARK: &str = "emergence explore";

const PAGE: &str = include_str!("page.html");
/// Colours and type of the page, for others that belong to it.
pub const STYLE: &str = include_str!("style.css");
/// The scripts in the order in which they need each other.
const SCRIPTS: [&str; 6] = [
    include_str!("data.js"),
    include_str!("selection.js"),
    include_str!("states.js"),
    include_str!("curves.js"),
    include_str!("readout.js"),
    include_str!("main.js"),
];
/// The script of a page that is kept up to date, behind the others.
const LIVE: &str = include_str!("live.js");
const LIBRARY: &str = include_str!("../../vendor/uplot/uPlot.iife.min.js");
const LIBRARY_STYLE: &str = include_str!("../../vendor/uplot/uPlot.min.css");
const LIBRARY_LICENCE: &str = include_str!("../../vendor/uplot/LICENSE");

/// Where a page gets what it shows once it is there, from the server that it came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Source {
    /// Address that answers with a [`Renewal`], or with nothing (204) if there is no newer one; the version that is shown is
    /// put behind it.
    pub data: String,
    /// Address of the list of all runs.
    pub list: String,
    /// Version of what is shown.
    pub version: String,
}

/// What a page is brought up to date with.
#[derive(Debug, Serialize)]
pub struct Renewal<'a> {
    /// Version of what is shown.
    pub version: &'a str,
    /// What is shown.
    pub exploration: &'a Exploration,
}

/// Renders the page, which opens offline.
///
/// # Panics
/// When a value is not finite.
///
/// # Example
/// ```
/// use plots::explore::{Exploration, render};
///
/// let page = render(&Exploration { title: "</script>".to_owned(), ..Exploration::default() });
/// assert!(page.contains(r"\u003c/script>") && !page.contains("https://fonts"));
/// ```
pub fn render(exploration: &Exploration) -> String {
    page(exploration, "", "", "")
}

/// Renders the page as a server hands it out: it asks the server for what is new, and keeps what is chosen.
///
/// # Panics
/// When a value is not finite.
pub fn render_live(exploration: &Exploration, source: &Source) -> String {
    let (connect, script) = ("; connect-src 'self'", format!("const SOURCE = {};\n{LIVE}", json(source)));
    page(exploration, connect, include_str!("live.html"), &script)
}

/// The page, with what its policy, its head and its scripts have more.
fn page(exploration: &Exploration, connect: &str, head: &str, script: &str) -> String {
    let most = exploration.runs.iter().map(|run| run.concepts.len()).max().unwrap_or(0);
    let colors: Vec<[u8; 3]> = (0..most).map(color_of).map(|color| [color.0, color.1, color.2]).collect();
    let data = json(&(exploration, colors));
    let library = format!("/*\n{LIBRARY_LICENCE}*/\n{LIBRARY}");
    let parts = [
        ("MARK", MARK),
        ("CONNECT", connect),
        ("STYLE", &format!("{LIBRARY_STYLE}\n{STYLE}")),
        ("LIBRARY", &library),
        ("HEAD", head),
        ("DATA", &data),
        ("SCRIPT", &format!("{}\n{script}", SCRIPTS.join("\n"))),
    ];
    // One pass, so that nothing that is filled in is taken for a place to fill.
    let mut page = String::with_capacity(data.len() + 200_000);
    let mut rest = PAGE;
    for (name, text) in parts {
        let place = format!("{{{{{name}}}}}");
        let (before, behind) = rest.split_once(&place).expect("the page has a place for every part, in this order");
        page.extend([before, text]);
        rest = behind;
    }
    page + rest
}

/// JSON that cannot end the element it stands in.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and text have a JSON form").replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_and_library_are_small_and_reach_for_nothing_outside() {
        let page = render(&Exploration::default());
        assert!(page.len() < 300_000, "{} bytes", page.len());
        assert!(page[..4096].contains(MARK));
        for outside in ["src=", "<link", "@import", "url(", "fetch(", "XMLHttpRequest", "WebSocket", "import("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_live_page_asks_its_own_server_alone() {
        let (data, list, version) = ("/api/page?run=</script>".to_owned(), "/".to_owned(), "1".to_owned());
        let page = render_live(&Exploration::default(), &Source { data, list, version });
        assert!(page.contains("connect-src 'self'") && page.contains(r"run=\u003c/script>"));
        assert_eq!(page.matches("fetch(").count(), 1);
        assert!(!render(&Exploration::default()).contains("connect-src"));
    }

    #[test]
    fn text_stays_text_whatever_it_is() {
        let run = ExploredRun { concepts: vec!["</script><b>{{SCRIPT}}".to_owned()], ..ExploredRun::default() };
        let page = render(&Exploration { title: "<!--".to_owned(), runs: vec![run] });
        assert_eq!(page.matches("</script>").count(), 3);
        assert!(page.contains("\\u003c/script>\\u003cb>{{SCRIPT}}") && page.contains("\\u003c!--"));
    }

    #[test]
    fn values_are_thousandths_and_gaps_stay_gaps() {
        let values = Values::with_intervals([Some([0.9234, 0.9, 0.95]), None]);
        assert_eq!(json(&values), r#"{"mean":[923,null],"lo":[900,null],"hi":[950,null]}"#);
        assert_eq!(json(&Values::plain([Some(f64::NAN), Some(1.0)])), r#"{"mean":[null,1000]}"#);
    }
}
