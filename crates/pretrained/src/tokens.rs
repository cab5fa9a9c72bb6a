//! Text as tokens, and where in them the pairs of a prompt are.

use std::ops::Range;
use std::path::Path;

use data::{Spans, Written};
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::PretrainedError;
use crate::folder::DecoderConfig;

/// How a model's text becomes tokens.
#[derive(Debug)]
pub struct TextTokens {
    tokenizer: Tokenizer,
    /// Tokens of the longest text.
    positions: usize,
}

/// A text as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The tokens, begun as the tokenizer's own post-processor begins a text.
    pub ids: Vec<u32>,
    /// The bytes of the text that each stands for.
    pub places: Vec<(usize, usize)>,
}

/// A pair of a prompt among its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairTokens {
    /// The last token of the prompt that ends here.
    pub(crate) asked: usize,
    /// The last token ahead of the first character of the answer that is no space.
    pub(crate) before_answer: usize,
    /// The tokens of the answer, what is between it and the prompt included; one at least, unless the answer and the line
    /// break are one token.
    pub(crate) answer: Range<usize>,
    /// What of the answer stands in the token with the line break; usually nothing.
    pub(crate) rest: String,
}

impl TextTokens {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is not there, damaged, or has tokens that the model does not have.
    pub(crate) fn read(path: &Path, config: &DecoderConfig) -> Result<Self, PretrainedError> {
        if !path.is_file() {
            let folder = path.parent().unwrap_or(path);
            return Err(PretrainedError::file(folder, "there must be a tokenizer.json in it"));
        }
        let bytes = std::fs::read(path).map_err(|error| PretrainedError::io("read", path, error))?;
        let damaged =
            |error: tokenizers::Error| PretrainedError::file(path, format!("it must be a tokenizer: {error}"));
        check_content(&bytes).map_err(|reason| damaged(reason.into()))?;
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(damaged)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(damaged)?;
        // What a post-processor adds need not be in the vocabulary.
        let added = tokenizer.encode("", true).map_err(damaged)?;
        let ids = tokenizer.get_vocab(true).into_values().chain(added.get_ids().iter().copied());
        let most = ids.max().map_or(0, |id| id as usize + 1);
        if most > config.vocabulary {
            let reason = format!(
                "it must be the tokenizer of this model, which has {} tokens, but it has {most}",
                config.vocabulary
            );
            return Err(PretrainedError::file(path, reason));
        }
        Ok(Self { tokenizer, positions: config.positions })
    }

    /// A text as tokens.
    ///
    /// # Errors
    /// When it has no token, or more than the model has positions.
    pub fn encode(&self, text: &str) -> Result<Encoded, PretrainedError> {
        let shown = || {
            if text.len() > 40 {
                format!("{:?}…", text.chars().take(40).collect::<String>())
            } else {
                format!("{text:?}")
            }
        };
        let refused = |value: String| {
            let range = format!("between 1 and the model's positions ({})", self.positions);
            PretrainedError::out_of_range(format!("the number of tokens of {}", shown()), range, value)
        };
        let no_tokens = |error| PretrainedError::out_of_range(shown(), "a text that this tokenizer can cut", error);
        let encoding = self.tokenizer.encode(text, true).map_err(no_tokens)?;
        let found = Encoded { ids: encoding.get_ids().to_vec(), places: encoding.get_offsets().to_vec() };
        if found.ids.is_empty() || found.ids.len() > self.positions {
            return Err(refused(found.ids.len().to_string()));
        }
        Ok(found)
    }

    /// The text of one token.
    pub(crate) fn text_of(&self, id: u32) -> String {
        self.tokenizer.decode(&[id], false).unwrap_or_default()
    }
}

/// Checks what `tokenizers` 0.23 takes for granted, and panics without: that the file is JSON, that every merge gives a token
/// of the vocabulary, and that a normalizer's compiled table, which none of our families has, can be read. And checks that
/// nothing is left to chance.
fn check_content(bytes: &[u8]) -> Result<(), String> {
    let whole: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let model = whole.get("model").unwrap_or(&Value::Null);
    if whole.get("normalizer").is_some_and(|normalizer| normalizer.to_string().contains("\"Precompiled\"")) {
        return Err("its normalizer must be one without a compiled table, but is Precompiled".to_owned());
    }
    if let Some(dropout) = model.get("dropout").and_then(Value::as_f64).filter(|dropout| *dropout != 0.0) {
        return Err(format!("its model's dropout must be 0 or null, but is {dropout}"));
    }
    let vocabulary = model.get("vocab").and_then(Value::as_object);
    let merges = model.get("merges").and_then(Value::as_array);
    let (Some(vocabulary), Some(merges)) = (vocabulary, merges) else { return Ok(()) };
    let prefix = model.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or_default().len();
    for merge in merges {
        let parts = match merge {
            Value::String(text) => text.split_once(' '),
            pair => pair.get(0).and_then(Value::as_str).zip(pair.get(1).and_then(Value::as_str)),
        };
        let merged = parts.and_then(|(one, other)| Some(format!("{one}{}", other.get(prefix..)?)));
        if !merged.is_some_and(|token| vocabulary.contains_key(&token)) {
            return Err(format!("its merge {merge} gives no token of its vocabulary"));
        }
    }
    Ok(())
}

/// Where the pairs of a prompt are among its tokens.
pub(crate) fn pairs(written: &Written, encoded: &Encoded) -> Vec<PairTokens> {
    written.pairs.iter().map(|spans| pair(&written.text, spans, encoded)).collect()
}

fn pair(text: &str, spans: &Spans, encoded: &Encoded) -> PairTokens {
    let last_until = |end: usize| {
        // A text may begin and end with a token that stands for nothing.
        let until = encoded.places.iter().position(|&(_, token_end)| token_end > end);
        until.unwrap_or(encoded.places.len()).saturating_sub(1)
    };
    let mut asked = last_until(spans.asked);
    // The prompt's last character may be in one token with the space behind it.
    let holds_the_end = |&(start, end): &(usize, usize)| start < spans.asked && end <= spans.answer.start;
    if encoded.places.get(asked + 1).is_some_and(holds_the_end) {
        asked += 1;
    }
    let first = asked + 1;
    let end = last_until(spans.answer.end) + 1;
    let end = end.max(first);
    let start_of_rest = encoded.places.get(end).map_or(spans.answer.end, |&(start, _)| start.max(spans.asked));
    let rest = text.get(start_of_rest.min(spans.answer.end)..spans.answer.end).unwrap_or_default();
    let before_answer = last_until(spans.answer.start).max(asked);
    PairTokens { asked, before_answer, answer: first..end, rest: rest.trim_start().to_owned() }
}

#[cfg(test)]
mod tests {
    use data::{ConceptId, Template, TextPair, TextPrompt};

    use super::*;

    /// The pairs of a prompt whose text is cut into `tokens`. An empty one stands for nothing.
    fn found(answers: [&str; 2], tokens: &[&str]) -> Vec<PairTokens> {
        let pair = |answer: &str| TextPair { input: "a".to_owned(), answer: answer.to_owned() };
        let prompt = TextPrompt { concept: ConceptId(0), instruction: None, pairs: answers.map(pair).to_vec() };
        let written = Template::new("{input}: {output}\n").unwrap().write(&prompt);
        assert_eq!(tokens.concat(), written.text);
        let mut end = 0;
        let place = |token: &&str| match token.len() {
            0 => (0, 0),
            len => {
                end += len;
                (end - len, end)
            }
        };
        let places = tokens.iter().map(place).collect();
        pairs(&written, &Encoded { ids: (0..tokens.len() as u32).collect(), places })
    }

    fn pair(asked: usize, before_answer: usize, answer: Range<usize>, rest: &str) -> PairTokens {
        PairTokens { asked, before_answer, answer, rest: rest.to_owned() }
    }

    #[test]
    fn a_prompt_ends_ahead_of_the_space_before_its_answer() {
        let tokens = ["a", ":", " be", "\n", "a", ":", " c", "d", "\n"];
        assert_eq!(found(["be", "cd"], &tokens), [pair(1, 1, 2..3, ""), pair(5, 5, 6..8, "")]);
    }

    #[test]
    fn a_space_that_is_a_token_belongs_to_the_answer() {
        let tokens = ["a", ":", " ", "b", "\n", "a", ":", " ", "c", "\n"];
        assert_eq!(found(["b", "c"], &tokens), [pair(1, 2, 2..4, ""), pair(6, 7, 7..9, "")]);
    }

    #[test]
    fn what_stands_in_the_token_of_the_line_break_is_the_rest_of_the_answer() {
        let tokens = ["a", ":", " b", "e\n", "a:", " cd\n"];
        assert_eq!(found(["be", "cd"], &tokens), [pair(1, 1, 2..3, "e"), pair(4, 4, 5..5, "cd")]);
    }

    #[test]
    fn a_prompt_and_its_space_in_one_token_end_there() {
        let tokens = ["a", ": ", "b", "\n", "a", ": ", "c", "\n"];
        let [first, second] = <[PairTokens; 2]>::try_from(found(["b", "c"], &tokens)).unwrap();
        assert_eq!((first, second), (pair(1, 1, 2..3, ""), pair(5, 5, 6..7, "")));
    }

    #[test]
    fn tokens_that_stand_for_nothing_move_the_others() {
        let tokens = ["", "a", ":", " b", "\n", "a", ":", " c", "\n", ""];
        assert_eq!(found(["b", "c"], &tokens), [pair(2, 2, 3..4, ""), pair(6, 6, 7..8, "")]);
    }
}
