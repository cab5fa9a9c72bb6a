//! How a prompt is written as one text.

use std::ops::Range;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};

use super::{TextPair, TextPrompt};
use crate::TaskError;

/// How a pair is written, with `{input}` and `{output}` once each and in this order; what stands behind `{output}` begins
/// with a line break, which is where an answer ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: String,
    between: String,
    behind: String,
}

/// A prompt as a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The text; it ends with the last answer and what stands behind every answer.
    pub text: String,
    /// Where the pairs stand in it.
    pub pairs: Vec<Spans>,
}

/// Where a pair stands in a text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    /// End of what is written ahead of the answer, without space at its end: the prompt ends here.
    pub asked: usize,
    /// The answer itself.
    pub answer: Range<usize>,
}

/// What a template is, in messages.
const RANGE: &str = "{input}, then some text, then {output} and a line break, each place once";

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When a place is missing, comes twice or in the wrong order; when nothing but space stands between the places, or no
    /// line break behind the second.
    pub fn new(template: &str) -> Result<Self, TaskError> {
        Self::parse(template).ok_or_else(|| TaskError::out_of_range("task.template", RANGE, format!("{template:?}")))
    }

    fn parse(template: &str) -> Option<Self> {
        let (before, rest) = template.split_once("{input}")?;
        let (between, behind) = rest.split_once("{output}")?;
        let parts = [before, between, behind];
        let again = parts.iter().any(|part| part.contains("{input}") || part.contains("{output}"));
        if again || between.trim().is_empty() || !behind.starts_with('\n') {
            return None;
        }
        let [before, between, behind] = parts.map(str::to_owned);
        Some(Self { before, between, behind })
    }

    /// The prompt as one text: what names the concept, an empty line, and the pairs one after the other.
    pub fn write(&self, prompt: &TextPrompt) -> Written {
        let mut text = prompt.instruction.as_ref().map_or(String::new(), |named| format!("{named}\n\n"));
        let mut pairs = Vec::new();
        for TextPair { input, answer } in &prompt.pairs {
            text.extend([&self.before, input, &self.between].map(String::as_str));
            let asked = text.trim_end().len();
            let start = text.len();
            text.push_str(answer);
            let answer = start..text.len();
            text.push_str(&self.behind);
            pairs.push(Spans { asked, answer });
        }
        Written { text, pairs }
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        let text = String::deserialize(text)?;
        Self::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &RANGE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConceptId;

    fn prompt(instruction: Option<&str>) -> TextPrompt {
        let pair = |(input, answer): (&str, &str)| TextPair { input: input.to_owned(), answer: answer.to_owned() };
        let pairs = [("hot", "cold"), ("big", "small")].map(pair).to_vec();
        TextPrompt { concept: ConceptId(0), instruction: instruction.map(str::to_owned), pairs }
    }

    #[test]
    fn a_prompt_is_one_text_in_which_its_answers_are_found() {
        let template = Template::new("Input: {input}\nOutput: {output}\n\n").unwrap();
        let Written { text, pairs } = template.write(&prompt(Some("Opposites")));
        assert_eq!(text, "Opposites\n\nInput: hot\nOutput: cold\n\nInput: big\nOutput: small\n\n");
        let asked: Vec<&str> = pairs.iter().map(|pair| &text[..pair.asked]).collect();
        assert!(asked.iter().all(|asked| asked.ends_with("Output:")), "{asked:?}");
        let answers: Vec<&str> = pairs.iter().map(|pair| &text[pair.answer.clone()]).collect();
        assert_eq!(answers, ["cold", "small"]);
        assert!(template.write(&prompt(None)).text.starts_with("Input: hot"));
    }

    #[test]
    fn a_template_without_its_places_is_refused() {
        for template in [
            "",
            "{input}\n",
            "{output} {input}\n",
            "{input}{output}\n",
            "{input}: {output}",
            "{input} {input}: {output}\n",
        ] {
            let error = Template::new(template).unwrap_err().to_string();
            assert!(
                error.starts_with("task.template must be {input}") && error.ends_with(&format!("{template:?}")),
                "{error}"
            );
        }
    }
}
