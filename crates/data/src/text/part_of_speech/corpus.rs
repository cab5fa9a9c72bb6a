//! From the text of a tagged corpus to its sentences.

use super::tags::{Classes, Tagset, WordClass, is_punctuation};

/// A word of a sentence, or a mark of punctuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// The word as the corpus has it.
    pub(super) text: String,
    /// Its part of speech; none where it is no concept.
    pub(super) class: Option<WordClass>,
}

/// A sentence of a corpus.
pub(super) type Sentence = Vec<Word>;

/// Words with their tags.
type Tagged<'a> = Vec<(&'a str, &'a str)>;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Bracketed trees.
    Trees,
    /// Ten columns, a word a line.
    Conllu,
    /// `word/TAG` in chunks of brackets, across lines.
    Chunks,
    /// `word/TAG`, a sentence a line.
    Lines,
}

/// The formats and tagsets, for messages.
pub(super) const FORMATS: &str =
    "text tagged as word/TAG (Brown, Penn or Universal tags), CoNLL-U, or trees of the Penn Treebank";

/// A text is tagged when this share of its tokens has a tag that its tagset knows; the rest is what annotators mistyped.
/// Of the Brown corpus .999 are known.
const KNOWN: f64 = 0.9;

/// The sentences of a text and the format that they are in; nothing where it is in no known format or has no words.
pub(super) fn sentences(text: &str) -> Option<(Format, Vec<Sentence>)> {
    let format = detect(text)?;
    let tagged = match format {
        Format::Trees => trees(text),
        Format::Conllu => conllu(text),
        Format::Chunks => chunks(text),
        Format::Lines => text.lines().map(|line| line.split_whitespace().filter_map(word_and_tag).collect()).collect(),
    };
    let tagset = Tagset::ALL.into_iter().rev().max_by_key(|&tagset| known(tagset, &tagged))?;
    let tokens = match format {
        Format::Lines | Format::Chunks => text.split_whitespace().filter(|&token| !is_layout(token)).count(),
        Format::Trees | Format::Conllu => tagged.iter().map(Vec::len).sum(),
    };
    let enough = tokens > 0 && known(tagset, &tagged) as f64 >= KNOWN * tokens as f64;
    let classes = tagset.classes();
    let sentences =
        tagged.iter().filter(|sentence| !sentence.is_empty()).map(|sentence| classify(tagset, &classes, sentence));
    enough.then(|| (format, sentences.collect()))
}

fn detect(text: &str) -> Option<Format> {
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let first = lines.clone().find(|line| !line.starts_with('#') || line.starts_with("#/"))?;
    let is_conllu = first.split('\t').count() == 10 && first.starts_with(|c: char| c.is_ascii_digit());
    let is_tree = first.starts_with('(') && word_and_tag(first.split_whitespace().next()?).is_none();
    Some(if is_conllu {
        Format::Conllu
    } else if is_tree {
        Format::Trees
    } else if lines.any(|line| line.starts_with("==") || line.trim_start().starts_with("[ ")) {
        Format::Chunks
    } else {
        Format::Lines
    })
}

/// Whether a token is a bracket of a chunk or a rule between sentences.
fn is_layout(token: &str) -> bool {
    token == "[" || token == "]" || token.starts_with("===")
}

/// `word/TAG` in two. Penn writes a slash inside a word as `\/`, Brown as `/`.
fn word_and_tag(token: &str) -> Option<(&str, &str)> {
    token.rsplit_once('/').filter(|(word, tag)| !word.is_empty() && !tag.is_empty())
}

/// How many of the tags the tagset knows.
fn known(tagset: Tagset, sentences: &[Tagged<'_>]) -> usize {
    let classes = tagset.classes();
    let is_known = |tag: &str| {
        let foreign = tagset == Tagset::Brown && tag.to_lowercase().starts_with("fw-");
        foreign || is_punctuation(tag) || classes.contains_key(tagset.plain(tag).as_str())
    };
    sentences.iter().flatten().filter(|(_, tag)| is_known(tag)).count()
}

/// A line with a word's number in the first column, the word in the second and its UPOS in the fourth. Several words that
/// are written as one (`3-4`) stand a second time below it; words that are not written (`3.1`) are left out.
fn conllu(text: &str) -> Vec<Tagged<'_>> {
    let mut sentences = vec![Vec::new()];
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns.as_slice() {
            [number, word, _, tag, ..] if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                sentences.last_mut().expect("never empty").push((*word, *tag));
            }
            _ if line.trim().is_empty() => sentences.push(Vec::new()),
            _ => {}
        }
    }
    sentences
}

/// A word stands with its tag in the innermost brackets. What stands at a trace (`-NONE-`) is not written.
fn trees(text: &str) -> Vec<Tagged<'_>> {
    let mut sentences = Vec::new();
    let (mut depth, mut tag, mut sentence) = (0_usize, "", Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| !c.is_whitespace()) {
        rest = &rest[at..];
        let end = rest.find(|c: char| c.is_whitespace() || c == '(' || c == ')').unwrap_or(rest.len());
        match &rest[..end.max(1)] {
            "(" => (depth, tag) = (depth + 1, ""),
            ")" => {
                depth = depth.saturating_sub(1);
                tag = "";
                if depth == 0 {
                    sentences.push(std::mem::take(&mut sentence));
                }
            }
            label if tag.is_empty() => tag = label,
            word if tag != "-NONE-" => sentence.push((word, tag)),
            _ => {}
        }
        rest = &rest[end.max(1)..];
    }
    sentences
}

/// Lines break anywhere: a sentence ends at a rule of `=`, or behind a full stop and the quotes that close behind it.
fn chunks(text: &str) -> Vec<Tagged<'_>> {
    let mut sentences: Vec<Tagged<'_>> = vec![Vec::new()];
    for token in text.split_whitespace() {
        let sentence = sentences.last_mut().expect("never empty");
        let is_over = sentence.iter().rfind(|(_, tag)| *tag != "''").is_some_and(|(_, tag)| *tag == ".");
        match word_and_tag(token) {
            _ if token.starts_with("===") => sentences.push(Vec::new()),
            Some(word) if is_over && word.1 != "''" => sentences.push(vec![word]),
            Some(word) => sentence.push(word),
            None => {}
        }
    }
    sentences
}

/// The words of a sentence with their classes. Brown writes `!`, `?` and `;` at the end of a sentence twice; they are taken
/// once.
fn classify(tagset: Tagset, classes: &Classes, sentence: &[(&str, &str)]) -> Sentence {
    let mut words: Sentence = Vec::new();
    for (i, (word, tag)) in sentence.iter().enumerate() {
        let again = tagset == Tagset::Brown && words.last().is_some_and(|last| last.text == *word);
        if again && matches!(*word, "!" | "?" | ";") {
            continue;
        }
        let tag = tagset.plain(tag);
        let class = match classes.get(tag.as_str()) {
            Some(_) if tagset == Tagset::Penn && tag == "TO" => preposition(&sentence[i + 1..]),
            class => class.copied().flatten(),
        };
        words.push(Word { text: word.replace("\\/", "/"), class });
    }
    words
}

/// What a Penn `TO` is ahead of those words: nothing ahead of an infinitive, and a preposition everywhere else.
fn preposition(following: &[(&str, &str)]) -> Option<WordClass> {
    let mut tags = following.iter().map(|(_, tag)| *tag);
    let infinitive = tags.find(|tag| !tag.starts_with("RB")) == Some("VB");
    (!infinitive).then_some(WordClass::Preposition)
}

#[cfg(test)]
mod tests {
    use super::WordClass::{Adjective, Adverb, Noun, Preposition, Pronoun, Verb};
    use super::*;

    /// Asserts the format of a text, and its sentences: their words, and the words with a class.
    fn check(text: &str, format: Format, expected: &[(&str, &[(&str, WordClass)])]) {
        let (found, sentences) = sentences(text).unwrap_or_else(|| panic!("no known format: {text}"));
        assert_eq!(found, format);
        let words = |sentence: &Sentence| sentence.iter().map(|word| word.text.clone()).collect::<Vec<_>>().join(" ");
        let expected_words: Vec<&str> = expected.iter().map(|(words, _)| *words).collect();
        assert_eq!(sentences.iter().map(words).collect::<Vec<_>>(), expected_words);
        for (sentence, (_, classes)) in sentences.iter().zip(expected) {
            let found: Vec<(&str, WordClass)> =
                sentence.iter().filter_map(|word| Some((word.text.as_str(), word.class?))).collect();
            assert_eq!(found, *classes);
        }
    }

    #[test]
    fn brown_has_a_sentence_a_line_and_doubles_its_marks() {
        let text = "\n\n\tThe/at Grand/jj-tl Jury/nn-tl said/vbd it/pps did/dod not/* act/vb ./.\n\n\
            ``/`` It's/pps+bez a/at fait/fw-nn of/in ours/pp$$ ''/'' !/. !/.\n1/2/cd of/in it/ppo\n";
        check(
            text,
            Format::Lines,
            &[
                (
                    "The Grand Jury said it did not act .",
                    &[
                        ("Grand", Adjective),
                        ("Jury", Noun),
                        ("said", Verb),
                        ("it", Pronoun),
                        ("did", Verb),
                        ("not", Adverb),
                        ("act", Verb),
                    ],
                ),
                ("`` It's a fait of ours '' !", &[("It's", Pronoun), ("of", Preposition), ("ours", Pronoun)]),
                ("1/2 of it", &[("of", Preposition), ("it", Pronoun)]),
            ],
        );
    }

    #[test]
    fn brown_in_capitals_and_the_universal_tags_are_told_from_penn() {
        check(
            "The/AT dog/NN saw/VBD him/PPO ./.",
            Format::Lines,
            &[("The dog saw him .", &[("dog", Noun), ("saw", Verb), ("him", Pronoun)])],
        );
        check(
            "The/DET dog/NOUN saw/VERB him/PRON in/ADP Rome/NOUN ./.",
            Format::Lines,
            &[(
                "The dog saw him in Rome .",
                &[("dog", Noun), ("saw", Verb), ("him", Pronoun), ("in", Preposition), ("Rome", Noun)],
            )],
        );
        check(
            "The/DT dog/NN saw/VBD him/PRP ./.",
            Format::Lines,
            &[("The dog saw him .", &[("dog", Noun), ("saw", Verb), ("him", Pronoun)])],
        );
    }

    #[test]
    fn conllu_has_its_words_once() {
        let row = |number: &str, word: &str, tag: &str| format!("{number}\t{word}\t_\t{tag}\t_\t_\t_\t_\t_\t_\n");
        let text = [
            "# sent_id = 1\n# text = They don't sleep.\n".to_owned(),
            row("1", "They", "PRON"),
            row("2-3", "don't", "_"),
            row("2", "do", "AUX"),
            row("3", "n't", "PART"),
            row("3.1", "ever", "ADV"),
            row("4", "sleep", "VERB"),
            row("5", ".", "PUNCT"),
            "\n# sent_id = 2\n".to_owned(),
            row("1", "Go", "VERB"),
        ];
        check(
            &text.concat(),
            Format::Conllu,
            &[("They do n't sleep .", &[("They", Pronoun), ("do", Verb), ("sleep", Verb)]), ("Go", &[("Go", Verb)])],
        );
    }

    #[test]
    fn trees_are_read_without_their_traces() {
        let text = "\n( (S \n    (NP-SBJ-1 (NNP Pierre) (NNP Vinken) )\n    (VP (VBZ wants) (S (NP-SBJ (-NONE- *-1) )\n\
              (VP (TO to) (VP (VB go) (PP (TO to) (NP (PRP$ his) (NN and\\/or) (-LRB- -LRB-) )))))) (. .) ))\n\
            ( (S (NP (PRP It) ) (VP (VBD rained) ) (. .) ))\n";
        check(
            text,
            Format::Trees,
            &[
                (
                    "Pierre Vinken wants to go to his and/or -LRB- .",
                    &[
                        ("Pierre", Noun),
                        ("Vinken", Noun),
                        ("wants", Verb),
                        ("go", Verb),
                        ("to", Preposition),
                        ("his", Pronoun),
                        ("and/or", Noun),
                    ],
                ),
                ("It rained .", &[("It", Pronoun), ("rained", Verb)]),
            ],
        );
    }

    #[test]
    fn chunks_run_across_lines_to_the_end_of_a_sentence() {
        let text = "\n======================================\n\n``/`` \n[ We/PRP ]\nhope/VBP to/TO really/RB go/VB to/TO\n\
            [ Rome/NNP|NN ]\n./. ''/'' \n\n[ He/PRP ]\nsaid/VBD \n======================================\n[ Yes/UH ]\n";
        check(
            text,
            Format::Chunks,
            &[
                (
                    "`` We hope to really go to Rome . ''",
                    &[
                        ("We", Pronoun),
                        ("hope", Verb),
                        ("really", Adverb),
                        ("go", Verb),
                        ("to", Preposition),
                        ("Rome", Noun),
                    ],
                ),
                ("He said", &[("He", Pronoun), ("said", Verb)]),
                ("Yes", &[]),
            ],
        );
    }

    #[test]
    fn text_without_tags_is_no_corpus() {
        for text in [
            "",
            " \n\n",
            "The dog saw him.",
            "(c) 1964 Brown University",
            "# Read me\nUse and/or copy.",
            "path/to/file other/file",
            "{\"a\": 1}",
            "ca01 news\nca02 news\n",
            "((((",
        ] {
            assert_eq!(sentences(text), None, "{text}");
        }
    }
}
