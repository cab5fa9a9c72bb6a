use std::io::Write;

use npyz::WriterBuilder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::{Sampler, Stream};

/// Twelve prompts of three pairs of two numbers, of two concepts in turn; x and y tell the row.
struct File {
    xs: Vec<f32>,
    ys: Vec<f64>,
    concept: Vec<i64>,
    shape: [u64; 3],
    names: Option<Vec<String>>,
    division: Division,
}

impl Default for File {
    fn default() -> Self {
        Self {
            xs: (0..12 * 6).map(|i| (i / 6) as f32).collect(),
            ys: (0..12 * 3).map(|i| f64::from(i / 3)).collect(),
            concept: (0..12).map(|row| row % 2).collect(),
            shape: [12, 3, 2],
            names: Some(["odd", "even"].map(str::to_owned).to_vec()),
            division: Division { eval: 1, probe: 2, patch: 1 },
        }
    }
}

fn npy<T: npyz::AutoSerialize>(shape: &[u64], values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values).unwrap();
    writer.finish().unwrap();
    bytes
}

fn npy_of_text(values: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let dtype = npyz::DType::new_scalar("<U9".parse().unwrap());
    let shape = [values.len() as u64];
    let options = npyz::WriteOptions::new().dtype(dtype).shape(&shape);
    let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values).unwrap();
    writer.finish().unwrap();
    bytes
}

impl File {
    fn write(&self, place: &Path) -> ArraysConfig {
        let [n, n_points, _] = self.shape;
        let mut arrays = vec![
            ("xs", npy(&self.shape, &self.xs)),
            ("ys", npy(&[n, n_points], &self.ys)),
            ("concept", npy(&[self.concept.len() as u64], &self.concept)),
        ];
        arrays.extend(self.names.as_ref().map(|names| ("concept_names", npy_of_text(names))));
        let file = place.join("prompts.npz");
        let mut archive = ZipWriter::new(std::fs::File::create(&file).unwrap());
        for (name, bytes) in arrays {
            archive.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap();
        ArraysConfig { sha256: ArraysConfig::sha256(&file).unwrap(), file, division: self.division }
    }

    fn build(&self) -> Result<Arrays, TaskError> {
        self.write(tempfile::tempdir().unwrap().path()).build()
    }
}

/// The rows that prompts come from.
fn rows(prompts: &[Prompt]) -> Vec<f32> {
    assert!(prompts.iter().all(|prompt| prompt.xs == [prompt.ys[0]; 6] && prompt.ys == [prompt.ys[0]; 3]));
    prompts.iter().map(|prompt| prompt.ys[0]).collect()
}

#[test]
fn every_prompt_is_for_one_purpose_and_training_starts_over() {
    let task = std::sync::Arc::new(File::default().build().unwrap());
    let of = |purpose| Sampler::new(task.clone(), Stream::new(3, purpose));
    assert_eq!(rows(&of(Purpose::Eval).balanced(0, 1).unwrap()), [0.0, 1.0]);
    assert_eq!(rows(&of(Purpose::Probe).balanced(0, 1).unwrap()), [2.0, 3.0]);
    assert_eq!(rows(&of(Purpose::Probe).balanced(1, 1).unwrap()), [4.0, 5.0]);
    assert_eq!(rows(&of(Purpose::Patch).balanced(0, 1).unwrap()), [6.0, 7.0]);
    let trained = of(Purpose::Train).prompts(0..6).unwrap();
    assert_eq!(rows(&trained), [8.0, 9.0, 10.0, 11.0, 8.0, 9.0]);
    assert_eq!(trained[1].concept, ConceptId(1));
    assert_eq!(task.concepts()[1], Concept { name: "even".to_owned(), weight: 0.5 });
    let error = of(Purpose::Probe).balanced(1, 2).unwrap_err().to_string();
    assert_eq!(
        error,
        "the number of prompts of odd for the purpose Probe must be at most those that task.division leaves for it \
         (2), but is 4"
    );
}

#[test]
fn a_concept_is_as_frequent_as_among_the_prompts_to_train_on() {
    let concept: Vec<i64> = (0..12).map(|row| i64::from(row % 4 == 0)).collect();
    let division = Division { eval: 1, probe: 0, patch: 0 };
    let task = File { concept, division, names: None, ..File::default() }.build().unwrap();
    let expected = [("C1", 0.8), ("C2", 0.2)].map(|(name, weight)| Concept { name: name.to_owned(), weight });
    assert_eq!(task.concepts(), expected);
}

#[test]
fn what_cannot_be_trained_on_is_refused_with_its_reason() {
    let file = File::default;
    let with_nan = |mut values: Vec<f32>| {
        values[20] = f32::NAN;
        values
    };
    let cases = [
        (File { shape: [11, 3, 2], xs: vec![0.0; 66], ys: vec![0.0; 33], ..file() }, "has concept of the shape [12]"),
        (File { xs: with_nan(file().xs), ..file() }, "has a value in xs[3] that is not between -1e15 and 1e15"),
        (File { ys: vec![3e38; 36], ..file() }, "has a value in ys[0] that is not between -1e15 and 1e15"),
        (File { concept: vec![0; 12], ..file() }, "has no prompt of concept 1"),
        (File { concept: vec![-1; 12], ..file() }, "has concept[0] = -1, which must be a whole number from 0 to 1"),
        (File { concept: vec![2; 12], ..file() }, "has concept[0] = 2, which must be a whole number from 0 to 1"),
        (File { names: Some(vec!["a".to_owned(); 2]), ..file() }, "has concept_names[1] = \"a\""),
        (
            File { division: Division { eval: 1, probe: 2, patch: 3 }, ..file() },
            "the sum of eval, probe and patch in task.division must be below the number of prompts of the concept odd \
             (6), but is 6",
        ),
    ];
    for (file, reason) in cases {
        let error = file.build().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn another_file_than_that_of_the_run_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let config = File::default().write(place.path());
    File { ys: vec![0.5; 36], ..File::default() }.write(place.path());
    let error = config.build().unwrap_err().to_string();
    assert!(error.contains(&format!("must have the SHA-256 {} (task.sha256), but has", config.sha256)), "{error}");
    std::fs::write(&config.file, "no archive").unwrap();
    let sha256 = ArraysConfig::sha256(&config.file).unwrap();
    let error = ArraysConfig { sha256, ..config }.build().unwrap_err().to_string();
    assert!(error.contains("prompts.npz is no .npz archive: "), "{error}");
}
