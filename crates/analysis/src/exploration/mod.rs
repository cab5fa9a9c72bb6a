//! A page that one can play with, of one run or several: states that move over checkpoints or layers, and curves.
//!
//! The states are read from the models when the page is made, since no table has them; everything else is read from tables.

mod axes;
mod curves;
mod states;

use std::path::Path;

use plots::explore::{Exploration, ExploredRun, MARK, render};
use record::{Output, write_whole};

use crate::measurements::{MeasureError, Session};
use crate::show::{Shown, query};
use states::Projected;

/// The page's file, unless it is told otherwise.
pub const EXPLORE: &str = "explore.html";

/// Checkpoints whose states are shown at most.
const MOST_STEPS: usize = 100;
/// States of a run at most, of every layer, token and checkpoint, unless more are asked for.
const MOST_STATES: usize = 400;
/// Points of a page at most. A point takes 2⅔ bytes, so the page stays under 5 MB.
const MOST_POINTS: usize = 1_100_000;

/// Runs that are collected for one page.
#[derive(Clone, Debug)]
pub struct Explored {
    runs: Vec<ExploredRun>,
    /// Runs that there will be.
    expected: usize,
    /// States of a run that were asked for.
    states: Option<usize>,
}

impl Explored {
    /// For as many runs, with `states` states of each; without that as many as keep the page small.
    pub fn new(expected: usize, states: Option<usize>) -> Self {
        Self { runs: Vec::new(), expected, states }
    }

    /// Reads a run: its states from the models of the session, and the rest from its tables.
    ///
    /// # Errors
    /// When a model or a table cannot be read, or fewer states are asked for than there are concepts.
    pub fn add(&mut self, name: &str, session: &Session<'_>, shown: &Shown<'_>) -> Result<(), MeasureError> {
        let study = session.study;
        let steps = session.steps(Vec::new(), MOST_STEPS)?;
        let per_concept = self.prompts_per_concept(session, steps.len())?;
        let Projected { labels, planes, over_layers } = states::project(session, &steps, per_concept)?;
        let token = query(study.tokens.iter().copied()).expect("a token at least is probed");
        self.runs.push(ExploredRun {
            name: name.to_owned(),
            concepts: study.concepts().iter().map(|concept| concept.name.clone()).collect(),
            over_layers,
            start: (session.best_layer(token)?.0, token.to_string()),
            labels,
            steps,
            planes,
            scores: curves::scores(shown)?,
            chance: study.chance(),
            answers: curves::answers(shown)?,
            answers_title: curves::answers_title(shown.legend).to_owned(),
            levels: curves::levels(shown)?,
        });
        Ok(())
    }

    /// Prompts of every concept whose states are shown.
    fn prompts_per_concept(&self, session: &Session<'_>, steps: usize) -> Result<usize, MeasureError> {
        let (study, concepts) = (session.study, session.study.concepts().len());
        let all = study.probe.prompts_per_concept;
        if let Some(states) = self.states {
            return match states / concepts {
                0 => Err(MeasureError::out_of_range(
                    "--states",
                    format!("at least {concepts}, one of each concept"),
                    states,
                )),
                per_concept => Ok(per_concept.min(all)),
            };
        }
        let planes = (session.subjects.anatomy().n_layers + 1) * study.tokens.len();
        let states = MOST_STATES.min(MOST_POINTS / (self.expected * steps * planes));
        Ok((states / concepts).clamp(1, all))
    }

    /// Writes the page, titled `title`.
    ///
    /// # Errors
    /// When something else is there and `force` is not given, or the file cannot be written.
    pub fn write(self, title: &str, path: &Path, force: bool) -> Result<(), MeasureError> {
        check_page(path, force)?;
        Ok(write_whole(path, render(&self.titled(title)).as_bytes())?)
    }

    /// What a page titled `title` shows.
    pub fn titled(self, title: &str) -> Exploration {
        Exploration { title: title.to_owned(), runs: self.runs }
    }
}

/// Nothing, if a page may be written to `path`.
///
/// # Errors
/// When something is there that is no such page and `force` is not given, or that is a part of a run.
pub fn check_page(path: &Path, force: bool) -> Result<(), MeasureError> {
    Ok(Output { mark: MARK, force }.check(path)?)
}
