//! From the `[task]` section of a configuration to a task.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Table;

use crate::fields::read_table;
use crate::{ArraysConfig, FunctionFamiliesConfig, ProcessConfig, SparseRegressionConfig, Task, TaskError};

/// Builds a task from its configuration table, in which `kind` is no longer there.
pub type BuildTask = Arc<dyn Fn(Table) -> Result<Arc<dyn Task>, TaskError> + Send + Sync>;

/// The tasks a program knows, by the `kind` in their configuration. There is no global one: a program builds its own.
#[derive(Clone)]
pub struct TaskRegistry {
    tasks: BTreeMap<String, BuildTask>,
    allows_processes: bool,
}

impl TaskRegistry {
    /// The tasks that come with the library. Of a `process` it knows only that nobody allowed it.
    pub fn builtin() -> Self {
        Self { tasks: BTreeMap::new(), allows_processes: false }
            .with("arrays", |config: ArraysConfig| Ok(Arc::new(config.build()?)))
            .with("function_families", |config: FunctionFamiliesConfig| Ok(Arc::new(config.build()?)))
            .with("process", |config: ProcessConfig| Err(config.refuse()))
            .with("sparse_regression", |config: SparseRegressionConfig| Ok(Arc::new(config.build()?)))
    }

    /// The same tasks, and `process` starts the program that a configuration names.
    pub fn allowing_processes(self) -> Self {
        let tasks = self.with("process", |config: ProcessConfig| Ok(Arc::new(config.build()?)));
        Self { allows_processes: true, ..tasks }
    }

    /// Whether programs that a configuration names may be started.
    pub fn allows_processes(&self) -> bool {
        self.allows_processes
    }

    /// Adds the task `kind`, whose configuration is read as `C`, or replaces the one of that name.
    pub fn with<C: DeserializeOwned>(
        mut self,
        kind: &str,
        build: impl Fn(C) -> Result<Arc<dyn Task>, TaskError> + Send + Sync + 'static,
    ) -> Self {
        let from_table = move |table: Table| {
            let config = read_table(table, "task").map_err(|reason| TaskError::Shape { reason })?;
            build(config)
        };
        self.tasks.insert(kind.to_owned(), Arc::new(from_table));
        self
    }

    /// The registered kinds, in alphabetical order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.tasks.keys().map(String::as_str)
    }

    /// Builds the task that `config` describes; its `kind` chooses the constructor.
    ///
    /// # Errors
    /// When `kind` is missing or unknown, a field is missing, unknown or of another type, or a value is out of range.
    pub fn build(&self, config: &Table) -> Result<Arc<dyn Task>, TaskError> {
        let mut config = config.clone();
        let kind = match config.remove("kind") {
            Some(toml::Value::String(kind)) => kind,
            Some(other) => return Err(TaskError::out_of_range("task.kind", "a string", other)),
            None => return Err(shape("missing field `kind`")),
        };
        let build = self.tasks.get(&kind).ok_or_else(|| TaskError::UnknownKind {
            kind: kind.clone(),
            known: self.kinds().collect::<Vec<_>>().join(", "),
        })?;
        build(config)
    }
}

impl fmt::Debug for TaskRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tasks.keys()).finish()
    }
}

fn shape(reason: &str) -> TaskError {
    TaskError::Shape { reason: format!("task: {reason}") }
}
