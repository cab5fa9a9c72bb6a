//! A task from outside: y = f(w·x) with f linear or absolute value, and which of the two is the concept.
//!
//! Run it with `cargo run -p custom-task -- train experiments/custom-task/nonlinearity.toml`; every other command of
//! the project works on it as well.

use std::process::ExitCode;
use std::sync::Arc;

use emergence::data::{Concept, ConceptId, Prompt, PromptShape, Task, TaskError, TaskRegistry};
use rand::{Rng, RngExt};
use serde::Deserialize;

/// The `[task]` section of a configuration, without its `kind`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NonlinearityConfig {
    d_x: usize,
    n_points: usize,
}

#[derive(Debug)]
struct Nonlinearity {
    shape: PromptShape,
    concepts: [Concept; 2],
}

impl NonlinearityConfig {
    fn build(self) -> Result<Arc<dyn Task>, TaskError> {
        for (field, value) in [("task.d_x", self.d_x), ("task.n_points", self.n_points)] {
            if !(1..=64).contains(&value) {
                return Err(TaskError::out_of_range(field, "between 1 and 64", value));
            }
        }
        let concept = |name: &str| Concept { name: name.to_owned(), weight: 0.5 };
        let shape = PromptShape { n_points: self.n_points, d_x: self.d_x };
        Ok(Arc::new(Nonlinearity { shape, concepts: [concept("linear"), concept("absolute value")] }))
    }
}

impl Task for Nonlinearity {
    fn shape(&self) -> PromptShape {
        self.shape
    }

    fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    fn sample(&self, concept: ConceptId, rng: &mut dyn Rng) -> Prompt {
        let PromptShape { n_points, d_x } = self.shape;
        let mut uniform = |n: usize| (0..n).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        let w = uniform(d_x);
        let xs = uniform(n_points * d_x);
        let linear = |x: &[f32]| x.iter().zip(&w).map(|(x, w)| x * w).sum::<f32>();
        let f = |y: f32| if concept.0 == 0 { y } else { y.abs() };
        let ys = xs.chunks_exact(d_x).map(|x| f(linear(x))).collect();
        Prompt { concept, xs, ys }
    }
}

fn main() -> ExitCode {
    emergence::command_line(&TaskRegistry::builtin().with("nonlinearity", NonlinearityConfig::build))
}
