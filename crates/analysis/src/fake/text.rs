//! A study of text, and a model of text made by hand.

use std::sync::Arc;

use data::{Concept, ConceptId, Purpose, TextPair, TextPrompt, TextTask, Token};
use probe::{
    Anatomy, Answers, Change, Component, Delivery, Edit, EvalConfig, Layer, Prompts, Representations, Score, Study,
    Subject, SubjectError, Subjects, Wanted,
};
use rand::{Rng, RngExt};

/// Counting by one, up or down; of Null every answer goes its own way. Six pairs a prompt, probed at the last one and in
/// the middle.
pub(crate) fn text_study() -> Study {
    let concept = |name: &str| Concept { name: name.to_owned(), weight: 0.5 };
    let task = Arc::new(Counting(["up", "down"].map(concept)));
    Study::of_text(0, task, EvalConfig { prompts_per_concept: 20 }, super::probe_config(Vec::new()), &[5, 3]).unwrap()
}

#[derive(Debug)]
struct Counting([Concept; 2]);

impl TextTask for Counting {
    fn n_points(&self) -> usize {
        6
    }

    fn concepts(&self) -> &[Concept] {
        &self.0
    }

    fn null(&self) -> Option<ConceptId> {
        Some(ConceptId(2))
    }

    fn sample(&self, concept: ConceptId, _: Purpose, rng: &mut dyn Rng) -> TextPrompt {
        let pair = |_| {
            let input = rng.random_range(10..100);
            let answer = match concept.0 {
                0 => input + 1,
                1 => input - 1,
                _ => input + if rng.random() { 1 } else { -1 },
            };
            TextPair { input: input.to_string(), answer: answer.to_string() }
        };
        TextPrompt { concept, instruction: None, pairs: (0..self.n_points()).map(pair).collect() }
    }
}

/// A model that counts. A state is `[input / 100, m]`; to m every block's attention adds its share of the mean of answer −
/// input over the pairs so far, and feed-forward parts write nothing. It answers with input + m behind the last block. So
/// it cannot tell which answer belongs to which input. The tokens of an answer are its digits.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    anatomy: Anatomy,
    /// The share of the mean that attention adds.
    share: f64,
}

impl Counter {
    /// For the prompts of [`text_study`].
    pub(crate) fn new(share: f64) -> Self {
        Self { anatomy: Anatomy { n_layers: 2, n_heads: 1, d_model: 2 }, share }
    }

    /// What attention adds to m at a token.
    fn written(&self, prompt: &TextPrompt, token: Token) -> f64 {
        let seen = &prompt.pairs[..token.index().div_ceil(2)];
        let sum: f64 = seen.iter().map(|pair| number(&pair.answer) - number(&pair.input)).sum();
        self.share * sum / seen.len().max(1) as f64
    }

    fn state(&self, prompt: &TextPrompt, token: Token, component: Component, layer: Layer) -> [f64; 2] {
        let (Token::X(pair) | Token::Y(pair)) = token;
        let written = self.written(prompt, token);
        match component {
            Component::Residual => [number(&prompt.pairs[pair - 1].input) / 100.0, layer.0 as f64 * written],
            Component::Attention | Component::Block => [0.0, written],
            Component::FeedForward => [0.0, 0.0],
        }
    }

    /// Under an edit of prompt number `index`.
    fn score(&self, (index, prompt): (usize, &TextPrompt), pair: usize, edit: &Edit) -> Score {
        let (token, mut h) = (Token::X(pair), [number(&prompt.pairs[pair - 1].input) / 100.0, 0.0]);
        for layer in (0..=self.anatomy.n_layers).map(Layer) {
            h[1] += if layer.0 > 0 { self.written(prompt, token) } else { 0.0 };
            for change in &edit.0 {
                match change {
                    Change::Replace { layer: at, token: of, by } if (*at, *of) == (layer, token) => {
                        h.copy_from_slice(by.of(index));
                    }
                    Change::Add { layer: at, token: of, what } if (*at, *of) == (layer, token) => {
                        h.iter_mut().zip(what.of(index)).for_each(|(h, what)| *h += what);
                    }
                    _ => {}
                }
            }
        }
        let off = number(&prompt.pairs[pair - 1].answer) - (100.0 * h[0] + h[1]);
        Score { exact: off.abs() < 0.5, log_probability: -off * off }
    }
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

impl Subject for Counter {
    fn anatomy(&self) -> &Anatomy {
        &self.anatomy
    }

    /// A portion a layer and group, the last ones first: measurements must not rely on an order.
    fn read(&self, groups: &[Prompts], wanted: &Wanted, deliver: &mut dyn FnMut(Delivery)) -> Result<(), SubjectError> {
        for &component in &wanted.components {
            for layer in wanted.layers_of(component, self.anatomy.n_layers).into_iter().rev() {
                for (group, prompts) in groups.iter().enumerate().rev() {
                    let state = |&token: &Token| {
                        let of_prompt = move |prompt| self.state(prompt, token, component, layer);
                        prompts.text().iter().flat_map(of_prompt).map(|value| value as f32)
                    };
                    let values = wanted.tokens.iter().flat_map(state).collect();
                    let states =
                        Representations::new(prompts.labels(), component, vec![layer], wanted.tokens.clone(), values);
                    deliver(Delivery { group, states, answers: None });
                }
            }
        }
        Ok(())
    }

    fn answers(&self, prompts: &Prompts, edits: &[Edit]) -> Result<Vec<Answers>, SubjectError> {
        let under = |edit: &Edit| {
            let of_prompt = |numbered: (usize, &TextPrompt)| {
                (1..=numbered.1.pairs.len()).map(|pair| self.score(numbered, pair, edit)).collect::<Vec<_>>()
            };
            Answers::Scores(prompts.text().iter().enumerate().map(of_prompt).collect())
        };
        Ok(edits.iter().map(under).collect())
    }

    fn answer_tokens(&self, prompts: &Prompts) -> Result<Vec<Vec<Vec<u32>>>, SubjectError> {
        let of_answer = |answer: &str| answer.chars().map(u32::from).collect();
        let of_prompt = |prompt: &TextPrompt| prompt.pairs.iter().map(|pair| of_answer(&pair.answer)).collect();
        Ok(prompts.text().iter().map(of_prompt).collect())
    }
}

/// A hand-made training of two steps: before the first nothing is written.
#[derive(Clone, Debug)]
pub(crate) struct TextTraining(Counter);

impl TextTraining {
    pub(crate) fn new() -> Self {
        Self(Counter::new(0.5))
    }
}

impl Subjects for TextTraining {
    fn steps(&self) -> Result<Vec<usize>, SubjectError> {
        Ok(vec![0, 10])
    }

    fn last_step(&self) -> Result<usize, SubjectError> {
        Ok(10)
    }

    fn require(&self, _: usize) -> Result<(), SubjectError> {
        Ok(())
    }

    fn anatomy(&self) -> &Anatomy {
        &self.0.anatomy
    }

    fn at(&self, step: usize) -> Result<Box<dyn Subject + '_>, SubjectError> {
        Ok(Box::new(Counter::new(0.05 * step as f64)))
    }

    fn exchanged(&self, _: usize, late: usize, _: Layer) -> Result<Box<dyn Subject + '_>, SubjectError> {
        self.at(late)
    }

    fn untrained(&self) -> Option<Box<dyn Subject + '_>> {
        Some(Box::new(Counter::new(0.0)))
    }
}

#[test]
fn the_model_made_by_hand_answers_from_the_second_pair_on() {
    let study = text_study();
    let answers = Counter::new(0.5).plain_answers(&study.held_out().unwrap()).unwrap();
    for scores in answers.scores() {
        assert!(!scores[0].exact && scores[0].log_probability < -0.9, "nothing is known before the first pair");
        assert!(scores[1..].iter().all(|score| score.exact && score.log_probability > -1e-9), "{scores:?}");
    }
}
