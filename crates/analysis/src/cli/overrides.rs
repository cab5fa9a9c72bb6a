//! What a command line sets otherwise than a configuration.

use clap::Args;
use run::ConfigError;

/// What is set otherwise than a configuration says.
#[derive(Debug, Args)]
pub struct Overrides {
    /// Seed of all randomness, as --set seed=N
    #[arg(long, value_parser = terminal::whole::<u64>(0, Some(i64::MAX as u64)))]
    seed: Option<u64>,
    /// Replace a field: --set probe.neighbours=20; may be given many times
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub fields: Vec<String>,
}

impl Overrides {
    /// All of them as `PATH=VALUE`, in the order in which they apply.
    ///
    /// # Errors
    /// When both name the seed.
    pub fn sets(&self) -> Result<Vec<String>, ConfigError> {
        let names_seed = |set: &&String| set.split('=').next().map(str::trim) == Some("seed");
        if let (Some(_), Some(set)) = (self.seed, self.fields.iter().find(names_seed)) {
            let (field, range) = ("--set".to_owned(), "a field other than seed beside --seed".to_owned());
            return Err(ConfigError::OutOfRange { field, range, value: set.clone() });
        }
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        Ok(self.fields.iter().cloned().chain(seed).collect())
    }
}
