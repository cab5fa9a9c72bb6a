//! A language model: what a folder says, weights from wherever they come, and a device.

use kernels::{Device, Kernels, OnBackend};

use crate::PretrainedError;
use crate::decoder::WeightSource;
use crate::folder::{DecoderConfig, ModelFolder};
use crate::head::{Head, Said};
use crate::passes::{LayerStates, Passed, Passes, Request, Watch};

/// A language model on a device. It holds no weights: every request reads them, one layer at a time.
pub struct LanguageModel<'a> {
    /// What the folder says.
    pub folder: &'a ModelFolder,
    /// Where its weights come from.
    pub source: &'a dyn WeightSource,
    /// Where the arithmetic is done.
    pub device: Device,
}

impl<'a> LanguageModel<'a> {
    /// The model as it lies in its folder.
    pub fn new(folder: &'a ModelFolder, device: Device) -> Self {
        Self { folder, source: &folder.tensors, device }
    }

    /// What it consists of.
    pub fn config(&self) -> &'a DecoderConfig {
        &self.folder.config
    }

    /// Sends a request through all layers.
    pub(crate) fn pass(
        &self,
        request: &Request,
        watch: &Watch<'_>,
        deliver: &mut dyn FnMut(LayerStates) -> Result<(), PretrainedError>,
    ) -> Result<Passed, PretrainedError> {
        struct Pass<'a> {
            passes: Passes<'a>,
            request: &'a Request,
            deliver: &'a mut dyn FnMut(LayerStates) -> Result<(), PretrainedError>,
        }
        impl OnBackend for Pass<'_> {
            type Output = Result<Passed, PretrainedError>;

            fn on<B: Kernels>(self, device: B::Device) -> Self::Output {
                self.passes.run::<B>(self.request, &device, self.deliver)
            }
        }
        let passes = Passes { config: self.config(), source: self.source, on_cpu: self.device.is_cpu(), watch };
        self.device.run(Pass { passes, request, deliver })
    }

    /// What the model says behind each of the last states about the next token, and about the tokens asked for.
    pub(crate) fn say(&self, states: &[f32], asked: &[u32]) -> Result<Vec<Said>, PretrainedError> {
        struct Say<'a>(Head<'a>, &'a [f32], &'a [u32]);
        impl OnBackend for Say<'_> {
            type Output = Result<Vec<Said>, PretrainedError>;

            fn on<B: Kernels>(self, device: B::Device) -> Self::Output {
                self.0.say::<B>(self.1, self.2, &device)
            }
        }
        self.device.run(Say(self.head(), states, asked))
    }

    /// The logits behind each of the last states, `[rows, vocabulary]`.
    pub(crate) fn logits(&self, states: &[f32]) -> Result<Vec<f32>, PretrainedError> {
        struct Logits<'a>(Head<'a>, &'a [f32]);
        impl OnBackend for Logits<'_> {
            type Output = Result<Vec<f32>, PretrainedError>;

            fn on<B: Kernels>(self, device: B::Device) -> Self::Output {
                self.0.logits::<B>(self.1, &device)
            }
        }
        self.device.run(Logits(self.head(), states))
    }

    fn head(&self) -> Head<'_> {
        Head { config: self.config(), source: self.source, on_cpu: self.device.is_cpu() }
    }
}
