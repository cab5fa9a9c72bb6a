//! Which tags of which tagset count as which part of speech. `docs/parts-of-speech.md` says it to readers.

use std::collections::HashMap;

use serde::Deserialize;

/// A part of speech that is a concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordClass {
    /// Nouns, proper ones included.
    Noun,
    /// Adjectives, ordinal numbers included.
    Adjective,
    /// Verbs, with `be`, `have`, `do` and the modals.
    Verb,
    /// Adverbs, with `not`, `very` and `when`.
    Adverb,
    /// Prepositions, without subordinating conjunctions and particles as far as a tagset tells them apart.
    Preposition,
    /// Pronouns, with possessives such as `my`.
    Pronoun,
}

impl WordClass {
    /// Its name in configurations, tables and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noun => "noun",
            Self::Adjective => "adjective",
            Self::Verb => "verb",
            Self::Adverb => "adverb",
            Self::Preposition => "preposition",
            Self::Pronoun => "pronoun",
        }
    }
}

/// A set of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tagset {
    /// The Universal tagset: the UPOS of CoNLL-U, and the older one of twelve tags.
    Universal,
    /// The Penn Treebank's.
    Penn,
    /// The Brown corpus'.
    Brown,
}

/// What the tags of a tagset stand for.
pub(super) type Classes = HashMap<&'static str, Option<WordClass>>;

/// Rows of class, universal tags, Penn tags and Brown tags, as in the page. The last row has the known tags of no class.
const TABLE: [(Option<WordClass>, [&str; 3]); 7] = [
    (Some(WordClass::Noun), ["NOUN PROPN", "NN NNS NNP NNPS", "nn nn$ nns nns$ np np$ nps nps$ nr nr$ nrs"]),
    (Some(WordClass::Adjective), ["ADJ", "JJ JJR JJS", "jj jj$ jjr jjs jjt ap ap$ od"]),
    (
        Some(WordClass::Verb),
        [
            "VERB AUX",
            "VB VBD VBG VBN VBP VBZ MD",
            "vb vbd vbg vbn vbz be bed bedz beg bem ben ber bez do dod doz hv hvd hvg hvn hvz md",
        ],
    ),
    (Some(WordClass::Adverb), ["ADV", "RB RBR RBS WRB", "rb rb$ rbr rbt rn ql qlp wql wrb *"]),
    (Some(WordClass::Preposition), ["ADP", "IN", "in"]),
    (Some(WordClass::Pronoun), ["PRON", "PRP PRP$ WP WP$", "pn pn$ pp$ pp$$ ppl ppls ppo pps ppss wp$ wpo wps"]),
    (
        None,
        [
            "CONJ CCONJ SCONJ DET NUM PRT PART INTJ SYM PUNCT X",
            "CC CD DT EX FW LS PDT POS RP SYM TO UH WDT -LRB- -RRB- -NONE-",
            "abl abn abx at cc cd cd$ cs dt dt$ dti dts dtx ex nil rp to uh wdt",
        ],
    ),
];

impl Tagset {
    /// All of them. Where two know as many tags of a text the first is taken.
    pub(super) const ALL: [Self; 3] = [Self::Universal, Self::Penn, Self::Brown];

    /// What every known tag stands for.
    pub(super) fn classes(self) -> Classes {
        let tags = |(class, row): &(Option<WordClass>, [&'static str; 3])| {
            let class = *class;
            row[self as usize].split(' ').map(move |tag| (tag, class)).collect::<Vec<_>>()
        };
        TABLE.iter().flat_map(tags).collect()
    }

    /// `tag` as the table writes it.
    ///
    /// Penn writes what an annotator could not decide as `JJ|VBG`. Brown writes the parts of a contraction as `pps+bez`,
    /// marks headlines, titles and cited words by `-hl`, `-tl` and `-nc` and a negation by `*`. The first part decides.
    pub(super) fn plain(self, tag: &str) -> String {
        match self {
            Self::Universal => tag.to_owned(),
            Self::Penn => tag.split('|').next().unwrap_or_default().to_owned(),
            Self::Brown => {
                let tag = tag.to_lowercase();
                let mut first = tag.split('+').next().unwrap_or_default();
                while let Some(shorter) = ["-hl", "-tl", "-nc"].iter().find_map(|mark| first.strip_suffix(mark)) {
                    first = shorter;
                }
                first.strip_suffix('*').filter(|rest| !rest.is_empty()).unwrap_or(first).to_owned()
            }
        }
    }
}

/// Whether `tag` is one of punctuation, which has no letter in any tagset. Brown's `*` is no punctuation.
pub(super) fn is_punctuation(tag: &str) -> bool {
    tag != "*" && !tag.contains(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../../docs/parts-of-speech.md");

    /// The cells of the rows of the page's first table, without the marks of code.
    fn page() -> Vec<Vec<String>> {
        let (tags, _) = PAGE.split_once("## Choices").unwrap();
        let rows = tags.lines().filter(|line| line.starts_with("| ")).skip(1);
        rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
    }

    #[test]
    fn the_page_lists_exactly_the_tags_of_the_table() {
        let name = |class: Option<WordClass>| class.map_or("none of them", WordClass::name).to_owned();
        let row = |(class, tags): &(Option<WordClass>, [&str; 3])| {
            [name(*class)].into_iter().chain(tags.map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(page(), TABLE.iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn no_tag_stands_for_two_things() {
        for tagset in Tagset::ALL {
            let listed: usize = TABLE.iter().map(|(_, row)| row[tagset as usize].split(' ').count()).sum();
            assert_eq!(tagset.classes().len(), listed, "{tagset:?}");
        }
    }

    #[test]
    fn what_all_tagsets_can_tell_they_say_alike() {
        for (word, tags, class) in [
            ("Atlanta", ["PROPN", "NNP", "np"], Some(WordClass::Noun)),
            ("third", ["ADJ", "JJ", "od"], Some(WordClass::Adjective)),
            ("could", ["AUX", "MD", "md"], Some(WordClass::Verb)),
            ("were", ["AUX", "VBD", "bed"], Some(WordClass::Verb)),
            ("when", ["ADV", "WRB", "wrb"], Some(WordClass::Adverb)),
            ("of", ["ADP", "IN", "in"], Some(WordClass::Preposition)),
            ("my", ["PRON", "PRP$", "pp$"], Some(WordClass::Pronoun)),
            ("himself", ["PRON", "PRP", "ppl"], Some(WordClass::Pronoun)),
            ("seven", ["NUM", "CD", "cd"], None),
            ("the", ["DET", "DT", "at"], None),
        ] {
            for (tagset, tag) in Tagset::ALL.into_iter().zip(tags) {
                assert_eq!(tagset.classes()[tag], class, "{word}");
            }
        }
    }

    #[test]
    fn the_first_part_of_a_tag_decides() {
        let plain = ["pps+bez", "nn-tl-hl", "dod*", "*", "NP$-TL", "in+at-tl", "ppss-nc", "fw-nn"];
        let expected = ["pps", "nn", "dod", "*", "np$", "in", "ppss", "fw-nn"];
        assert_eq!(plain.map(|tag| Tagset::Brown.plain(tag)), expected);
        assert_eq!(Tagset::Penn.plain("VBG|NN"), "VBG");
    }

    #[test]
    fn tags_without_a_letter_are_punctuation() {
        assert!([".", ",", "``", "''", ":", "$", "#", "--", "("].into_iter().all(is_punctuation));
        assert!(!["*", "nn", "X"].into_iter().any(is_punctuation));
    }
}
