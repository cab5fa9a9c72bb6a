//! What tests of measurements need: a study of a small task, without a run and without a model of ours.

mod text;

use std::sync::Mutex;

use data::{Prompt, TaskRegistry, Token};
use probe::{
    Anatomy, Answers, Change, Component, Delivery, Edit, EvalConfig, Layer, Look, ProbeConfig, ProbeKind, ProbeToken,
    Prompts, Representations, Sensitivities, Study, Subject, SubjectError, Subjects, Vectors, Wanted,
};

pub(crate) use text::{Counter, TextTraining, text_study};

/// Two bases of rank 2 in four coordinates, six pairs a prompt; everything small.
pub(crate) fn study() -> Study {
    study_with("")
}

/// The same with another line in its task.
pub(crate) fn study_with(line: &str) -> Study {
    let task = format!(
        "kind = \"sparse_regression\"\nd_x = 4\nn_points = 6\nbases = {{ blocks = {{ count = 2, rank = 2 }} }}\n\
         noise_variance = 0.01\nw_std = 1.0\n{line}"
    );
    let task = TaskRegistry::builtin().build(&task.parse().unwrap()).unwrap();
    let probe = probe_config(vec![ProbeToken::QueryX, ProbeToken::LastY]);
    Study::new(0, task, EvalConfig { prompts_per_concept: 20 }, probe).unwrap()
}

fn probe_config(tokens: Vec<ProbeToken>) -> ProbeConfig {
    ProbeConfig {
        probes: ProbeKind::ALL.to_vec(),
        neighbours: 10,
        folds: 5,
        ridge: 1.0,
        shrinkage: 0.1,
        prompts_per_concept: 12,
        resamples: 4,
        tokens,
    }
}

/// A model made by hand: a step of gradient descent, as linear attention can take it.
///
/// A state is `[x, m]`. At an x token x is the token's, at a y token it is x · y. To m every block's attention adds its
/// share of the mean of x · y over the pairs so far, the first half of the coordinates by head 1 and the rest by head 2, so
/// that m shows which coordinates are on: the concept. Every block's feed-forward part adds a multiple of the state. The
/// answer is x · m at the x token, behind the last block.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    anatomy: Anatomy,
    /// The share of the mean that attention adds, block by block.
    pub(crate) attention: Vec<f64>,
    /// The multiple of the state that the feed-forward part adds.
    pub(crate) feed_forward: f64,
}

impl Linear {
    /// For the prompts of [`study`].
    pub(crate) fn new(attention: [f64; 2], feed_forward: f64) -> Self {
        let anatomy = Anatomy { n_layers: 2, n_heads: 2, d_model: 8 };
        Self { anatomy, attention: attention.to_vec(), feed_forward }
    }

    /// Every layer at one token of prompt number `number`, each as the components in their order: `[layers + 1][4]`.
    fn trace(&self, number: usize, prompt: &Prompt, token: Token, edit: &Edit) -> Vec<[Vec<f64>; 4]> {
        let half = self.anatomy.d_model / 2;
        let (pair, seen) = (token.index() / 2, token.index().div_ceil(2));
        let (x, y) = prompt.pairs().nth(pair).expect("a pair of the prompt");
        let factor = if matches!(token, Token::X(_)) { 1.0 } else { y };
        let mut h: Vec<f64> = x.iter().map(|x| x * factor).chain(vec![0.0; half]).collect();
        let mut mean = vec![0.0; 2 * half];
        for (x, y) in prompt.pairs().take(seen) {
            x.iter().enumerate().for_each(|(k, x)| mean[half + k] += x * y / seen as f64);
        }
        let nothing = vec![0.0; 2 * half];
        let mut layers: Vec<[Vec<f64>; 4]> = Vec::new();
        for layer in (0..=self.anatomy.n_layers).map(Layer) {
            let [mut attention, mut feed_forward] = [nothing.clone(), nothing.clone()];
            if let Some(share) = layer.0.checked_sub(1).map(|block| self.attention[block]) {
                let off = |k: usize| edit.0.contains(&Change::Ablate { layer, head: self.head(k) });
                attention = (0..2 * half).map(|k| if off(k) { 0.0 } else { share * mean[k] }).collect();
                for change in &edit.0 {
                    if let Change::ReplaceHead { layer: at, head, token: of, by } = change
                        && (*at, *of) == (layer, token)
                    {
                        attention = plus(&self.without(*head, attention), by.of(number));
                    }
                }
                feed_forward = plus(&h, &attention).iter().map(|value| self.feed_forward * value).collect();
            }
            let block = plus(&attention, &feed_forward);
            h = plus(&h, &block);
            for change in &edit.0 {
                match change {
                    Change::Replace { layer: at, token: of, by } if (*at, *of) == (layer, token) => {
                        h = by.of(number).to_vec();
                    }
                    Change::Add { layer: at, token: of, what } if (*at, *of) == (layer, token) => {
                        h = plus(&h, what.of(number));
                    }
                    _ => {}
                }
            }
            layers.push([h.clone(), attention, feed_forward, block]);
        }
        layers
    }

    /// The head that writes a coordinate.
    fn head(&self, k: usize) -> usize {
        1 + usize::from(4 * k >= 3 * self.anatomy.d_model)
    }

    /// What attention writes but for one head.
    fn without(&self, head: usize, attention: Vec<f64>) -> Vec<f64> {
        attention.into_iter().enumerate().map(|(k, value)| if self.head(k) == head { 0.0 } else { value }).collect()
    }

    fn answer(&self, number: usize, prompt: &Prompt, edit: &Edit) -> Vec<f64> {
        let at_pair = |pair| {
            let [h, ..] = self.trace(number, prompt, Token::X(pair), edit).pop().expect("a last layer");
            let (x, m) = h.split_at(h.len() / 2);
            x.iter().zip(m).map(|(x, m)| x * m).sum()
        };
        (1..=prompt.ys.len()).map(at_pair).collect()
    }
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

impl Subject for Linear {
    fn anatomy(&self) -> &Anatomy {
        &self.anatomy
    }

    /// A portion a layer, the last one first: measurements must not rely on an order.
    fn read(&self, groups: &[Prompts], wanted: &Wanted, deliver: &mut dyn FnMut(Delivery)) -> Result<(), SubjectError> {
        let last = self.anatomy.n_layers;
        for (group, prompts) in groups.iter().map(Prompts::pairs).enumerate() {
            for &component in &wanted.components {
                for layer in wanted.layers_of(component, last).into_iter().rev() {
                    let state = |token: &Token, prompt: &Prompt| {
                        let trace = self.trace(0, prompt, *token, &Edit::default());
                        trace[layer.0][component as usize].iter().map(|&value| value as f32).collect::<Vec<_>>()
                    };
                    let of_token = |token| prompts.iter().flat_map(move |prompt| state(token, prompt));
                    let values = wanted.tokens.iter().flat_map(of_token).collect();
                    let labels = prompts.iter().map(|prompt| prompt.concept.0).collect();
                    let states = Representations::new(labels, component, vec![layer], wanted.tokens.clone(), values);
                    let whole = (component, layer) == (Component::Residual, Layer(last));
                    let answer = |prompt| self.answer(0, prompt, &Edit::default());
                    let answers = || Answers::Numbers(prompts.iter().map(answer).collect());
                    deliver(Delivery { group, states, answers: whole.then(answers) });
                }
            }
        }
        Ok(())
    }

    fn head_outputs(
        &self,
        prompts: &Prompts,
        layer: Layer,
        tokens: &[Token],
    ) -> Result<Vec<Representations>, SubjectError> {
        let of_head = |head: usize| {
            let state = |token: Token, prompt: &Prompt| {
                let written = self.trace(0, prompt, token, &Edit::default()).swap_remove(layer.0)[1].clone();
                self.without(3 - head, written).into_iter().map(|value| value as f32).collect::<Vec<_>>()
            };
            let values = tokens.iter().flat_map(|&token| prompts.pairs().iter().flat_map(move |one| state(token, one)));
            let values = values.collect();
            Representations::new(prompts.labels(), Component::Attention, vec![layer], tokens.to_vec(), values)
        };
        Ok([1, 2].map(of_head).into())
    }

    /// A mean attends to all y tokens so far alike.
    fn attention(&self, prompts: &Prompts, _: Layer, looks: &[Look]) -> Result<Vec<Vec<Vec<f32>>>, SubjectError> {
        let of_look = |(from, to): &Look| match to {
            Token::Y(_) if to.index() <= from.index() => 1.0 / from.index().div_ceil(2) as f32,
            _ => 0.0,
        };
        Ok(vec![looks.iter().map(|look| vec![of_look(look); prompts.len()]).collect(); 2])
    }

    /// By differences, which are exact: an answer is a product of two parts of a state, with room for rounding.
    fn sensitivities(&self, prompts: &Prompts, edit: &Edit) -> Result<Option<Sensitivities>, SubjectError> {
        let last = |edit: &Edit| -> Vec<f64> {
            let prompts = prompts.pairs().iter().enumerate();
            prompts.map(|(number, prompt)| self.answer(number, prompt, edit).pop().expect("a pair")).collect()
        };
        let moved = |change: usize, k: usize, by: f64| {
            let mut edit = edit.clone();
            let Change::Replace { by: Vectors::Each(states), .. } = &mut edit.0[change] else { panic!("{edit:?}") };
            states.iter_mut().for_each(|state| state[k] += by);
            last(&edit)
        };
        let (n, d_model, step) = (prompts.len(), self.anatomy.d_model, 0.5);
        let of_change = |change: usize| {
            let along = |k| (moved(change, k, step), moved(change, k, -step));
            let all: Vec<(Vec<f64>, Vec<f64>)> = (0..d_model).map(along).collect();
            let at = |i: usize| all.iter().map(move |(up, down)| ((up[i] - down[i]) / (2.0 * step)) as f32);
            (0..n).flat_map(at).collect()
        };
        let derivatives = (0..edit.0.len()).map(of_change).collect();
        Ok(Some(Sensitivities { answers: last(edit), derivatives }))
    }

    fn answers(&self, prompts: &Prompts, edits: &[Edit]) -> Result<Vec<Answers>, SubjectError> {
        let prompts = prompts.pairs();
        let under =
            |edit| prompts.iter().enumerate().map(|(number, prompt)| self.answer(number, prompt, edit)).collect();
        Ok(edits.iter().map(|edit| Answers::Numbers(under(edit))).collect())
    }
}

/// A hand-made training of three steps, in which attention comes to write more and more.
#[derive(Debug)]
pub(crate) struct Training {
    anatomy: Anatomy,
    /// The steps of the models that were read, in their order.
    pub(crate) read: Mutex<Vec<usize>>,
    /// The step at which no model can be read, if there is one.
    pub(crate) damaged: Option<usize>,
}

impl Training {
    pub(crate) const STEPS: [usize; 3] = [0, 10, 20];

    pub(crate) fn new() -> Self {
        Self { anatomy: Linear::new([0.0; 2], 0.0).anatomy, read: Mutex::default(), damaged: None }
    }

    fn share(step: usize) -> f64 {
        0.025 * step as f64
    }
}

impl Subjects for Training {
    fn steps(&self) -> Result<Vec<usize>, SubjectError> {
        Ok(Self::STEPS.to_vec())
    }

    fn last_step(&self) -> Result<usize, SubjectError> {
        Ok(Self::STEPS[2])
    }

    fn require(&self, step: usize) -> Result<(), SubjectError> {
        let known = format!("{:?}", Self::STEPS);
        let missing = || SubjectError::NoStep { place: "the fake".to_owned(), step, known };
        if Self::STEPS.contains(&step) { Ok(()) } else { Err(missing()) }
    }

    fn anatomy(&self) -> &Anatomy {
        &self.anatomy
    }

    fn at(&self, step: usize) -> Result<Box<dyn Subject + '_>, SubjectError> {
        self.read.lock().unwrap().push(step);
        match self.damaged {
            Some(damaged) if damaged == step => Err(SubjectError::Unreadable("it is damaged".into())),
            _ => self.exchanged(step, step, Layer(0)),
        }
    }

    fn exchanged(&self, early: usize, late: usize, up_to: Layer) -> Result<Box<dyn Subject + '_>, SubjectError> {
        let step = |layer: usize| if layer <= up_to.0 { early } else { late };
        Ok(Box::new(Linear::new([1, 2].map(|layer| Self::share(step(layer))), 0.01)))
    }
}
