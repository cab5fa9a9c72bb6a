//! Answers of a language model against decoding token by token, and edits against what else gives the same.

use data::{ConceptId, Place, Template, TextPair, TextPrompt, Token};
use kernels::Device;
use probe::{Answers, Change, Delivery, Edit, Layer, Prompts, Score, Subject, Vectors, Wanted};

use crate::decoder::WeightSource;
use crate::lora::fixtures::folder;
use crate::model::LanguageModel;
use crate::passes::{Member, Request, RowAt};
use crate::subject::TextSubject;
use crate::tokens::pairs;
use crate::{ModelFolder, PretrainedError};

/// Sums in another order.
const ROUNDING: f64 = 1e-5;

/// A model of random weights that ends its line wherever it would say another token.
struct EndsLines<'a> {
    folder: &'a ModelFolder,
    line_break: usize,
    instead_of: usize,
}

impl WeightSource for EndsLines<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, PretrainedError> {
        match shape {
            [rows, columns] => self.rows(name, &(0..*rows).collect::<Vec<_>>(), *columns),
            _ => self.folder.tensors.tensor(name, shape),
        }
    }

    fn rows(&self, name: &str, rows: &[usize], columns: usize) -> Result<Vec<f32>, PretrainedError> {
        let mut found = WeightSource::rows(&self.folder.tensors, name, rows, columns)?;
        if let (true, Some(at)) = (name.contains("embed_tokens"), rows.iter().position(|row| *row == self.line_break)) {
            let row = self.folder.tensors.row_range(name, self.instead_of, 1)?;
            found[at * columns..(at + 1) * columns].iter_mut().zip(row).for_each(|(to, value)| *to = 1.05 * value);
        }
        Ok(found)
    }
}

fn prompt(pairs: &[(&str, &str)]) -> TextPrompt {
    let pair = |&(input, answer): &(&str, &str)| TextPair { input: input.to_owned(), answer: answer.to_owned() };
    TextPrompt { concept: ConceptId(0), instruction: None, pairs: pairs.iter().map(pair).collect() }
}

/// What the model says behind `ids` about the next token: logits in the order of tokens.
fn next(model: &LanguageModel<'_>, ids: &[u32]) -> Vec<f32> {
    let last = vec![RowAt { of: Member::Sequence(0), position: ids.len() - 1 }];
    let request = Request { sequences: vec![ids.to_vec()], last, ..Request::default() };
    model.logits(&model.pass(&request, &|_, _| true, &mut |_| Ok(())).unwrap().last).unwrap()
}

/// The text that is decoded token by token behind `ids`, up to a line break, or of so many tokens.
fn decoded(model: &LanguageModel<'_>, mut ids: Vec<u32>) -> String {
    let mut text = String::new();
    for _ in 0..8 {
        let logits = next(model, &ids);
        let best = (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32;
        text.push_str(&model.folder.tokens.text_of(best));
        ids.push(best);
        if text.contains('\n') {
            break;
        }
    }
    text
}

fn scores(subject: &TextSubject<'_>, prompts: &[TextPrompt], edits: &[Edit]) -> Vec<Vec<Vec<Score>>> {
    let answers = subject.answers(&Prompts::Text(prompts.to_vec()), edits).unwrap();
    let scores = |answers| match answers {
        Answers::Scores(scores) => scores,
        Answers::Numbers(_) => panic!("answers to text are scored"),
    };
    answers.into_iter().map(scores).collect()
}

#[test]
fn an_answer_is_exact_where_decoding_token_by_token_gives_it() {
    let folder = folder("qwen2");
    let [line_break, instead_of] =
        ["\n", "!"].map(|text| *folder.tokens.encode(text).unwrap().ids.last().unwrap() as usize);
    let source = EndsLines { folder: &folder, line_break, instead_of };
    let model = LanguageModel { source: &source, ..LanguageModel::new(&folder, Device::Flex) };
    let template = Template::new("{input}={output}\n").unwrap();
    let subject = TextSubject::new(model, &template, Place::Prompt, &|_, _| true);
    let model = LanguageModel { source: &source, ..LanguageModel::new(&folder, Device::Flex) };
    let said = |ahead: &[(&str, &str)], input: &str| {
        let written = template.write(&prompt(&[ahead, &[(input, "?")]].concat()));
        let asked = written.pairs.last().unwrap().asked;
        decoded(&model, folder.tokens.encode(&written.text[..asked]).unwrap().ids)
    };
    let inputs = ["a", "b", "the", "cat", "10", "x y", "Q", "1", "oh", "z", "mat", "k!", "7", "up", "we", "no"];
    let (mut exact, mut others) = (0, 0);
    for (number, input) in inputs.into_iter().enumerate() {
        let ahead = [("a", "b")];
        let ahead = &ahead[..number % 2];
        let text = said(ahead, input);
        let line = text.split('\n').next().unwrap();
        for answer in [line, "cat", &format!("{line}!")] {
            if answer.trim().is_empty() || answer.trim() != answer {
                continue;
            }
            let prompt = prompt(&[ahead, &[(input, answer)]].concat());
            let written = template.write(&prompt);
            let encoded = folder.tokens.encode(&written.text).unwrap();
            // What is decoded may be the same text in other tokens, which is not looked for.
            let place = pairs(&written, &encoded).pop().unwrap();
            let cut: String = encoded.ids[place.answer.clone()].iter().map(|&id| folder.tokens.text_of(id)).collect();
            let expected = text.contains('\n') && cut == line && answer == line;
            let score = *scores(&subject, &[prompt], &[Edit::default()])[0][0].last().unwrap();
            assert_eq!(score.exact, expected, "{input}: {text:?}, {answer:?}");
            exact += usize::from(expected);
            others += usize::from(!expected);
            let mut probability = 0.0;
            for token in place.answer {
                let logits = next(&model, &encoded.ids[..token]);
                let most = logits.iter().copied().fold(f32::MIN, f32::max);
                let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
                probability += f64::from(logits[encoded.ids[token] as usize] - most) - sum.ln();
            }
            assert!((score.log_probability - probability).abs() < 1e-4, "{} for {probability}", score.log_probability);
        }
    }
    assert!(exact >= 3 && others >= 3, "{exact} exact, {others} not");
}

/// Prompts of three pairs.
fn three() -> Vec<TextPrompt> {
    vec![
        prompt(&[("ab", "a"), ("the cat", "c"), ("10", "1")]),
        prompt(&[("x", "xx"), ("on", "no"), ("21", "out")]),
        prompt(&[("mat", "m"), ("sat", "s"), ("at", "a")]),
    ]
}

/// Largest difference of log-probabilities.
fn off(found: &[Vec<Score>], expected: &[Vec<Score>]) -> f64 {
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    pairs.map(|(a, b)| (a.log_probability - b.log_probability).abs()).fold(0.0, f64::max)
}

/// The state of every prompt at a layer and token.
fn states(subject: &TextSubject<'_>, prompts: &[TextPrompt], layer: usize, token: Token) -> Vec<Vec<f64>> {
    let wanted = Wanted { layers: vec![Layer(layer)], ..Wanted::residual(&[token]) };
    let mut found = Vec::new();
    let mut keep = |delivery: Delivery| {
        let d = delivery.states.d_model();
        found.extend(delivery.states.row_major(0, 0).chunks(d).map(|row| row.iter().map(|&x| f64::from(x)).collect()));
    };
    subject.read(&[Prompts::Text(prompts.to_vec())], &wanted, &mut keep).unwrap();
    found
}

fn replace(layer: usize, token: Token, by: Vectors) -> Change {
    Change::Replace { layer: Layer(layer), token, by }
}

#[test]
fn a_state_in_its_own_place_changes_nothing() {
    let (folder, template) = (folder("smollm2"), Template::new("{input}={output}\n").unwrap());
    let subject = TextSubject::new(LanguageModel::new(&folder, Device::Flex), &template, Place::Prompt, &|_, _| true);
    let prompts = three();
    for token in [Token::X(1), Token::Y(1), Token::X(3)] {
        let itself = |layer| replace(layer, token, Vectors::Each(states(&subject, &prompts, layer, token)));
        let nothing = Change::Add { layer: Layer(2), token, what: Vectors::Same(vec![0.0; 24]) };
        let edits: Vec<Edit> = (0..=3).map(|layer| Edit::of(itself(layer))).chain([Edit::of(nothing)]).collect();
        let plain = &scores(&subject, &prompts, &[Edit::default()])[0];
        for edited in scores(&subject, &prompts, &edits) {
            assert!(off(&edited, plain) < ROUNDING, "{token:?}: {}", off(&edited, plain));
        }
        // Another state does, and nothing ahead of it changes.
        let other = Edit::of(replace(1, token, Vectors::Same((0..24).map(f64::from).collect())));
        let edited = &scores(&subject, &prompts, &[other])[0];
        assert!(off(edited, plain) > 0.01, "{token:?}");
        let ahead = if token == Token::X(3) { 2 } else { usize::from(token == Token::Y(1)) };
        assert!(edited.iter().zip(plain).all(|(a, b)| a[..ahead] == b[..ahead]), "{token:?}");
    }
}

#[test]
fn the_embedding_of_another_token_is_that_token() {
    for name in ["smollm2", "gemma2"] {
        let folder = folder(name);
        let [template, other] = ["{input}={output}\n", "{input};{output}\n"].map(|text| Template::new(text).unwrap());
        let [subject, expected] = [&template, &other].map(|template| {
            TextSubject::new(LanguageModel::new(&folder, Device::Flex), template, Place::Prompt, &|_, _| true)
        });
        let prompts = three();
        let id = *folder.tokens.encode(";").unwrap().ids.last().unwrap() as usize;
        let row = folder.tensors.row_range("model.embed_tokens.weight", id, 1).unwrap();
        let row: Vec<f64> = row.iter().map(|&value| f64::from(value * folder.config.embedding_scale)).collect();
        let change = |pair| replace(0, Token::X(pair), Vectors::Same(row.clone()));
        let edit = Edit((1..=3).map(change).collect());
        let found = scores(&subject, &prompts, &[edit]);
        let expected = scores(&expected, &prompts, &[Edit::default()]);
        assert!(off(&found[0], &expected[0]) < ROUNDING, "{name}: {}", off(&found[0], &expected[0]));
    }
}

/// A change behind some tokens is computed on from there; with an earlier state in its own place nearly all is computed
/// again.
#[test]
fn a_branch_is_the_whole_prompt_with_its_change() {
    let (folder, template) = (folder("smollm2"), Template::new("{input}={output}\n").unwrap());
    let subject = TextSubject::new(LanguageModel::new(&folder, Device::Flex), &template, Place::Prompt, &|_, _| true);
    let prompts = three();
    let vector = Vectors::Same((0..24).map(|i| f64::from(i).sin()).collect());
    for layer in 0..=3 {
        let change = replace(layer, Token::X(3), vector.clone());
        let first = replace(0, Token::X(1), Vectors::Each(states(&subject, &prompts, 0, Token::X(1))));
        let found = scores(&subject, &prompts, &[Edit(vec![change.clone()]), Edit(vec![first, change])]);
        assert!(off(&found[0], &found[1]) < ROUNDING, "{layer}: {}", off(&found[0], &found[1]));
        let plain = &scores(&subject, &prompts, &[Edit::default()])[0];
        assert!(off(&found[0], plain) > 0.01, "{layer}");
    }
}
