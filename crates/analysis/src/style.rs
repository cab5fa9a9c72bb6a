//! What probes and predictors are called in figures, and how their lines look.

use data::{Legend, Role};
use plots::color::viridis;
use plots::shapes::RGBColor;
use plots::style::GREY;
use probe::{Layer, ProbeKind};

/// What the score of a probe is called on an axis.
pub(crate) fn accuracy_of(probe: ProbeKind) -> String {
    if probe == ProbeKind::CD { "Concept Decodability".to_owned() } else { accuracy_in_short(probe) }
}

/// The same in a line of text.
pub(crate) fn accuracy_in_short(probe: ProbeKind) -> String {
    if probe == ProbeKind::CD { "CD".to_owned() } else { format!("{} probe", probe.name().replace('_', " ")) }
}

/// How a closed-form predictor is shown in every figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PredictorStyle {
    /// Text at the end of its line.
    pub(crate) label: String,
    /// Colour of line and label. Predictors are grey: colour belongs to concepts, layers and checkpoints.
    pub(crate) color: RGBColor,
    /// Length of a dash and of the gap behind it, in units.
    pub(crate) dash: (u32, u32),
}

/// The style of the predictor called `name`, which is the `index`-th of the names met.
pub(crate) fn predictor_style(legend: &Legend, name: &str, index: usize) -> PredictorStyle {
    const OTHER: [(u32, u32); 4] = [(20, 8), (12, 12), (6, 12), (28, 16)];
    let role = legend.role(name);
    let (color, dash) = match role {
        Role::Trivial => (RGBColor(150, 150, 150), (6, 10)),
        Role::WithoutConcept => (RGBColor(90, 90, 90), (14, 10)),
        Role::Optimal => (RGBColor(0, 0, 0), (22, 10)),
        Role::Oracle => (RGBColor(110, 110, 110), (6, 6)),
        Role::Other => (GREY, OTHER[index % OTHER.len()]),
    };
    PredictorStyle { label: label(role, name), color, dash }
}

/// A predictor's name, with what it stands for where the name does not say it.
fn label(role: Role, name: &str) -> String {
    let words = name.replace('_', " ");
    match (role, name) {
        (Role::Optimal, BAYES) => "Bayes mixture (optimal)".to_owned(),
        (Role::Optimal, _) => format!("{words} (optimal)"),
        (Role::WithoutConcept, _) => format!("{words} (no concept inferred)"),
        (Role::Oracle, "oracle") | (Role::Trivial, _) => words,
        (Role::Oracle, _) => format!("{words} (told the concept)"),
        (Role::Other, "merged_groups") => "groups known, bases lumped".to_owned(),
        (Role::Other, _) => match name.strip_prefix("merged_but_") {
            Some(basis) => format!("{basis} known, rest lumped"),
            None => words,
        },
    }
}

/// The optimal predictor of the built-in tasks. Where a task has none, the places of its numbers keep that name.
const BAYES: &str = "bayes";

/// The name of the optimal predictor, as in tables.
pub(crate) fn optimal_name(legend: &Legend) -> &str {
    legend.with_role(Role::Optimal).map_or(BAYES, |known| &known.name)
}

/// The optimal predictor in a sentence.
pub(crate) fn optimal_title(legend: &Legend) -> String {
    match optimal_name(legend) {
        BAYES => "the Bayes mixture".to_owned(),
        other => other.replace('_', " "),
    }
}

/// The optimal predictor at the end of a line.
pub(crate) fn optimal_in_short(legend: &Legend) -> String {
    match optimal_name(legend) {
        BAYES => "Bayes".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Name and colour of a layer, the `index`-th of `count`: the bright end of the colour map is invisible on white.
pub(crate) fn layer_style(layer: Layer, index: usize, count: usize) -> (String, RGBColor) {
    let name = if layer == Layer(0) { "embedding".to_owned() } else { format!("layer {}", layer.0) };
    (name, viridis(0.8 * index as f64 / (count.max(2) - 1) as f64))
}

/// Colour of the `index`-th of `count` steps: early is bright, late is dark; the brightest fifth is invisible on white.
pub(crate) fn step_color(index: usize, count: usize) -> RGBColor {
    viridis(0.75 * (1.0 - index as f64 / (count.max(2) - 1) as f64))
}

#[cfg(test)]
mod tests {
    use data::LegendPredictor;

    use super::*;
    use crate::planted::legend;

    #[test]
    fn unknown_predictors_differ_from_each_other() {
        let legend = legend(2);
        assert_ne!(predictor_style(&legend, "mine", 0), predictor_style(&legend, "yours", 1));
        assert_eq!(predictor_style(&legend, "bayes", 0), predictor_style(&legend, "bayes", 3));
    }

    #[test]
    fn a_predictor_of_a_custom_task_is_shown_by_its_role() {
        let mut own = legend(2);
        let roles = [("kalman", Role::Optimal), ("mine", Role::WithoutConcept), ("god", Role::Oracle)];
        own.predictors = roles.map(|(name, role)| LegendPredictor { name: name.to_owned(), role }).to_vec();
        let labels = roles.map(|(name, _)| predictor_style(&own, name, 0).label);
        assert_eq!(labels, ["kalman (optimal)", "mine (no concept inferred)", "god (told the concept)"]);
        let usual = legend(2);
        assert_eq!(predictor_style(&own, "kalman", 0).dash, predictor_style(&usual, "bayes", 0).dash);
        assert_eq!([optimal_title(&own), optimal_title(&usual)], ["kalman", "the Bayes mixture"]);
    }
}
