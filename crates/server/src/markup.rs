//! The pages that are written here: what differs between two runs, and what there is to say where there is no page.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

/// The settings in which the runs `a` and `b` differ.
pub(crate) fn differences([a, b]: [&String; 2], settings: [&BTreeMap<String, String>; 2]) -> Html<String> {
    let values = |field: &String| settings.map(|of| of.get(field));
    let fields: BTreeSet<&String> = settings.iter().flat_map(|of| of.keys()).collect();
    let changes: Vec<&String> = fields.into_iter().filter(|field| values(field)[0] != values(field)[1]).collect();
    let value = |value: Option<&String>| value.map_or("–", |value| value).to_owned();
    let row = |field: &String| {
        let [first, second] = values(field).map(value);
        html! { tr { th scope="row" { (field) } td { (first) } td { (second) } } }
    };
    let both = form_urlencoded::Serializer::new(String::new()).extend_pairs([("run", a), ("run", b)]).finish();
    page(
        "Settings that differ",
        html! {
            @if changes.is_empty() {
                p { "All settings of " b { (a) } " and " b { (b) } " are the same." }
            } @else {
                div class="wide" { table class="settings" {
                    thead { tr { th scope="col" { "Setting" } th scope="col" { (a) } th scope="col" { (b) } } }
                    tbody { @for change in &changes { (row(change)) } }
                } }
                p class="note" { "All other settings are the same. A dash stands where a run has no such setting." }
            }
            p { a href={ "/explore?" (both) "#beside=1" } { "Compare their curves and states" } }
        },
    )
}

/// A page that says one thing.
pub(crate) fn message_page(title: &str, text: &str) -> Html<String> {
    page(title, html! { p { (text) } })
}

fn page(title: &str, content: Markup) -> Html<String> {
    let whole = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href="/list.css";
            }
            body { main { nav { a href="/" { "All runs" } } h1 { (title) } (content) } }
        }
    };
    Html(whole.into_string())
}
