//! The task on small corpora that the tests write.

use super::*;
use crate::text::settings::check_contract;
use crate::{Place, Stream, Template};

const ALL: [WordClass; 6] = [
    WordClass::Noun,
    WordClass::Adjective,
    WordClass::Verb,
    WordClass::Adverb,
    WordClass::Preposition,
    WordClass::Pronoun,
];

/// Sentences with a word of every class, all of them different.
fn corpus(sentences: usize) -> String {
    let letter = |i: usize| char::from(b'a' + (i % 26) as u8);
    let name = |i: usize| format!("Dr{}{}{}", letter(i / 676), letter(i / 26), letter(i));
    let sentence = |i| format!("She/pps often/rb saw/vbd green/jj {}/np in/in the/at town/nn ./.\n", name(i));
    (0..sentences).map(sentence).collect()
}

fn settings(named: bool, null: bool, shots: usize) -> TextSettings {
    let template = Template::new("{input} = {output}\n").unwrap();
    TextSettings { shots: vec![shots], template, null, named, place: Place::Prompt }
}

fn build(classes: &[WordClass], files: &[(&str, &[u8])]) -> Result<PartOfSpeech, TaskError> {
    let file = |&(path, bytes): &(&str, &[u8])| TextFile { path: path.into(), bytes: bytes.to_vec() };
    let config = PartOfSpeechConfig { corpus: "brown".into(), classes: classes.to_vec() };
    config.build(&settings(true, false, 4), files.iter().map(file).collect())
}

/// What the task of `classes` asks about the one sentence of `tagged`, class by class.
fn answers(classes: &[WordClass], tagged: &str) -> Vec<Option<String>> {
    let file = TextFile { path: "brown".into(), bytes: tagged.into() };
    let stock = Stock::read("brown".as_ref(), &[file], classes).unwrap();
    let answer = |sentence: &stock::Asked, k: usize| Some(sentence.text[sentence.answers[k].clone()?].to_owned());
    (0..classes.len()).map(|k| answer(stock.sentences.first()?, k)).collect()
}

#[test]
fn the_contract_of_a_task_of_text_is_kept() {
    for (named, null) in [(false, false), (true, true)] {
        let files = vec![TextFile { path: "brown".into(), bytes: corpus(60).into() }];
        let config = PartOfSpeechConfig { corpus: "brown".into(), classes: ALL.to_vec() };
        let settings = settings(named, null, 10);
        check_contract(&config.build(&settings, files).unwrap(), &settings);
    }
}

#[test]
fn the_answer_is_the_first_word_of_the_class_as_it_is_written() {
    let task = build(&ALL, &[("brown", corpus(60).as_bytes())]).unwrap();
    for (k, class) in ALL.iter().enumerate() {
        let prompt = task.sample(ConceptId(k), Purpose::Probe, &mut Stream::new(0, Purpose::Probe).rng(0));
        assert_eq!(prompt.instruction, Some(format!("First {} of the sentence", class.name())));
        for pair in &prompt.pairs {
            let words: Vec<&str> = pair.input.split(' ').collect();
            assert_eq!(pair.answer, [words[4], "green", "saw", "often", "in", "She"][k], "{pair:?}");
        }
    }
}

#[test]
fn sentences_to_train_on_serve_nothing_else_and_none_comes_twice_in_a_prompt() {
    // The smallest corpus for prompts of five pairs: every prompt has all sentences of its part.
    let task = build(&ALL, &[("brown", corpus(10).as_bytes())]).unwrap();
    let inputs = |purpose, index| {
        let prompt = task.sample(ConceptId(2), purpose, &mut Stream::new(0, purpose).rng(index));
        let mut inputs: Vec<String> = prompt.pairs.into_iter().map(|pair| pair.input).collect();
        inputs.sort_unstable();
        inputs.dedup();
        inputs
    };
    let (train, probe) = (inputs(Purpose::Train, 0), inputs(Purpose::Probe, 0));
    assert_eq!((train.len(), probe.len()), (5, 5));
    assert!(train.iter().all(|sentence| !probe.contains(sentence)));
    assert_eq!(probe, inputs(Purpose::Eval, 1));
}

#[test]
fn answers_under_null_are_any_words_of_the_sentence() {
    let task = build(&ALL[..2], &[("brown", corpus(60).as_bytes())]).unwrap();
    let mut places = [0; 8];
    for index in 0..100 {
        let prompt = task.sample(ConceptId(2), Purpose::Patch, &mut Stream::new(0, Purpose::Patch).rng(index));
        assert_eq!(prompt.instruction, None);
        for pair in &prompt.pairs {
            let mut words = pair.input.trim_end_matches('.').split(' ');
            places[words.position(|word| word == pair.answer).unwrap()] += 1;
        }
    }
    // Of 500 draws an eighth is 62, with a standard deviation of 7.
    assert!(places.iter().all(|count| (30..95).contains(count)), "{places:?}");
}

#[test]
fn a_sentence_is_not_used_for_a_class_whose_first_word_cannot_be_told() {
    let two = [WordClass::Pronoun, WordClass::Noun];
    let some = |word: &str| Some(word.to_owned());
    for (tagged, expected) in [
        ("It/pps was/bedz a/at red/jj dog/nn ./.", [some("It"), some("dog")]),
        ("It's/pps+bez a/at very/ql red/jj dog/nn ./.", [None, some("dog")]),
        ("He/pps paid/vbd $600/nns for/in the/at dog/nn ./.", [some("He"), None]),
        ("One/pn of/in them/ppo is/bez one/nn here/rb ./.", [None, None]),
        ("One/pn of/in them/ppo is/bez two/nn here/rb ./.", [some("One"), some("two")]),
        ("A/at dog/nn slept/vbd ./. ,/, ,/, ,/,", [None, None]),
    ] {
        assert_eq!(answers(&two, tagged), expected, "{tagged}");
    }
}

#[test]
fn the_page_says_how_long_a_sentence_is() {
    let said = format!("A sentence has {} to {} words", stock::WORDS.start(), stock::WORDS.end());
    assert!(include_str!("../../../../../docs/parts-of-speech.md").contains(&said), "{said}");
}

#[test]
fn sentences_of_other_lengths_and_repeated_ones_are_left_out() {
    let of = |words: usize| format!("It/pps was/bedz {}fine/jj ./.\n", "very/ql ".repeat(words - 3));
    let text = [4, 5, 5, 25, 26].map(of).concat();
    let file = TextFile { path: "brown".into(), bytes: text.into() };
    let stock = Stock::read("brown".as_ref(), &[file], &[WordClass::Pronoun]).unwrap();
    let lengths: Vec<usize> = stock.sentences.iter().map(|it| it.text.split(' ').count()).collect();
    assert_eq!(lengths, [5, 25]);
}

#[test]
fn a_folder_is_read_in_order_without_the_files_that_are_no_corpus() {
    let (first, second) = (corpus(10), corpus(40).replace("green", "red"));
    let files: [(&str, &[u8]); 4] = [
        ("brown/README", b"Use and/or copy."),
        ("brown/a", first.as_bytes()),
        ("brown/b", second.as_bytes()),
        ("brown/c.pickle", b"\x80\x81\x02}q\0"),
    ];
    let sentences = build(&ALL, &files).unwrap().stock.sentences;
    assert_eq!(sentences.len(), 50);
    assert!(sentences[9].text.contains("green") && sentences[10].text.contains("red"));
}

#[test]
fn latin1_is_read_where_words_are_tagged() {
    let latin1: Vec<u8> = corpus(20).replace("often", "d\u{e9}j\u{e0}").chars().map(|c| c as u8).collect();
    let task = build(&ALL, &[("brown", latin1.as_slice())]).unwrap();
    assert!(task.stock.sentences[0].text.starts_with("She déjà saw"));
}

#[test]
fn a_corpus_that_no_task_can_be_made_from_is_refused_in_a_sentence() {
    let utf16: Vec<u8> = corpus(20).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let conllu = b"1\tcaf\xe9\t_\tNOUN\t_\t_\t_\t_\t_\t_\n";
    let without_pronoun = corpus(20).replace("pps", "np");
    let formats = "text tagged as word/TAG (Brown, Penn or Universal tags), CoNLL-U, or trees of the Penn Treebank";
    for (files, message) in [
        (vec![("brown", utf16.as_slice())], "brown must be UTF-8 or Latin-1, but is UTF-16".to_owned()),
        (vec![("brown/a", utf16.as_slice())], "brown/a must be UTF-8 or Latin-1, but is UTF-16".to_owned()),
        (vec![("brown", conllu)], "brown must be UTF-8, but is Latin-1 or another encoding".to_owned()),
        (vec![("brown", b" \n")], format!("brown must be {formats}, but is empty")),
        (vec![("brown", b"Plain text.")], format!("brown must be {formats}, but is none of these")),
        (
            vec![("brown", b"\x80\x81")],
            format!("brown must be {formats}, but is in another encoding than UTF-8 and Latin-1"),
        ),
        (vec![], format!("brown must have a file of {formats}, but has none")),
        (vec![("brown/a", b"Plain text.")], format!("brown must have a file of {formats}, but has none")),
        (
            vec![("brown", without_pronoun.as_bytes())],
            "brown has no sentence with a first pronoun that can be an answer".to_owned(),
        ),
        (
            vec![("brown", corpus(9).as_bytes())],
            "brown must have at least 5 sentences with a word of every class in each half, but has 4".to_owned(),
        ),
    ] {
        let error = build(&ALL, &files).unwrap_err().to_string();
        assert_eq!(error, format!("task.corpus: {message}"));
    }
}
