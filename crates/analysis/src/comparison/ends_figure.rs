//! The ends of runs against what differs between them.

use std::collections::BTreeSet;

use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel, stacked};
use plots::shapes::RGBColor;
use plots::style::{GREY, UNITS};
use plots::ticks::{extent, labelled, log_axis, number, ticks};
use probe::ProbeKind;

use super::axis::group_names;
use super::{SweepRow, compare_labels};
use crate::style::accuracy_of;

const HEIGHT: u32 = 830 * UNITS;
const UPPER: u32 = 400 * UNITS;
/// Letters that there is space for under the axis, and of a name at most.
const LETTERS: usize = 80;
const LONGEST_NAME: usize = 25;
/// Letters that a name needs, and the space behind it.
const SHORTEST_NAME: usize = 7;

/// Draws the last error (above) and the last accuracy of `probe` (below) of every run as a dot, over its group, and the mean of
/// each group. Where groups are told apart by one number they stand in its order, and a line goes through their means.
///
/// # Units
/// Error is over the optimal predictor's if every run has that, and else over the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if there are fewer than two groups.
pub(super) fn ends(rows: &[SweepRow], probe: ProbeKind) -> Result<String, PlotError> {
    let rows: Vec<&SweepRow> = rows.iter().filter(|row| row.concept.is_none()).collect();
    let groups = groups(&rows);
    let bayes = rows.iter().all(|row| row.over_bayes.is_some());
    let error = |row: &SweepRow| row.over_bayes.filter(|_| bayes).unwrap_or(row.error);
    let heights = extent(rows.iter().map(|row| error(row)));
    let Some(heights) = heights.filter(|_| groups.len() > 1) else {
        return Err(PlotError::Empty { figure: "ends", origin: "sweep.csv (of two groups)" });
    };
    let (title, names) = names_beside_each_other(&groups);
    let means = if names.iter().all(|name| name.parse::<f64>().is_ok()) { Means::Joined } else { Means::Apart };
    let every = names.len().div_ceil(fitting(&names));
    let marks = names.into_iter().enumerate().map(|(place, name)| (place as f64, name)).step_by(every).collect();
    let beside = (0.06 * groups.len() as f64).max(0.4);
    let x = Axis::new(title, -beside..groups.len() as f64 - 1.0 + beside, marks);
    let place = |row: &SweepRow| groups.iter().position(|group| *group == row.group).unwrap_or(0) as f64;
    let dots = |of: &dyn Fn(&SweepRow) -> f64| rows.iter().map(|row| (place(row), of(row))).collect::<Vec<_>>();
    let (y, scale) = log_axis(if bayes { "error / optimal error" } else { "squared error / E[y²]" }, &heights);
    let upper = Panel {
        title: "Error at the end, a dot a run".to_owned(),
        x: x.bare(),
        y,
        curves: means.with_dots(color_of(1), &dots(&|row| error(row)), scale),
    };
    let whole = 0.0..1.0;
    let y = Axis::new(accuracy_of(probe), whole.clone(), labelled(ticks(&whole, 5), number));
    let mut curves = means.with_dots(color_of(0), &dots(&|row| row.cd), |cd| cd);
    let chance = means.levels("chance", GREY, &dots(&|row| row.chance), |chance| chance);
    curves.extend(chance.into_iter().map(|level| level.dashed((4, 10))));
    let title = format!("{} at the end, on held-out resamples", accuracy_of(probe));
    let lower = Panel { title, x, y, curves };
    stacked(&[(&upper, UPPER), (&lower, HEIGHT - UPPER)])
}

/// What the groups set, and their names: cut so far that all have space, where that leaves them different. Otherwise some
/// are left out rather than all cut.
fn names_beside_each_other(groups: &[&str]) -> (String, Vec<String>) {
    let whole = group_names(groups, LONGEST_NAME);
    let cut = group_names(groups, (LETTERS / groups.len()).max(SHORTEST_NAME) - 1);
    let are_distinct = cut.1.iter().collect::<BTreeSet<_>>().len() == groups.len();
    if fitting(&whole.1) < groups.len() && are_distinct { cut } else { whole }
}

/// For how many names as long as these there is space.
fn fitting(names: &[String]) -> usize {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    (LETTERS / (longest + 1)).max(1)
}

fn groups<'a>(rows: &[&'a SweepRow]) -> Vec<&'a str> {
    let mut groups: Vec<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    groups.sort_by(|a, b| compare_labels(a, b));
    groups.dedup();
    groups
}

/// How the means of groups are drawn.
#[derive(Clone, Copy)]
enum Means {
    /// As one line.
    Joined,
    /// Each by itself: between names there is nothing.
    Apart,
}

impl Means {
    /// The points and their means, all where `scale` puts them.
    fn with_dots(self, color: RGBColor, points: &[(f64, f64)], scale: fn(f64) -> f64) -> Vec<Curve> {
        let dots = points.iter().map(|&(place, value)| (place, scale(value)));
        let mut curves = self.levels("mean", color, points, scale);
        curves.push(Curve::new("", color, dots).dots());
        curves
    }

    fn levels(self, name: &str, color: RGBColor, points: &[(f64, f64)], scale: fn(f64) -> f64) -> Vec<Curve> {
        /// Half of the width of a level, where places are 1 apart.
        const HALF: f64 = 0.3;
        let means: Vec<(f64, f64)> = means(points).into_iter().map(|(place, mean)| (place, scale(mean))).collect();
        match self {
            Self::Joined => vec![Curve::new(name, color, means)],
            Self::Apart => {
                let last = means.len().saturating_sub(1);
                let level = |(number, (place, mean)): (usize, (f64, f64))| {
                    let ends = [(place - HALF, mean), (place + HALF, mean)];
                    Curve::new(if number == last { name } else { "" }, color, ends)
                };
                means.into_iter().enumerate().map(level).collect()
            }
        }
    }
}

fn means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut places: Vec<f64> = points.iter().map(|point| point.0).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mean = |place: f64| {
        let here: Vec<f64> = points.iter().filter(|point| point.0 == place).map(|point| point.1).collect();
        (place, here.iter().sum::<f64>() / here.len() as f64)
    };
    places.into_iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use probe::Layer;

    use super::*;
    use crate::planted::{check, noise};

    fn rows(groups: &[&str]) -> Vec<SweepRow> {
        let row = |(place, seed): (usize, usize)| SweepRow {
            run: format!("{place}-{seed}"),
            group: groups[place].to_owned(),
            seed: seed as u64,
            step: 8000,
            concept: None,
            error: 0.2,
            over_bayes: Some(1.2 + 0.3 * place as f64 + 0.1 * noise(3 * place + seed)),
            layer: Layer(5),
            cd: (0.9 - 0.1 * place as f64).max(0.1) + 0.05 * noise(7 * place + seed),
            cd_lo: 0.8,
            cd_hi: 0.95,
            chance: 0.5,
            cd_onset: None,
            cd_half: None,
            error_half: None,
        };
        (0..groups.len()).flat_map(|place| (0..3).map(move |seed| (place, seed))).map(row).collect()
    }

    #[test]
    fn groups_stand_in_the_order_of_their_numbers() {
        let found = rows(&["n_points = 8", "n_points = 24", "n_points = 12"]);
        assert_eq!(groups(&found.iter().collect::<Vec<_>>()), ["n_points = 8", "n_points = 12", "n_points = 24"]);
        let svg = ends(&found, ProbeKind::CD).unwrap();
        check("ends", &svg);
        for label in ["n_points", "optimal error", "Concept Decodability", "chance"] {
            assert!(svg.contains(label), "{label} is missing");
        }
        // Nine dots in either panel.
        assert_eq!(svg.matches("<circle").count(), 2 * 9);
    }

    #[test]
    fn a_mean_is_of_the_errors_and_not_of_their_logarithms() {
        assert_eq!(means(&[(1.0, 4.0), (0.0, 1.0), (0.0, 3.0)]), [(0.0, 2.0), (1.0, 4.0)]);
        let points = |curve: &Curve| curve.heights().collect::<Vec<_>>();
        let found = Means::Joined.with_dots(GREY, &[(0.0, 1.0), (0.0, 100.0)], f64::log10);
        let [mean, dots] = found.try_into().unwrap();
        assert_eq!((points(&mean), points(&dots)), (vec![50.5_f64.log10()], vec![0.0, 2.0]));
    }

    #[test]
    fn groups_without_a_number_keep_their_names_and_one_group_is_no_figure() {
        let svg = ends(&rows(&["d_model = 32, n_layers = 6", "short", "a rather long name of a group"]), ProbeKind::CD);
        let svg = svg.unwrap();
        check("ends-names", &svg);
        assert!(["short", "d_model = 32, n_layers"].iter().all(|name| svg.contains(name)));
        for (models, rates) in [(3, 2), (5, 6)] {
            let group = |(i, j): (usize, usize)| format!("d_model = {}, learning_rate = {}", 8 << i, 0.001 * j as f64);
            let all: Vec<String> = (0..models).flat_map(|i| (1..=rates).map(move |j| (i, j))).map(group).collect();
            let svg = ends(&rows(&all.iter().map(String::as_str).collect::<Vec<_>>()), ProbeKind::CD).unwrap();
            check(&format!("ends-{models}-{rates}"), &svg);
            assert!(svg.contains("d_model, learning_rate") && svg.contains("8, 0.001"));
        }
        let six: Vec<String> = (0..6).map(|at| format!("a rather long name of group {at}")).collect();
        let names = names_beside_each_other(&six.iter().map(String::as_str).collect::<Vec<_>>()).1;
        assert_eq!((fitting(&names), names[5].as_str()), (6, "… of group 5"));
        let mut odd = rows(&["a", "b"]);
        odd[0].over_bayes = None;
        odd[1].cd = f64::NAN;
        assert!(ends(&odd, ProbeKind::CD).unwrap().contains("E[y²]"));
        assert!(matches!(ends(&rows(&["only"]), ProbeKind::CD), Err(PlotError::Empty { figure: "ends", .. })));
        assert!(matches!(ends(&[], ProbeKind::CD), Err(PlotError::Empty { .. })));
    }
}
