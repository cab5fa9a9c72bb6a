//! The subspace that interchange does most with.

use nalgebra::DMatrix;
use probe::{Study, Subject, SubjectError};

use super::Donor;
use super::states::{AtLayer, AtToken, Bases, random_basis};
use super::subspace::orthonormal;
use super::twins::Twins;
use crate::measurements::directions;

/// Steps of gradient descent.
const STEPS: usize = 60;
/// How far the directions are turned in a step, in radians, at the beginning and at the end.
const TURNS: [f64; 2] = [0.3, 0.02];

/// The directions for each token, `rank` of them, with which the answers move by what [`Twins::goal`] asks for, with the least
/// sum of squares of what they miss. Found from random ones, for all tokens together. None if the subject cannot be differentiated.
///
/// # Source
/// Distributed alignment search: Geiger et al. (2024), arXiv 2303.02536. There an Adam step and an orthogonal
/// parametrisation take the place of the turn here.
pub(super) fn search(
    study: &Study,
    subject: &dyn Subject,
    twins: &Twins,
    here: &AtLayer<'_>,
    rank: usize,
) -> Result<Option<Bases>, SubjectError> {
    let Some(plain) = subject.sensitivities(&twins.prompts, &here.edit(Donor::Itself, None))? else { return Ok(None) };
    let optimal = twins.own.iter().zip(twins.goal());
    let wanted: Vec<f64> = plain.answers.iter().zip(optimal).map(|(plain, (own, goal))| plain + goal - own).collect();
    let random = |token| random_basis(directions(study), token, subject.anatomy().d_model, rank);
    let mut bases: Bases = (0..here.tokens.len()).map(random).collect();
    let mut best = (f64::INFINITY, bases.clone());
    for step in 0..STEPS {
        let edit = here.edit(Donor::Twin, Some(&bases));
        let Some(found) = subject.sensitivities(&twins.prompts, &edit)? else { return Ok(None) };
        let off: Vec<f64> = found.answers.iter().zip(&wanted).map(|(answer, wanted)| answer - wanted).collect();
        let loss = off.iter().map(|off| off * off).sum::<f64>();
        if loss < best.0 {
            best = (loss, bases.clone());
        }
        let parts = here.tokens.iter().zip(&found.derivatives).zip(&bases);
        let gradients: Vec<DMatrix<f64>> =
            parts.map(|((here, derivatives), basis)| gradient(here, derivatives, &off, basis)).collect();
        let norm = gradients.iter().map(DMatrix::norm_squared).sum::<f64>().sqrt();
        if norm == 0.0 {
            break;
        }
        let turn = TURNS[0] * (TURNS[1] / TURNS[0]).powf(step as f64 / (STEPS - 1) as f64);
        let size = turn * (here.tokens.len() as f64).sqrt() / norm;
        bases = bases.iter().zip(&gradients).map(|(basis, gradient)| orthonormal(basis - gradient * size)).collect();
    }
    Ok(Some(best.1))
}

/// Half the derivative of the sum of squares of what answers are `off` by with respect to the directions at one token, without
/// what would only mix them.
///
/// With h + (t − h) Q Qᵀ in place of h, and g the derivative of an answer with respect to it, that of the answer with respect
/// to Q is (g (t − h)ᵀ + (t − h) gᵀ) Q.
fn gradient(here: &AtToken, derivatives: &[f32], off: &[f64], basis: &DMatrix<f64>) -> DMatrix<f64> {
    let d_model = here.own.ncols();
    let weighted = DMatrix::from_fn(off.len(), d_model, |i, k| off[i] * f64::from(derivatives[i * d_model + k]));
    let product = weighted.transpose() * (&here.twin - &here.own);
    let along = (&product + product.transpose()) * basis;
    &along - basis * (basis.transpose() * &along)
}

#[cfg(test)]
mod tests {
    use data::{Purpose, Token};
    use probe::{Layer, Prompts};

    use super::*;
    use crate::fake::{Linear, study};

    /// Of the way that the answers have to go, what is left after the descent.
    const LEFT: f64 = 0.05;

    /// The second half of the state is all that two answers of the hand-made model differ in; two directions of it are enough
    /// for no prompt, four for all.
    #[test]
    fn four_directions_are_found_that_carry_the_answer_all_the_way() {
        let (study, model) = (study(), Linear::new([0.5, 0.5], 0.0));
        let twins = Twins::new(&study, Purpose::Eval, 0, 20).unwrap();
        let others = study.balanced(Purpose::Patch, 0, 20).unwrap();
        let answers = |prompts: &Prompts| -> Vec<f64> {
            model.plain_answers(prompts).unwrap().numbers().iter().map(|answers| answers[5]).collect()
        };
        let (own, goal) = (answers(&twins.prompts), answers(&twins.twins));
        let twins = twins.between(own.clone(), goal.clone());
        let here = AtLayer::read(&model, &twins, &others, (Layer(2), &[Token::X(6)])).unwrap();
        let left = |rank: usize| {
            let bases = search(&study, &model, &twins, &here, rank).unwrap().unwrap();
            let found = model.answers(&twins.prompts, &[here.edit(Donor::Twin, Some(&bases))]).unwrap();
            let square = |a: f64, b: f64| (a - b) * (a - b);
            let missed: f64 = found[0].numbers().iter().zip(&goal).map(|(found, goal)| square(found[5], *goal)).sum();
            missed / own.iter().zip(&goal).map(|(own, goal)| square(*own, *goal)).sum::<f64>()
        };
        let [one, two, four] = [1, 2, 4].map(left);
        assert!(four < LEFT && four < two && two < one && one < 1.0, "{one} {two} {four}");
    }
}
