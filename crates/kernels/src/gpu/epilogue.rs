//! What a product's kernel does with a number before it writes it: what would be a launch of its own.

use cubecl::prelude::*;

use super::VECTOR;
use super::rows::{gelu, gelu_slope};

/// What becomes of every number of a product before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Epilogue {
    /// Nothing.
    Plain,
    /// The bias of its column is added.
    Bias,
    /// Its bias and the number at its place in another matrix are added.
    Sum,
    /// Nothing, and the GELU of it and its bias is written elsewhere.
    Gelu,
    /// It is multiplied by the derivative of the GELU of another number and its bias.
    GeluGradient,
}

/// Writes four neighbouring numbers of a product.
#[cube]
pub(super) fn finish(
    sums: Vector<f32, Const<4>>,
    at: usize,
    column: usize,
    bias: &Array<Vector<f32, Const<4>>>,
    other: &Array<Vector<f32, Const<4>>>,
    product: &mut Array<Vector<f32, Const<4>>>,
    active: &mut Array<Vector<f32, Const<4>>>,
    #[comptime] epilogue: Epilogue,
) {
    if comptime!(epilogue == Epilogue::Bias) {
        product[at] = sums + bias[column];
    } else if comptime!(epilogue == Epilogue::Sum) {
        product[at] = sums + other[at] + bias[column];
    } else if comptime!(epilogue == Epilogue::GeluGradient) {
        let x = other[at] + bias[column];
        let mut slopes = Vector::<f32, Const<4>>::empty();
        #[unroll]
        for i in 0..VECTOR {
            slopes[i] = gelu_slope(x[i]);
        }
        product[at] = sums * slopes;
    } else {
        product[at] = sums;
        if comptime!(epilogue == Epilogue::Gelu) {
            let x = sums + bias[column];
            let mut gelus = Vector::<f32, Const<4>>::empty();
            #[unroll]
            for i in 0..VECTOR {
                gelus[i] = gelu(x[i]);
            }
            active[at] = gelus;
        }
    }
}
