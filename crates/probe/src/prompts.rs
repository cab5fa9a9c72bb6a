//! What a model is asked about, and what it answers.

use data::{Prompt, TextPrompt};

/// Prompts of one form. The forms are known to the compiler: a third one is a change of this type.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompts {
    /// Pairs of numbers.
    Pairs(Vec<Prompt>),
    /// Pairs of text.
    Text(Vec<TextPrompt>),
}

/// Answers to prompts, one for every pair from the pairs before it.
///
/// # Shapes
/// `[n_prompts][n_points]`
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// To pairs of numbers: the prediction of y.
    Numbers(Vec<Vec<f64>>),
    /// To pairs of text: how well the right answer does.
    Scores(Vec<Vec<Score>>),
}

/// How well the right answer of a pair does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Whether greedy decoding gives it.
    pub exact: bool,
    /// Natural logarithm of the probability of its tokens.
    pub log_probability: f64,
}

impl Prompts {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Pairs(prompts) => prompts.len(),
            Self::Text(prompts) => prompts.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The concept of every prompt, by its index in the task's list.
    ///
    /// # Shapes
    /// `[n_prompts]`
    pub fn labels(&self) -> Vec<usize> {
        match self {
            Self::Pairs(prompts) => prompts.iter().map(|prompt| prompt.concept.0).collect(),
            Self::Text(prompts) => prompts.iter().map(|prompt| prompt.concept.0).collect(),
        }
    }

    /// The first pairs of every prompt.
    ///
    /// # Panics
    /// When one has fewer.
    pub fn first(&self, n_points: usize) -> Self {
        match self {
            Self::Pairs(prompts) => Self::Pairs(prompts.iter().map(|prompt| prompt.first(n_points)).collect()),
            Self::Text(prompts) => Self::Text(prompts.iter().map(|prompt| prompt.first(n_points)).collect()),
        }
    }

    /// The prompts, of numbers.
    ///
    /// # Panics
    /// When they are text.
    pub fn pairs(&self) -> &[Prompt] {
        match self {
            Self::Pairs(prompts) => prompts,
            Self::Text(_) => panic!("the prompts must be pairs of numbers, but are text"),
        }
    }

    /// The prompts, of text.
    ///
    /// # Panics
    /// When they are pairs of numbers.
    pub fn text(&self) -> &[TextPrompt] {
        match self {
            Self::Text(prompts) => prompts,
            Self::Pairs(_) => panic!("the prompts must be text, but are pairs of numbers"),
        }
    }
}

impl From<Vec<Prompt>> for Prompts {
    fn from(prompts: Vec<Prompt>) -> Self {
        Self::Pairs(prompts)
    }
}

impl From<Vec<TextPrompt>> for Prompts {
    fn from(prompts: Vec<TextPrompt>) -> Self {
        Self::Text(prompts)
    }
}

impl Answers {
    /// The predictions, `[n_prompts][n_points]`.
    ///
    /// # Panics
    /// When they are scores of text.
    pub fn numbers(&self) -> &[Vec<f64>] {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Scores(_) => panic!("the answers must be numbers, but are scores of text"),
        }
    }

    /// As [`numbers`](Self::numbers), by value.
    ///
    /// # Panics
    /// When they are scores of text.
    pub fn into_numbers(self) -> Vec<Vec<f64>> {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Scores(_) => panic!("the answers must be numbers, but are scores of text"),
        }
    }

    /// The scores, `[n_prompts][n_points]`.
    ///
    /// # Panics
    /// When they are numbers.
    pub fn scores(&self) -> &[Vec<Score>] {
        match self {
            Self::Scores(scores) => scores,
            Self::Numbers(_) => panic!("the answers must be scores of text, but are numbers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use data::{ConceptId, TextPair};

    use super::*;

    fn forms() -> [Prompts; 2] {
        let number = |concept| Prompt { concept: ConceptId(concept), xs: vec![1.0, 2.0], ys: vec![3.0, 4.0] };
        let pair = |input: &str| TextPair { input: input.to_owned(), answer: "so".to_owned() };
        let text = |concept| TextPrompt {
            concept: ConceptId(concept),
            instruction: None,
            pairs: vec![pair("one"), pair("two")],
        };
        [vec![number(2), number(0)].into(), vec![text(2), text(0)].into()]
    }

    #[test]
    fn both_forms_say_how_many_they_are_and_of_which_concepts() {
        for prompts in forms() {
            assert_eq!((prompts.len(), prompts.is_empty(), prompts.labels()), (2, false, vec![2, 0]));
            assert_eq!((prompts.first(1).labels(), prompts.first(2)), (vec![2, 0], prompts));
        }
        let [pairs, text] = forms().map(|prompts| prompts.first(1));
        assert_eq!((pairs.pairs()[0].ys.len(), text.text()[0].pairs.len()), (1, 1));
    }

    #[test]
    #[should_panic(expected = "the prompts must be pairs of numbers, but are text")]
    fn text_is_not_read_as_numbers() {
        forms()[1].pairs();
    }
}
