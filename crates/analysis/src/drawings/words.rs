//! What probes and predictors are called in figures, and how the lines of predictors look.

use plots::shapes::RGBColor;
use plots::style::GREY;
use run::ProbeKind;

/// What the score of a probe is called on an axis.
pub(super) fn accuracy_of(probe: ProbeKind) -> String {
    if probe == ProbeKind::CD { "Concept Decodability".to_owned() } else { accuracy_in_short(probe) }
}

/// The same in a line of text.
pub(super) fn accuracy_in_short(probe: ProbeKind) -> String {
    if probe == ProbeKind::CD { "CD".to_owned() } else { format!("{} probe", probe.name().replace('_', " ")) }
}

/// How a closed-form predictor is shown in every figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PredictorStyle {
    /// Text at the end of its line.
    pub(super) label: String,
    /// Colour of line and label. Predictors are grey: colour belongs to concepts, layers and checkpoints.
    pub(super) color: RGBColor,
    /// Length of a dash and of the gap behind it, in units.
    pub(super) dash: (u32, u32),
}

/// The style of the predictor called `name`, which is the `index`-th of the names met.
pub(super) fn predictor_style(name: &str, index: usize) -> PredictorStyle {
    const UNKNOWN: [(u32, u32); 4] = [(20, 8), (12, 12), (6, 12), (28, 16)];
    let (label, color, dash) = match name {
        "zero" => ("zero", RGBColor(150, 150, 150), (6, 10)),
        "ridge" => ("ridge (no concept inferred)", RGBColor(90, 90, 90), (14, 10)),
        "bayes" => ("Bayes mixture (optimal)", RGBColor(0, 0, 0), (22, 10)),
        "oracle" => ("oracle", RGBColor(110, 110, 110), (6, 6)),
        "merged_groups" => ("groups known, bases lumped", GREY, UNKNOWN[index % UNKNOWN.len()]),
        other => (other, GREY, UNKNOWN[index % UNKNOWN.len()]),
    };
    let label = match label.strip_prefix("merged_but_") {
        Some(basis) => format!("{basis} known, rest lumped"),
        None => label.replace('_', " "),
    };
    PredictorStyle { label, color, dash }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_predictors_differ_from_each_other() {
        assert_ne!(predictor_style("mine", 0), predictor_style("yours", 1));
        assert_eq!(predictor_style("bayes", 0), predictor_style("bayes", 3));
    }
}
