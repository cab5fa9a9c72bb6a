//! Which prompts a measurement can ask about.

use probe::{AnyTask, Study};

use super::MeasureError;

/// What a measurement needs of prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Hidden states and the concepts that they belong to: any prompts have them.
    States,
    /// Numbers to predict: errors are squared differences, and closed-form predictors answer as well.
    Numbers,
    /// Answers that are right or wrong and have a probability: prompts of text.
    Scores,
}

impl Needs {
    /// Nothing, if prompts of `study` have what the measurement called `name` needs.
    ///
    /// # Errors
    /// When they are text and it needs numbers, or numbers and it needs text.
    pub fn check(self, name: &str, study: &Study) -> Result<(), MeasureError> {
        let [numbers, text] = ["pairs of numbers", "text"];
        let (needed, found) = match (self, &study.task) {
            (Self::Numbers, AnyTask::Text(_)) => (numbers, text),
            (Self::Scores, AnyTask::Pairs(_)) => (text, numbers),
            (Self::States, _) | (Self::Numbers, AnyTask::Pairs(_)) | (Self::Scores, AnyTask::Text(_)) => return Ok(()),
        };
        let range = format!("one whose prompts are {needed}");
        Err(MeasureError::out_of_range(&format!("the task of {name}"), range, format!("one of {found}")))
    }
}

#[cfg(test)]
mod tests {
    use data::Legend;
    use record::{Folder, Maker};

    use super::*;
    use crate::fake::{Counter, TextTraining, text_study};
    use crate::show::Shown;
    use crate::{ALL, Accuracy, Entry, Errors, LiveEntry, Session};

    fn sentence(name: &str) -> String {
        format!("the task of {name} must be one whose prompts are pairs of numbers, but is one of text")
    }

    fn legend(study: &Study) -> Legend {
        Legend::of_text(study.task.text().as_ref())
    }

    #[test]
    fn what_needs_numbers_is_refused_for_text_and_the_rest_gives_rows_and_is_shown() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::create(place.path()).unwrap();
        let (study, subjects) = (text_study(), TextTraining::new());
        let session = Session::new(&study, &subjects, &folder, &|_| {});
        let legend = legend(&study);
        let measure = |entry: &Entry| -> Result<_, MeasureError> {
            (entry.plan)(&entry.defaults(), &session)?.make(&Maker::this_program(entry.name), || Ok(()))
        };
        for entry in ALL {
            match (entry.needs, measure(entry)) {
                (Needs::Numbers, Err(error)) => assert_eq!(error.to_string(), sentence(entry.name)),
                (Needs::States | Needs::Scores, Ok(tables)) => {
                    for table in tables {
                        let lines = std::fs::read_to_string(&table).unwrap_or_default().lines().count();
                        assert!(lines > 1, "{} has no row", table.display());
                    }
                }
                (needs, result) => panic!("{} needs {needs:?}, and gives {result:?}", entry.name),
            }
            (entry.show)(&Shown { folder: &folder, legend: &legend }).unwrap();
        }
        let entry = Entry::of::<Accuracy>();
        let of_text = "the task of accuracy must be one whose prompts are text, but is one of pairs of numbers";
        assert_eq!(entry.needs.check(entry.name, &crate::fake::study()).unwrap_err().to_string(), of_text);
        let with_states = ALL.iter().filter(|entry| entry.needs == Needs::States).map(|entry| entry.name);
        assert_eq!(with_states.collect::<Vec<_>>(), ["cd", "sites", "separation", "tdnv", "map", "sensitivity"]);
    }

    #[test]
    fn what_training_measures_is_refused_as_well() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::create(place.path()).unwrap();
        let study = text_study();
        let legend = legend(&study);
        let errors = LiveEntry::of::<Errors>();
        let shown = Shown { folder: &folder, legend: &legend };
        let error = (errors.append)(&study, &Counter::new(0.5), 0, &shown).unwrap_err();
        assert_eq!(error.to_string(), sentence("errors"));
    }
}
