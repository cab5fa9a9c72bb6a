//! What a task calls its concepts and predictors, written down beside tables so that these can be read without the task.

use serde::{Deserialize, Serialize};

use crate::{Concept, Predictor, PromptShape, Role, Task, TextTask};

/// The names in the tables of a task, in the order in which figures show them.
///
/// ```
/// use data::{Legend, Role, TaskRegistry};
///
/// let task = "kind = \"sparse_regression\"\nd_x = 4\nn_points = 6\nnoise_variance = 0.1\nw_std = 1.0\n\
///     bases = { blocks = { count = 2, rank = 2 } }";
/// let task = TaskRegistry::builtin().build(&task.parse().unwrap()).unwrap();
/// let legend = Legend::of(task.as_ref());
/// assert_eq!(legend.concepts[1].weight, 0.5);
/// assert_eq!(legend.with_role(Role::Optimal).unwrap().name, "bayes");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Legend {
    /// Pairs of a prompt.
    pub n_points: usize,
    /// Width of x; none where inputs are text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub d_x: Option<usize>,
    /// The concepts in the task's order.
    pub concepts: Vec<LegendConcept>,
    /// The levels that errors are compared with, as of [`Task::predictors`].
    #[serde(default)]
    pub predictors: Vec<LegendPredictor>,
    /// The closed forms that are no levels, as of [`Task::algorithms`].
    #[serde(default)]
    pub algorithms: Vec<LegendPredictor>,
}

/// A concept by its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegendConcept {
    /// Name in tables and figures.
    pub name: String,
    /// Prior probability.
    pub weight: f64,
}

/// A predictor by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegendPredictor {
    /// Name in tables and figures.
    pub name: String,
    /// What it stands for.
    pub role: Role,
}

impl Legend {
    /// The file that it is written to.
    pub const FILE: &'static str = "legend.toml";

    /// The names of `task`.
    pub fn of(task: &dyn Task) -> Self {
        let named = |predictors: Vec<Box<dyn Predictor>>| {
            let named = |it: Box<dyn Predictor>| LegendPredictor { name: it.name().to_owned(), role: it.role() };
            predictors.into_iter().map(named).collect()
        };
        let PromptShape { n_points, d_x } = task.shape();
        Self {
            n_points,
            d_x: Some(d_x),
            concepts: LegendConcept::all(task.concepts()),
            predictors: named(task.predictors()),
            algorithms: named(task.algorithms()),
        }
    }

    /// The names of a task of text, which has no predictors.
    pub fn of_text(task: &dyn TextTask) -> Self {
        let concepts = LegendConcept::all(task.concepts());
        Self { n_points: task.n_points(), d_x: None, concepts, predictors: Vec::new(), algorithms: Vec::new() }
    }

    /// Whether the task is of text, which has no squared error.
    pub fn is_of_text(&self) -> bool {
        self.d_x.is_none()
    }

    /// The first level of that role; none where the task has none.
    pub fn with_role(&self, role: Role) -> Option<&LegendPredictor> {
        self.predictors.iter().find(|predictor| predictor.role == role)
    }

    /// The role of a predictor or algorithm; of one that the task does not have, none that figures single out.
    pub fn role(&self, name: &str) -> Role {
        let mut all = self.predictors.iter().chain(&self.algorithms);
        all.find(|known| known.name == name).map_or(Role::Other, |known| known.role)
    }

    /// Place of a concept in the task's order; none where it is no concept of the task.
    pub fn place(&self, concept: &str) -> Option<usize> {
        self.concepts.iter().position(|it| it.name == concept)
    }
}

impl LegendConcept {
    fn all(concepts: &[Concept]) -> Vec<Self> {
        concepts.iter().map(|it| Self { name: it.name.clone(), weight: it.weight }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TaskRegistry, TextTaskConfig};

    #[test]
    fn a_legend_is_toml_and_back() {
        let text = "kind = \"function_families\"\nd_x = 4\nn_points = 6\nnoise_variance = 0.5\nsignal_std = 1\n\
            families = [\"linear\", \"quadratic\", { sparse_linear = { rank = 2 } }]";
        let table: toml::Table = text.parse().unwrap();
        let legend = Legend::of(TaskRegistry::builtin().build(&table).unwrap().as_ref());
        assert_eq!(toml::from_str::<Legend>(&toml::to_string(&legend).unwrap()).unwrap(), legend);
        let roles: Vec<(&str, Role)> = legend.predictors.iter().map(|it| (it.name.as_str(), it.role)).collect();
        assert_eq!(roles, [("zero", Role::Trivial), ("ridge", Role::WithoutConcept)]);
        assert!(legend.algorithms.iter().all(|it| it.role == Role::Other));
        assert_eq!(legend.place(&legend.concepts[2].name), Some(2));
        assert_eq!((legend.place("none"), legend.with_role(Role::Oracle)), (None, None));
    }

    #[test]
    fn a_legend_of_pairs_is_written_as_ever() {
        let text =
            "n_points = 6\nd_x = 4\npredictors = []\nalgorithms = []\n\n[[concepts]]\nname = \"B1\"\nweight = 1.0\n";
        let legend: Legend = toml::from_str(text).unwrap();
        assert_eq!(legend.d_x, Some(4));
        assert_eq!(toml::to_string(&legend).unwrap(), text);
    }

    #[test]
    fn a_legend_of_text_has_no_width_and_no_predictors() {
        let text = "kind = \"bitwise\"\nshots = [3]\ntemplate = \"{input} = {output}\\n\"\nnull = true\nnamed = false\n\
            place = \"prompt\"\nbits = 4";
        let task = TextTaskConfig::read(&text.parse().unwrap()).unwrap().build(&|_| unreachable!()).unwrap();
        let legend = Legend::of_text(task.as_ref());
        let written = toml::to_string(&legend).unwrap();
        assert!(!written.contains("d_x"), "{written}");
        assert_eq!(toml::from_str::<Legend>(&written).unwrap(), legend);
        assert_eq!((legend.n_points, legend.place("XNOR"), legend.place("Null")), (4, Some(5), Some(6)));
    }
}
