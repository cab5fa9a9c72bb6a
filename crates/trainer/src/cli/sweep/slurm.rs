//! A sweep as an array of a cluster's jobs.
//!
//! Three kinds of scripts are written, and nothing else is known of the scheduler: how far the runs have come is read from
//! their own files, never from its accounting. A task completes one run and is its whole story: its exit code is the run's,
//! and a warning ahead of the time limit makes it save, leave and ask to be queued again, itself and no other task.

use std::path::{Path, PathBuf};
use std::process::Command;

use analysis::CliError;
use clap::Args;
use data::TaskRegistry;
use record::{Folder, Output};
use run::Source;
use terminal::{Failure, in_shell, note, say};

use super::{Members, Sweep};

/// Where the scripts lie, in the sweep's folder.
const SCRIPTS: &str = "slurm";
/// What is in each of them.
const MARK: &str = "# Written by `sweep --slurm`";

/// How Slurm is asked.
#[derive(Debug, Args)]
pub(super) struct Slurm {
    /// Submit what --slurm writes, and exit
    #[arg(long, requires = "for_slurm", conflicts_with_all = ["list", "index", "collect"])]
    submit: bool,
    /// Tasks of one array at most; the cluster's limit is `MaxArraySize` of `scontrol show config`, less 1
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = terminal::whole::<u32>(1, None), requires = "for_slurm")]
    array_limit: u32,
    /// An option of sbatch for the array, as --sbatch=--time=02:00:00 or --sbatch=--gpus=1; may be given many times
    #[arg(long = "sbatch", value_name = "OPTION", allow_hyphen_values = true, requires = "for_slurm", value_parser = option)]
    options: Vec<String>,
}

/// An option of sbatch as it is typed.
fn option(text: &str) -> Result<String, String> {
    let name = text.split(['=', ' ']).next().unwrap_or_default();
    match text.starts_with('-') && !text.contains(char::is_control) && !["-a", "--array"].contains(&name) {
        true => Ok(text.to_owned()),
        false => Err("must be one option of sbatch other than --array, which says what is to be done".to_owned()),
    }
}

impl Slurm {
    /// Writes the scripts for the runs that are to be done, and submits them if that is asked for.
    ///
    /// # Errors
    /// When the disk fails, a file of another origin is in the way, or `sbatch` fails.
    pub(super) fn write(&self, sweep: &Sweep, members: &Members, registry: &TaskRegistry) -> Result<(), CliError> {
        let open: Vec<usize> =
            members.list().iter().filter(|member| member.status.is_open()).map(|member| member.index).collect();
        let folder = absolute(&members.out)?.join(SCRIPTS);
        let command = command(sweep, &members.out, registry)?;
        let scripts = Scripts { command, name: &members.name, folder: &folder, from: &absolute(Path::new("."))? };
        let arrays = in_arrays(&open, self.array_limit as usize);
        let mut files: Vec<(String, String)> = Vec::new();
        for (part, (first, tasks)) in arrays.iter().enumerate() {
            files.push((format!("array-{part}.sh"), scripts.array(*first, tasks, &self.options)));
        }
        files.push(("collect.sh".to_owned(), scripts.collect()));
        files.push(("submit.sh".to_owned(), scripts.submit(arrays.len())));
        let output = Output { mark: MARK, force: sweep.force };
        files.iter().try_for_each(|(name, _)| output.check(&folder.join(name)))?;
        let written = Folder::create(&folder)?;
        files.iter().try_for_each(|(name, text)| written.write(name, text.as_bytes()))?;
        let submit = folder.join("submit.sh");
        note(&format!("{} of {} runs are to be done", open.len(), members.experiments.len()));
        if !self.submit {
            return Ok(say(&format!("sh {}", in_shell(&submit)))?);
        }
        match Command::new("sh").arg(&submit).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(format!("{}: {status}", submit.display()))),
            Err(error) => Err(failed(format!("{}: {error}", submit.display()))),
        }
    }
}

fn failed(reason: String) -> CliError {
    Failure::Run(anyhow::anyhow!("could not submit the sweep: {reason}")).into()
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| failed(format!("{}: {error}", path.display())))
}

/// The command that does the sweep, without what says which part.
fn command(sweep: &Sweep, out: &Path, registry: &TaskRegistry) -> Result<String, CliError> {
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let file = match Source::named(&sweep.file) {
        Source::Preset { name, .. } => PathBuf::from(name),
        Source::File(path) => absolute(&path)?,
    };
    let mut words = vec![program, PathBuf::from("sweep"), file, PathBuf::from("--out"), absolute(out)?];
    words.extend(sweep.sets.iter().flat_map(|set| ["--set".into(), set.into()]));
    let mut command: Vec<String> = words.iter().map(|word| in_shell(word)).collect();
    command.extend(sweep.job.to_words());
    command.extend(sweep.force.then(|| "--force".to_owned()));
    command.extend(registry.allows_processes().then(|| "--allow-process".to_owned()));
    Ok(command.join(" "))
}

/// The runs at `open` as arrays of tasks 0 to `limit` - 1: the first place of each, and its tasks.
fn in_arrays(open: &[usize], limit: usize) -> Vec<(usize, Vec<usize>)> {
    let same_array = |a: &usize, b: &usize| a / limit == b / limit;
    open.chunk_by(same_array)
        .map(|places| {
            let first = places[0] / limit * limit;
            (first, places.iter().map(|place| place - first).collect())
        })
        .collect()
}

/// Ascending numbers as Slurm lists them: `0-3,7`.
fn as_ranges(numbers: &[usize]) -> String {
    let ranges = numbers.chunk_by(|a, b| a + 1 == *b).map(|range| match range {
        [one] => one.to_string(),
        _ => format!("{}-{}", range[0], range[range.len() - 1]),
    });
    ranges.collect::<Vec<_>>().join(",")
}

/// From 22.05 on `srun` does not take over what the script asked for, and may bind a task to one core.
const HAND_DOWN_CORES: &str = "[ -z \"$SLURM_CPUS_PER_TASK\" ] || export SRUN_CPUS_PER_TASK=\"$SLURM_CPUS_PER_TASK\"\n";

struct Scripts<'a> {
    command: String,
    name: &'a str,
    folder: &'a Path,
    /// The folder that relative paths of the command begin in.
    from: &'a Path,
}

impl Scripts<'_> {
    fn array(&self, first: usize, tasks: &[usize], options: &[String]) -> String {
        let head = self.head("the runs that are to be done", self.name, "%A_%a.log");
        let tasks = as_ranges(tasks);
        // Of an option that is there twice the later one counts.
        let options: String = options.iter().map(|option| format!("#SBATCH {option}\n")).collect();
        let place = match first {
            0 => "\"$SLURM_ARRAY_TASK_ID\"".to_owned(),
            _ => format!("$(({first} + SLURM_ARRAY_TASK_ID))"),
        };
        let command = &self.command;
        format!(
            "{head}#SBATCH --array={tasks}\n#SBATCH --time=01:00:00\n#SBATCH --signal=TERM@120\n#SBATCH --requeue\n\
             #SBATCH --open-mode=append\n{options}\n\
             {HAND_DOWN_CORES}srun --ntasks=1 {command} --index {place}\ncode=$?\n\
             # The warning ahead of the time limit: all is saved, and this task is to go on. Without its own number it would be\n\
             # the whole array, which has the same name as the job of its last task.\n\
             if [ $code -eq 130 ]; then\n  scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}\"\nfi\n\
             exit $code\n"
        )
    }

    fn collect(&self) -> String {
        let name = format!("{}-collect", self.name);
        let head = self.head("the comparison of the runs that are finished", &name, "collect-%j.log");
        format!("{head}#SBATCH --time=01:00:00\n\n{HAND_DOWN_CORES}srun --ntasks=1 {} --collect\n", self.command)
    }

    fn head(&self, what: &str, name: &str, log: &str) -> String {
        let (log, from) = (self.folder.join(log), in_shell(self.from));
        let log = in_shell(&log);
        format!(
            "#!/bin/sh\n{MARK}: {what}.\n#SBATCH --job-name={name}\n#SBATCH --chdir={from}\n#SBATCH --output={log}\n"
        )
    }

    fn submit(&self, arrays: usize) -> String {
        let script = |name: &str| in_shell(&self.folder.join(name));
        // In a cluster of clusters a name stands behind the number.
        let array = |part| {
            let path = script(&format!("array-{part}.sh"));
            format!("job=$(sbatch --parsable {path})\nafter=$after:${{job%%;*}}\n")
        };
        let arrays: String = (0..arrays).map(array).collect();
        let collect = script("collect.sh");
        format!(
            "#!/bin/sh\n{MARK}: submits the others.\nset -e\nafter=\n{arrays}\
             job=$(sbatch --parsable ${{after:+--dependency=afterany$after}} {collect})\n\
             echo \"arrays${{after:-: none}}, comparison: $job\"\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_beyond_the_limit_go_into_further_arrays() {
        assert_eq!(in_arrays(&[0, 1, 5, 9, 10, 25], 10), [(0, vec![0, 1, 5, 9]), (10, vec![0]), (20, vec![5])]);
        assert_eq!(in_arrays(&[], 10), []);
        assert_eq!(as_ranges(&[0, 1, 2, 3, 7, 9, 10]), "0-3,7,9-10");
    }

    #[test]
    fn a_task_asks_for_itself_alone() {
        let scripts = Scripts {
            command: "emergence sweep a.toml".to_owned(),
            name: "a",
            folder: Path::new("/runs/slurm"),
            from: Path::new("/here"),
        };
        let options = ["--time=00:10:00".to_owned()];
        let expected = "#!/bin/sh\n# Written by `sweep --slurm`: the runs that are to be done.\n#SBATCH --job-name=a\n\
            #SBATCH --chdir=/here\n#SBATCH --output=/runs/slurm/%A_%a.log\n#SBATCH --array=0-1\n#SBATCH --time=01:00:00\n#SBATCH --signal=TERM@120\n\
            #SBATCH --requeue\n#SBATCH --open-mode=append\n#SBATCH --time=00:10:00\n\n\
            [ -z \"$SLURM_CPUS_PER_TASK\" ] || export SRUN_CPUS_PER_TASK=\"$SLURM_CPUS_PER_TASK\"\n\
            srun --ntasks=1 emergence sweep a.toml --index $((1000 + SLURM_ARRAY_TASK_ID))\ncode=$?\n\
            # The warning ahead of the time limit: all is saved, and this task is to go on. Without its own number it would be\n\
            # the whole array, which has the same name as the job of its last task.\n\
            if [ $code -eq 130 ]; then\n  scontrol requeue \"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}\"\nfi\nexit $code\n";
        assert_eq!(scripts.array(1000, &[0, 1], &options), expected);
        let submit = scripts.submit(2);
        assert!(submit.contains("/runs/slurm/array-1.sh") && submit.contains("/runs/slurm/collect.sh"), "{submit}");
    }
}
