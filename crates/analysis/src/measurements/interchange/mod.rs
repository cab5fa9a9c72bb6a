//! Interchange: states of a prompt are replaced by those of its twin, which differs from it in the concept alone.

mod rows;
mod search;
mod show;
mod states;
mod subspace;
mod twins;

use data::{Purpose, Token};
use probe::{Edit, Layer, Prompts, States, Study, Subject};
use serde::Serialize;

pub use rows::{Donor, InterchangeRow, Places, Subspace, Target};
pub(super) use states::AtLayer;
pub(super) use twins::Way;

use super::{MeasureError, Measurement, Needs, Session, sorted};
use crate::show::{Section, Shown};
use search::search;
use states::{Bases, read};
use subspace::discriminants;
use twins::{Twins, last};

/// Checkpoints that are measured unless told otherwise.
const MEASURED: usize = 9;
/// Prompts of every concept behind means, and on which directions are found, unless told otherwise.
pub(super) const FOUND_ON: u32 = 250;
/// Numbers of directions unless told otherwise.
const RANKS: [usize; 4] = [1, 2, 4, 8];

/// How far answers go from a prompt's own to its twin's when states of the twin take the place of its own, at every layer and
/// several sets of tokens: as a whole, and at the last checkpoint also in a few directions.
///
/// # Source
/// Interchange interventions: Geiger et al. (2021), arXiv 2106.02997. The twins, the two targets and the controls are ours.
#[derive(Clone, Copy, Debug)]
pub struct Interchange;

/// What to interchange.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub struct Options {
    /// Checkpoints to measure, as 0,500,1000; subspaces are interchanged at the last one [default: nine from first to last]
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    step: Vec<usize>,
    /// Layers at which states are interchanged, 0 for the embedding, as 4,5,6 [default: all]
    #[arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    layer: Vec<usize>,
    /// Tokens whose states are interchanged together
    #[arg(long, value_enum, value_delimiter = ',', default_value = "query_x,last_y,every_y")]
    places: Vec<Places>,
    /// Subspaces in which states are interchanged; searched takes the longest, for each number of directions anew
    #[arg(long, value_enum, value_delimiter = ',', default_value = "linear,quadratic")]
    subspace: Vec<Subspace>,
    /// Layer of the subspaces [default: for each set of tokens the one where another twin's states move the answers most]
    #[arg(long, value_name = "LAYER", value_parser = terminal::whole::<usize>(0, None))]
    subspace_layer: Option<usize>,
    /// Numbers of directions of a subspace, as 1,4 [default: 1, 2, 4 and 8]
    #[arg(long, value_name = "DIRECTIONS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    rank: Vec<usize>,
    /// Prompts of every concept that means are taken over, and on which directions are found
    #[arg(long, value_name = "N", default_value_t = FOUND_ON)]
    #[arg(value_parser = terminal::whole::<u32>(2, Some(100_000)))]
    found_on: u32,
}

/// What is interchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<usize>,
    layers: Vec<Layer>,
    places: Vec<Places>,
    subspaces: Vec<Subspace>,
    subspace_layer: Option<Layer>,
    ranks: Vec<usize>,
    found_on: usize,
}

impl Measurement for Interchange {
    const NAME: &'static str = "interchange";
    const ABOUT: &'static str = "Replace states by those of a twin of another concept, and measure where answers go";
    const NEEDS: Needs = Needs::Numbers;
    const FIGURES: &'static [&'static str] = &["interchange", "interchange_subspaces", "causal_and_decodable"];
    type Options = Options;
    type Plan = Plan;
    type Rows = Vec<InterchangeRow>;

    fn plan(options: Options, session: &Session<'_>) -> Result<Plan, MeasureError> {
        check_task(session.study, options.found_on as usize)?;
        let (layers, d_model) = (session.layers_or_all("--layer", options.layer)?, session.subjects.anatomy().d_model);
        let subspace_layer = session.layers("--subspace-layer", options.subspace_layer.into_iter().collect())?.pop();
        let range = 1..=d_model;
        if let Some(rank) = options.rank.iter().find(|rank| !range.contains(rank)) {
            return Err(MeasureError::out_of_range("--rank", format!("between 1 and model.d_model ({d_model})"), rank));
        }
        let usual = || RANKS.into_iter().filter(|rank| range.contains(rank)).collect();
        Ok(Plan {
            steps: session.steps(options.step, MEASURED)?,
            layers,
            places: sorted(options.places),
            subspaces: sorted(options.subspace),
            subspace_layer,
            ranks: if options.rank.is_empty() { usual() } else { sorted(options.rank) },
            found_on: options.found_on as usize,
        })
    }

    fn measure(plan: &Plan, session: &Session<'_>) -> Result<Vec<InterchangeRow>, MeasureError> {
        let asked = Asked::new(session.study, plan.found_on)?;
        session.over_steps(&plan.steps, |subject, step| {
            let last = plan.steps.last() == Some(&step);
            let subspaces: &[Subspace] = if last { &plan.subspaces } else { &[] };
            Model { session, subject, step, plan, asked: &asked }.rows(subspaces)
        })
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

/// Nothing, if the task of `study` has twins, and `found_on` prompts of every concept for means.
pub(super) fn check_task(study: &Study, found_on: usize) -> Result<(), MeasureError> {
    if study.n_points() < 2 {
        let range = "one whose prompts have at least 2 pairs";
        return Err(MeasureError::out_of_range("the task of interchange", range, study.n_points()));
    }
    // One prompt of each concept tells whether the task has what is needed.
    Twins::new(study, Purpose::Eval, 0, 1)?;
    // Twins go through the other concepts in turn, and the controls take a second prompt with the same two concepts.
    let (per_concept, fewest) = (study.eval.prompts_per_concept, 2 * (study.concepts().len() - 1));
    if per_concept < fewest {
        let range = format!("at least {fewest} for interchange among {} concepts", study.concepts().len());
        return Err(MeasureError::out_of_range("eval.prompts_per_concept", range, per_concept));
    }
    Ok(study.check_stock("--found-on", Purpose::Patch, found_on)?)
}

/// What every model is asked.
pub(super) struct Asked {
    pub(super) twins: Twins,
    /// Prompts that means are taken over, and on which directions are found.
    pub(super) others: Prompts,
}

impl Asked {
    pub(super) fn new(study: &Study, found_on: usize) -> Result<Self, MeasureError> {
        Ok(Self {
            twins: Twins::new(study, Purpose::Eval, 0, study.eval.prompts_per_concept)?,
            others: study.balanced(Purpose::Patch, 0, found_on)?,
        })
    }
}

/// One model and what it is asked.
struct Model<'a> {
    session: &'a Session<'a>,
    subject: &'a dyn Subject,
    step: usize,
    plan: &'a Plan,
    asked: &'a Asked,
}

/// A subspace of so many directions.
type Directions = (Subspace, usize);

impl Model<'_> {
    fn study(&self) -> &Study {
        self.session.study
    }

    fn rows(&self, subspaces: &[Subspace]) -> Result<Vec<InterchangeRow>, MeasureError> {
        let mut rows = self.whole_twin()?;
        for &layer in &self.plan.layers {
            (self.session.progress)(&format!("step {}, layer {}", self.step, layer.0));
            for &places in &self.plan.places {
                let here = self.at(layer, &self.asked.twins, &self.tokens(places))?;
                let edits = Donor::ALL.map(|donor| (donor, None, here.edit(donor, None)));
                rows.extend(self.rows_of(layer, places, edits.into())?);
            }
        }
        for &places in self.plan.places.iter().filter(|_| !subspaces.is_empty()) {
            let layer = self.plan.subspace_layer.unwrap_or_else(|| strongest(&rows, places));
            let here = self.at(layer, &self.asked.twins, &self.tokens(places))?;
            for &subspace in subspaces {
                rows.extend(self.in_subspaces(&here, places, subspace)?);
            }
        }
        Ok(rows)
    }

    fn tokens(&self, places: Places) -> Vec<Token> {
        places.tokens(self.study().n_points())
    }

    /// The rows of the answers to the twins themselves: the most that an interchange can do.
    fn whole_twin(&self) -> Result<Vec<InterchangeRow>, MeasureError> {
        let [plain, twin] =
            [&self.asked.twins.prompts, &self.asked.twins.twins].map(|prompts| self.subject.plain_answers(prompts));
        let (plain, twin) = (last(&plain?), last(&twin?));
        Ok(self.rows_with(Layer(0), Places::Everywhere, Donor::Twin, None, self.asked.twins.ways(&plain, &twin)))
    }

    fn in_subspaces(
        &self,
        here: &AtLayer<'_>,
        places: Places,
        subspace: Subspace,
    ) -> Result<Vec<InterchangeRow>, MeasureError> {
        let tokens = self.tokens(places);
        let found = match subspace {
            Subspace::Linear | Subspace::Quadratic => self.discriminants(here.layer, subspace, &tokens)?,
            Subspace::Searched => self.searched(here.layer, &tokens)?,
        };
        let mut edits = Vec::new();
        for (rank, bases) in &found {
            for donor in [Donor::Twin, Donor::Random] {
                edits.push((donor, Some((subspace, *rank)), here.edit(donor, Some(bases))));
            }
        }
        self.rows_of(here.layer, places, edits)
    }

    fn at<'t>(&self, layer: Layer, twins: &'t Twins, tokens: &[Token]) -> Result<AtLayer<'t>, MeasureError> {
        Ok(AtLayer::read(self.subject, twins, &self.asked.others, (layer, tokens))?)
    }

    /// Directions by rank; a rank of which there are not so many is left out.
    fn discriminants(
        &self,
        layer: Layer,
        subspace: Subspace,
        tokens: &[Token],
    ) -> Result<Vec<(usize, Bases)>, MeasureError> {
        let labels = self.asked.others.labels();
        let most = *self.plan.ranks.last().expect("there is a rank");
        let of = |states: &States| discriminants(states, &labels, subspace, most);
        let all: Bases = read(self.subject, &self.asked.others, layer, tokens)?.iter().map(of).collect();
        let first = |rank: usize| -> Bases { all.iter().map(|basis| basis.columns(0, rank).into_owned()).collect() };
        let there_are = |rank: &&usize| all.iter().all(|basis| basis.ncols() >= **rank);
        Ok(self.plan.ranks.iter().filter(there_are).map(|&rank| (rank, first(rank))).collect())
    }

    fn searched(&self, layer: Layer, tokens: &[Token]) -> Result<Vec<(usize, Bases)>, MeasureError> {
        let twins = Twins::new(self.study(), Purpose::Patch, 0, self.plan.found_on)?;
        let here = self.at(layer, &twins, tokens)?;
        let find = |&rank: &usize| {
            (self.session.progress)(&format!("step {}, layer {}, {rank} directions", self.step, layer.0));
            let found = search(self.study(), self.subject, &twins, &here, rank)?;
            let range = "without searched for a model that cannot be differentiated";
            found.map(|bases| (rank, bases)).ok_or_else(|| MeasureError::out_of_range("--subspace", range, "searched"))
        };
        self.plan.ranks.iter().map(find).collect()
    }

    fn rows_of(
        &self,
        layer: Layer,
        places: Places,
        edits: Vec<(Donor, Option<Directions>, Edit)>,
    ) -> Result<Vec<InterchangeRow>, MeasureError> {
        let (sources, edits): (Vec<_>, Vec<Edit>) =
            edits.into_iter().map(|(donor, directions, edit)| ((donor, directions), edit)).unzip();
        let ways = sources.into_iter().zip(self.asked.twins.under(self.subject, edits)?);
        let rows = |((donor, directions), ways)| self.rows_with(layer, places, donor, directions, ways);
        Ok(ways.flat_map(rows).collect())
    }

    fn rows_with(
        &self,
        layer: Layer,
        places: Places,
        donor: Donor,
        directions: Option<Directions>,
        ways: Vec<Way>,
    ) -> Vec<InterchangeRow> {
        let row = |Way { target, slope, own_weight, target_weight: weight }| InterchangeRow {
            step: self.step,
            layer,
            places,
            donor,
            subspace: directions.map(|(subspace, _)| subspace),
            rank: directions.map(|(_, rank)| rank),
            target,
            slope: slope.mean,
            slope_lo: slope.lo,
            slope_hi: slope.hi,
            own_weight,
            target_weight: weight.mean,
            weight_lo: weight.lo,
            weight_hi: weight.hi,
            n: self.asked.twins.prompts.len(),
        };
        ways.into_iter().map(row).collect()
    }
}

/// The layer at which another twin's states at `places` move the answers most to its concept, or to the twin where no answer
/// of a concept is known, at the last step of the rows.
fn strongest(rows: &[InterchangeRow], places: Places) -> Layer {
    let goal = rows.iter().map(|row| row.target).max();
    let of_other = |row: &&InterchangeRow| (row.donor, row.subspace) == (Donor::OtherTwin, None);
    let there = rows.iter().filter(of_other).filter(|row| row.places == places && Some(row.target) == goal);
    let most = there.max_by(|a, b| a.step.cmp(&b.step).then(a.target_weight.total_cmp(&b.target_weight)));
    most.map_or(Layer(0), |row| row.layer)
}
