//! From the words of a corpus to a sentence as a person writes it.

use std::ops::Range;

/// A sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// The sentence as it is written.
    pub(super) text: String,
    /// Where each of the words stands in it, in bytes.
    pub(super) words: Vec<Range<usize>>,
}

/// On which sides of a word stands a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sides {
    Both,
    /// Only behind it, as with a comma.
    Behind,
    /// Only ahead of it, as with an opening bracket.
    Ahead,
}

/// The quotes that are open.
#[derive(Default)]
struct Quotes {
    /// Whether a double one is.
    double: bool,
    /// Whether a single one is.
    single: bool,
}

/// The words with spaces where a person writes them, and quotes and brackets as a person writes them.
pub(super) fn join<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Joined {
    let (mut text, mut words) = (String::new(), Vec::new());
    let mut quotes = Quotes::default();
    let mut glued = true;
    for token in tokens {
        let (written, sides) = quotes.write(token, &text);
        if !glued && sides != Sides::Behind {
            text.push(' ');
        }
        let start = text.len();
        // The full stop of an abbreviation also ends a sentence.
        if written != "." || !text.ends_with('.') {
            text.push_str(written);
        }
        words.push(start..text.len());
        glued = sides == Sides::Ahead;
    }
    Joined { text, words }
}

impl Sides {
    fn of_quote(opens: bool) -> Self {
        if opens { Self::Ahead } else { Self::Behind }
    }
}

impl Quotes {
    /// How `token` is written behind `text`.
    fn write<'a>(&mut self, token: &'a str, text: &str) -> (&'a str, Sides) {
        match token {
            "``" => self.double("\"", true),
            "''" => self.double("\"", false),
            "\"" => self.double(token, !self.double),
            "“" => self.double(token, true),
            "”" => self.double(token, false),
            "`" => self.single("'", true),
            "‘" => self.single(token, true),
            "'" | "’" => self.single(token, !self.single && !text.ends_with('s')),
            "(" | "-LRB-" => ("(", Sides::Ahead),
            "[" | "-LSB-" => ("[", Sides::Ahead),
            "{" | "-LCB-" => ("{", Sides::Ahead),
            ")" | "-RRB-" => (")", Sides::Behind),
            "]" | "-RSB-" => ("]", Sides::Behind),
            "}" | "-RCB-" => ("}", Sides::Behind),
            "$" | "US$" | "C$" | "£" | "€" | "#" => (token, Sides::Ahead),
            "," | "." | ";" | ":" | "?" | "!" | "%" | "..." | "…" => (token, Sides::Behind),
            _ if is_clitic(token) => (token, Sides::Behind),
            _ => (token, Sides::Both),
        }
    }

    fn double<'a>(&mut self, written: &'a str, opens: bool) -> (&'a str, Sides) {
        self.double = opens;
        (written, Sides::of_quote(opens))
    }

    fn single<'a>(&mut self, written: &'a str, opens: bool) -> (&'a str, Sides) {
        self.single = opens;
        (written, Sides::of_quote(opens))
    }
}

/// Whether `token` is what English writes at the end of the word ahead of it.
fn is_clitic(token: &str) -> bool {
    let plain = token.to_lowercase().replace('’', "'");
    ["n't", "'s", "'re", "'ve", "'ll", "'d", "'m"].contains(&plain.as_str())
}

/// Whether what stands at `word` in `text` can be an answer: letters and hyphens, with a letter at either end, that nothing
/// is glued to but punctuation. `It` in `It's` cannot.
pub(super) fn is_whole(text: &str, word: &Range<usize>) -> bool {
    let written = &text[word.clone()];
    let letters = written.chars().all(|c| c.is_alphabetic() || c == '-');
    let ends = written.starts_with(char::is_alphabetic) && written.ends_with(char::is_alphabetic);
    let glues = |c: char| c.is_alphanumeric() || "-'’*/&$%".contains(c);
    letters && ends && !text[..word.start].ends_with(glues) && !text[word.end..].starts_with(glues)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::{Purpose, Stream};

    #[test]
    fn sentences_are_written_as_a_person_writes_them() {
        for (tokens, sentence) in [
            (
                "`` Only a relative handful of such reports was received '' , the jury said , `` considering the interest '' .",
                "\"Only a relative handful of such reports was received\", the jury said, \"considering the interest\".",
            ),
            (
                "Pierre Vinken , 61 years old , will join the board Nov. 29 .",
                "Pierre Vinken, 61 years old, will join the board Nov. 29.",
            ),
            ("It ca n't be the company 's fault , can it ?", "It can't be the company's fault, can it?"),
            ("We 've said they 'll come ; I 'm sure he 'd know .", "We've said they'll come; I'm sure he'd know."),
            (
                "The plan -LRB- see page 3 -RRB- costs $ 5 million , or 20 % .",
                "The plan (see page 3) costs $5 million, or 20%.",
            ),
            ("He asked : `` Why not ? ''", "He asked: \"Why not?\""),
            ("She said \" no \" and \" yes \" .", "She said \"no\" and \"yes\"."),
            ("The word ' jazz ' is new .", "The word 'jazz' is new."),
            ("The companies ' profits fell .", "The companies' profits fell."),
            ("` Jazz ' they called it .", "'Jazz' they called it."),
            ("It was Ivan Allen Jr. .", "It was Ivan Allen Jr."),
            ("The wine -- a red -- was gone !", "The wine -- a red -- was gone!"),
            ("“ Go , ” he did n’t say .", "“Go,” he didn’t say."),
        ] {
            let joined = join(tokens.split(' '));
            assert_eq!(joined.text, sentence);
            assert_eq!(joined.words.len(), tokens.split(' ').count());
        }
    }

    #[test]
    fn every_word_is_found_where_it_is_said_to_stand() {
        let tokens = ["``", "Do", "n't", "go", ",", "''", "he", "said", "."];
        let Joined { text, words } = join(tokens);
        let found: Vec<&str> = words.iter().map(|word| &text[word.clone()]).collect();
        assert_eq!(found, ["\"", "Do", "n't", "go", ",", "\"", "he", "said", "."]);
    }

    #[test]
    fn words_in_any_order_keep_their_letters_and_never_have_two_spaces_between_them() {
        let mut tokens: Vec<&str> =
            "`` The dog 's owner , a Mr. Fox -LRB- who ca n't -- or wo n't -- pay $ 5 -RRB- , said : no ! ''"
                .split(' ')
                .collect();
        for index in 0..200 {
            let mut rng = Stream::new(0, Purpose::Shuffle).rng(index);
            for last in (1..tokens.len()).rev() {
                tokens.swap(last, rng.random_range(0..=last));
            }
            let Joined { text, words } = join(tokens.iter().copied());
            assert!(!text.contains("  ") && !text.contains(" ,") && text.trim() == text, "{text}");
            let letters = |text: &str| text.replace(['`', '\'', '"', '(', ')', ' '], "");
            assert_eq!(letters(&text), letters(&tokens.concat().replace("-LRB-", "(").replace("-RRB-", ")")));
            assert!(words.windows(2).all(|pair| pair[0].end <= pair[1].start), "{text}: {words:?}");
        }
    }

    #[test]
    fn only_a_word_that_stands_alone_can_be_an_answer() {
        let Joined { text, words } = join("\" It 's well-known , Mr. O'Brien - I paid $ 5 -- do n't ! ''".split(' '));
        let whole: Vec<&str> =
            words.iter().filter(|word| is_whole(&text, word)).map(|word| &text[word.clone()]).collect();
        assert_eq!(whole, ["well-known", "I", "paid"]);
        assert!(!is_whole("It's mine", &(0..2)) && !is_whole("nine-", &(0..5)) && is_whole("café", &(0..5)));
    }
}
