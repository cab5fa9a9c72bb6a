//! Whole-path tests, one module a promise:
//!
//! - `layering`: which crate may use which, read from the manifests
//! - `golden`: both kinds of models, their gradients and ten steps of Adam and of Muon equal PyTorch's
//! - `lstm`: a model without attention is trained, resumed, tuned and measured like one with it
//! - `parity`: another backend gives the numbers of flex, in training and in eight commands
//! - `shapes`: a model of any shape computes the same in one piece as by burn's operations, and learns the same
//! - `resume`: a run stopped anywhere goes on to the same bits
//! - `finetune`: a run that continues from another; what is frozen keeps its bits
//! - `sweep`: many runs from one file, stopped, failed and resumed one by one, shared by processes, and compared
//! - `cluster`: the same spread over the jobs of a scheduler, each of which does one run
//! - `runs`: what lies in a folder of runs is listed, compared and tidied up
//! - `serve`: pages of a folder of runs follow what happens there, and answer nobody and nothing else
//! - `settings`: a run is found by its settings; other ways of measuring it, and runs of earlier programs
//! - `requests`: what is wrong is refused with the field, the range and the value, and never with a panic
//! - `arbitrary`: whatever is written where a configuration or weights should be is taken or refused
//! - `damage`: a damaged run, a full disk and a system that refuses are named in a line, and nothing is lost
//! - `field_reports`: what users of such programs report, a case each
//! - `faults`: whichever change to the disk fails, the file is named, nothing is lost and the run goes on to the same bits
//! - `mutations`: files that were changed at random are read or refused, in little time and memory and without a panic
//! - `other_task`: a finished run is asked about another task, in a place of its own
//! - `outputs`: a command writes over its own earlier output and over nothing else
//! - `report`: a finished run has every table, figure and a report that opens offline
//! - `until`: a run ends at the first checkpoint whose error is low enough, or that is far behind, and is finished then
//! - `fixture`: a run of an older program opens, reports and compares
//! - `presets`: every experiment asks a question, runs in small, and says how it runs at the paper's size
//! - `bench`: memory does not grow with the steps; the sizes compared with PyTorch
//! - `interventions`: patching, head ablation and layer exchange agree with the run's own tables
//! - `lm`: pretrained models are measured and changed, alone and as steps of a training; threads change nothing
//! - `lm_tuning`: they are tuned and compared; what was stopped goes on to the same tables
//! - `lm_folders`: a folder of weights that is damaged or of an unknown model is refused
//! - `lm_refusals`: a bad prompt, corpus or request is refused, and nothing is left behind
//! - `documents`: the commands that the documents show are commands of the program
//! - `custom_task`: a task from outside gets the whole command line
//! - `elsewhere`: a task of another program, or of a file of arrays, is trained on and measured as one of ours

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a test of many random cases says how many it tried")]

mod arbitrary;
mod bench;
#[cfg(unix)]
mod cluster;
mod custom_task;
mod damage;
mod documents;
mod elsewhere;
mod faults;
mod field_reports;
mod finetune;
mod fixture;
mod golden;
mod interventions;
mod layering;
mod lm;
mod lm_folders;
mod lm_refusals;
mod lm_tuning;
mod lstm;
mod memory;
mod mutations;
mod numbers;
mod other_task;
#[cfg(unix)]
mod outputs;
mod parity;
mod presets;
mod program;
mod report;
mod requests;
mod resume;
mod runs;
mod serve;
mod settings;
mod shapes;
mod sweep;
mod until;
