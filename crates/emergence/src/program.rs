//! Commands about the program itself: what this machine has for it, completions, and manual pages.

use std::path::{Path, PathBuf};

use analysis::CliError;
use clap::{Command, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
use kernels::{DeviceChoice, products_per_second};
use model::Device;
use record::{COMMIT, Folder, Output};
use terminal::{Failure, say};

/// The first line of every manual page that this program wrote.
const MARK: &str = ".\\\" A manual page of emergence";

/// The width whose products `doctor` times: that of the small size in `benches/sizes`.
const WIDTH: usize = 128;

#[derive(Debug, Subcommand)]
pub(crate) enum Program {
    /// Say what this machine has for the program, and what is missing
    Doctor {
        /// Folder that runs are to be made in
        #[arg(long, default_value = "runs")]
        out: PathBuf,
    },
    /// Print completions for a shell, to be read by it when it starts
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a manual page for every command: emergence.1, emergence-sweep.1, …
    Man {
        /// Folder to write to
        out: PathBuf,
        /// Write over files that are no manual pages of this program
        #[arg(long)]
        force: bool,
    },
}

impl Program {
    /// Does what the command says; `whole` is the program.
    pub(crate) fn run(self, whole: Command) -> Result<(), CliError> {
        match self {
            Self::Doctor { out } => examine(&out),
            Self::Completions { shell } => {
                let mut text = Vec::new();
                let (mut whole, name) = (whole, "emergence");
                clap_complete::generate(shell, &mut whole, name, &mut text);
                Ok(say(String::from_utf8_lossy(&text).trim_end())?)
            }
            Self::Man { out, force } => {
                let mut whole = whole.disable_help_subcommand(true);
                whole.build();
                let (folder, output) = (Folder::create(&out)?, Output { mark: MARK, force });
                let pages = pages(&whole);
                pages.iter().try_for_each(|(name, _)| output.check(&folder.path().join(name)))?;
                Ok(pages.iter().try_for_each(|(name, text)| folder.write(name, text))?)
            }
        }
    }
}

/// The manual pages of a command and of those inside it, with their files' names.
fn pages(command: &Command) -> Vec<(String, Vec<u8>)> {
    let mut text = format!("{MARK}\n").into_bytes();
    let page = Man::new(command.clone());
    page.render(&mut text).expect("memory can be written to");
    let inside = command.get_subcommands().flat_map(pages);
    std::iter::once((page.get_filename(), text)).chain(inside).collect()
}

/// Prints what is there, a line each.
///
/// # Errors
/// When runs could not be written; everything else is said and no reason to fail.
fn examine(out: &Path) -> Result<(), CliError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let memory = Device::Flex.memory().map_or("not known".to_owned(), gib);
    let rate = products_per_second(WIDTH) / 1e9;
    say(&format!("program   {} at commit {COMMIT}", env!("CARGO_PKG_VERSION")))?;
    say(&format!("platform  {} {}, {}", std::env::consts::ARCH, std::env::consts::OS, vector_units()))?;
    say(&format!("cores     {cores} for this process"))?;
    say(&format!("memory    {memory} with swap space, as far as limits of this process allow"))?;
    say(&format!("products  {rate:.0} GFLOP/s in f32 on all cores, at width {WIDTH}"))?;
    say(&format!("GPU       {}", gpu()))?;
    let written = writable(out);
    let verdict = written.as_ref().map_or_else(|error| error.to_string(), |()| "can be written to".to_owned());
    say(&format!("folder    {}: {verdict}", out.display()))?;
    written
}

/// Which of the instructions that the products are made of this processor has.
fn vector_units() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match (is_x86_feature_detected!("avx512f"), has_avx2) {
            (true, _) => "AVX-512",
            (false, true) => "AVX2 with FMA",
            (false, false) => "neither AVX-512 nor AVX2, so products are slow",
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    "the vector units that every such processor has"
}

/// Whether there is a GPU for it, and what is missing if not.
fn gpu() -> String {
    match "cuda".parse::<DeviceChoice>() {
        Ok(DeviceChoice::Named(gpu)) => {
            gpu.check().map_or_else(|error| error.to_string(), |gpu| format!("{gpu} answers"))
        }
        _ => "this program is built without; build it with --features cuda".to_owned(),
    }
}

/// Tries in `out`, or where it would be made, what every run needs: to make, rename and remove a folder and a file.
fn writable(out: &Path) -> Result<(), CliError> {
    let absolute = std::path::absolute(out).map_err(|error| Failure::Run(error.into()))?;
    let there = absolute.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let _lock = Folder::at(there).lock()?;
    Ok(())
}
