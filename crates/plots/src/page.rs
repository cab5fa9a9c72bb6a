//! A page with figures: one HTML file with everything inside, readable offline, on a screen and in print.
//!
//! What it shows is handed to it as text.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Everything a report shows, in the order in which it shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Name of what is reported.
    pub title: String,
    /// What it is: names and values.
    pub facts: Vec<(String, String)>,
    /// Figures, the most important first.
    pub figures: Vec<Figure>,
    /// Tables behind the figures.
    pub tables: Vec<ReportTable>,
    /// Its configuration, every setting of it.
    pub config: String,
    /// Commands that make it again, one a line.
    pub reproduce: Vec<String>,
}

/// A figure and what to see in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// A few words.
    pub title: String,
    /// The finding, as a sentence.
    pub caption: String,
    /// An SVG element, put into the page as it is: it must come from the figures of this crate, not from outside.
    pub svg: String,
}

/// A table and what to see in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportTable {
    /// A few words.
    pub title: String,
    /// The finding, as a sentence.
    pub caption: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// Cells, row by row; the first of each row names it.
    pub rows: Vec<Vec<String>>,
}

/// The page is black on white with one column; tables are set with rules above, below and under the header only.
const STYLE: &str = "
:root { color-scheme: light; }
body { max-width: 1000px; margin: 2.5rem auto 4rem; padding: 0 1.25rem; background: #fff; color: #222;
  font: 16px/1.55 system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; }
h1 { margin: 0 0 1.25rem; font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 .75rem; font-size: 1.3rem; }
p { max-width: 44rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem; margin: 0; }
dt { color: #666; }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 0; }
figure svg { display: block; max-width: 100%; height: auto; }
figcaption { max-width: 44rem; margin: 0 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; border-top: 1.5px solid #222; border-bottom: 1.5px solid #222;
  font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1rem .3rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th:last-child, td:last-child { padding-right: 0; }
thead th { border-bottom: 1px solid #222; font-weight: 600; }
tbody th { font-weight: 400; }
pre { padding: .9rem 1.1rem; background: #f6f6f4; overflow-x: auto;
  font: 14px/1.5 ui-monospace, Menlo, 'DejaVu Sans Mono', monospace; }
summary { cursor: pointer; }
@media print {
  body { max-width: none; margin: 0; padding: 0; font-size: 11pt; }
  figure, table { break-inside: avoid; }
  h2 { break-after: avoid; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
}
";

/// Renders the report as one HTML file without scripts and without links to anything outside.
///
/// All text is escaped; only the figures' SVG is put in as it is. Sections without content are left out.
///
/// # Example
/// ```
/// use plots::page::{Report, render};
///
/// let page = render(&Report { title: "lr < 1e-3".to_owned(), ..Report::default() });
/// assert!(page.contains("<h1>lr &lt; 1e-3</h1>"));
/// ```
pub fn render(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (report.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (report.title) }
                (facts(&report.facts))
                @for part in &report.figures { (figure(part)) }
                @for part in &report.tables { (table(part)) }
                (configuration(&report.config))
                (reproduction(&report.reproduce))
            }
        }
    };
    page.into_string()
}

fn facts(facts: &[(String, String)]) -> Markup {
    html! {
        @if !facts.is_empty() {
            dl {
                @for (name, value) in facts {
                    dt { (name) }
                    dd { (value) }
                }
            }
        }
    }
}

fn figure(figure: &Figure) -> Markup {
    html! {
        section {
            h2 { (figure.title) }
            figure {
                // Above the figure: the reader shall know what to look for.
                figcaption { (figure.caption) }
                div role="img" aria-label=(figure.title) { (PreEscaped(&figure.svg)) }
            }
        }
    }
}

fn table(table: &ReportTable) -> Markup {
    html! {
        section {
            h2 { (table.title) }
            p { (table.caption) }
            div.wide {
                table {
                    thead {
                        tr { @for name in &table.header { th scope="col" { (name) } } }
                    }
                    tbody {
                        @for row in &table.rows {
                            tr {
                                @for (column, cell) in row.iter().enumerate() {
                                    @if column == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn configuration(config: &str) -> Markup {
    html! {
        @if !config.is_empty() {
            section {
                h2 { "Configuration" }
                details {
                    summary { "Every setting, defaults resolved" }
                    pre { (config) }
                }
            }
        }
    }
}

fn reproduction(commands: &[String]) -> Markup {
    html! {
        @if !commands.is_empty() {
            section {
                h2 { "How to reproduce" }
                pre { (commands.join("\n")) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Report {
        let text = ToString::to_string;
        Report {
            title: "quickstart-1a2b3c4d".to_owned(),
            facts: vec![("Task".to_owned(), "sparse regression, 4 concepts, d_x = 16".to_owned())],
            figures: vec![
                Figure {
                    title: "Emergence".to_owned(),
                    caption: "Error falls in two steps; decodability rises with the second.".to_owned(),
                    svg: "<svg width=\"10\" height=\"10\" xmlns=\"http://www.w3.org/2000/svg\"></svg>".to_owned(),
                };
                2
            ],
            tables: vec![ReportTable {
                title: "Final error".to_owned(),
                caption: "Relative to E[y²].".to_owned(),
                header: ["concept", "model", "Bayes"].map(|cell| text(&cell)).to_vec(),
                rows: vec![["first half", "0.190", "0.185"].map(|cell| text(&cell)).to_vec()],
            }],
            config: "[task]\nconcepts = 4\n".to_owned(),
            reproduce: vec!["trainer train quickstart.toml".to_owned(), "analysis report RUN".to_owned()],
        }
    }

    #[test]
    fn shows_every_part_once_and_in_order() {
        let page = render(&example());
        let parts =
            ["<h1>quickstart", "d_x = 16", "<figcaption>Error falls", "<svg", "first half", "concepts = 4\n", "RUN"];
        let places: Vec<_> = parts.iter().map(|part| page.find(part).unwrap_or_else(|| panic!("{part}"))).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(page.contains("<pre>trainer train quickstart.toml\nanalysis report RUN</pre>"));
    }

    #[test]
    fn stands_alone_without_scripts() {
        let page = render(&example());
        for outside in ["<script", "<link", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn text_is_escaped_everywhere() {
        let attack = || "<script>alert(\"&\")</script>".to_owned();
        let page = render(&Report {
            title: attack(),
            facts: vec![(attack(), attack())],
            figures: vec![Figure { title: attack(), caption: attack(), svg: String::new() }],
            tables: vec![ReportTable {
                title: attack(),
                caption: attack(),
                header: vec![attack()],
                rows: vec![vec![attack(), attack()]],
            }],
            config: attack(),
            reproduce: vec![attack()],
        });
        assert!(!page.contains("<script"));
        assert_eq!(page.matches("&lt;script&gt;").count(), 14);
    }

    #[test]
    fn empty_parts_leave_no_headings() {
        let page = render(&Report::default());
        assert!(!page.contains("<h2>") && !page.contains("<dl>") && !page.contains("<details>"));
    }
}
