//! Operations in one piece on the elements of a CPU's tensors.
//!
//! Vector code is generic over the instruction set, which is chosen at run time.

mod attention;
mod block;
mod buffer;
mod chunk;
mod decoder;
mod embedding_readout;
mod flex;
mod fold;
mod gelu;
mod lanes;
mod orthogonal;
mod product;
mod rows;
mod update;

pub(crate) use block::{SavedBlock, block, block_gradient};
pub(crate) use decoder::{attend, attend_gradient, gate, gate_gradient, normalize, normalize_gradient};
pub(crate) use embedding_readout::{SavedNorm, embed, embed_gradient, read_out, read_out_gradient};
pub(crate) use product::product;
pub use product::products_per_second;

#[cfg(test)]
mod tests {
    use pulp::Arch;

    /// Every instruction set this machine has, the one without vectors included.
    pub(super) fn instruction_sets() -> Vec<Arch> {
        #[cfg(target_arch = "x86_64")]
        let vectors = [pulp::x86::V3::try_new().map(Arch::V3), pulp::x86::V4::try_new().map(Arch::V4)];
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = [Some(Arch::new())];
        std::iter::once(Arch::Scalar).chain(vectors.into_iter().flatten()).collect()
    }
}
