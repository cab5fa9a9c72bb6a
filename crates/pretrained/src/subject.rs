//! A language model as a subject of measurements.

use std::collections::BTreeMap;

use data::{Place, Template, TextPrompt, Token};
use probe::{
    Anatomy, Answers, Change, Component, Delivery, Edit, Prompts, Representations, Score, Subject, SubjectError, Wanted,
};

use crate::PretrainedError;
use crate::folder::DecoderConfig;
use crate::head::Said;
use crate::lora::Example;
use crate::model::LanguageModel;
use crate::passes::{Branch, Member, Request, RowAt, StateChange, Watch};
use crate::tokens::{PairTokens, pairs};

/// States of the residual stream that are in memory at a time: a gigabyte. More prompts than that go through the layers in
/// portions.
const STATES: usize = 1 << 28;

/// Tokens whose states are in memory at a time, as far as no resample has more.
pub(crate) fn tokens_at_once(config: &DecoderConfig) -> usize {
    STATES / config.d_model
}

/// A language model that is asked prompts of text.
pub struct TextSubject<'a> {
    model: LanguageModel<'a>,
    anatomy: Anatomy,
    template: &'a Template,
    place: Place,
    watch: &'a Watch<'a>,
}

/// A prompt among its tokens.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// The tokens up to the last answer's.
    pub(crate) ids: Vec<u32>,
    pub(crate) pairs: Vec<PairTokens>,
    /// The token behind every answer, in which the line ends.
    ends: Vec<u32>,
}

impl<'a> TextSubject<'a> {
    /// Prompts are written by `template`, and their states read at `place`.
    pub fn new(model: LanguageModel<'a>, template: &'a Template, place: Place, watch: &'a Watch<'a>) -> Self {
        let config = model.config();
        let anatomy = Anatomy { n_layers: config.n_layers, n_heads: config.n_heads, d_model: config.d_model };
        Self { model, anatomy, template, place, watch }
    }

    /// A prompt as tokens.
    ///
    /// # Errors
    /// When it is longer than the model has positions.
    pub(crate) fn cut(&self, prompt: &TextPrompt) -> Result<Cut, PretrainedError> {
        let written = self.template.write(prompt);
        let encoded = self.model.folder.tokens.encode(&written.text)?;
        let pairs = pairs(&written, &encoded);
        let end = |pair: &PairTokens| encoded.ids.get(pair.answer.end).copied().unwrap_or_default();
        let ends = pairs.iter().map(end).collect();
        let len = pairs.last().map_or(encoded.ids.len(), |last| last.answer.end);
        Ok(Cut { ids: encoded.ids[..len].to_vec(), pairs, ends })
    }

    /// A prompt to be tuned on: every answer that comes behind a demonstration, with the end of its line.
    ///
    /// # Errors
    /// When it is longer than the model has positions.
    pub(crate) fn example(&self, prompt: &TextPrompt) -> Result<Example, PretrainedError> {
        let Cut { mut ids, pairs, ends } = self.cut(prompt)?;
        ids.extend(ends.last());
        // Ahead of the first answer nothing tells the concept.
        let learnt = pairs.iter().skip(usize::from(pairs.len() > 1));
        Ok(Example { answers: learnt.map(|pair| pair.answer.start..pair.answer.end + 1).collect(), ids })
    }

    fn cut_all(&self, prompts: &Prompts) -> Result<Vec<Cut>, PretrainedError> {
        prompts.text().iter().map(|prompt| self.cut(prompt)).collect()
    }

    /// Where the state of a token of the measurements stands: X at the place ahead of the answer, Y at the answer's end.
    fn position(&self, cut: &Cut, token: Token) -> usize {
        match (token, self.place) {
            (Token::X(pair), Place::Prompt) => cut.pairs[pair - 1].asked,
            (Token::X(pair), Place::Answer) => cut.pairs[pair - 1].before_answer,
            (Token::Y(pair), _) => cut.pairs[pair - 1].answer.end.saturating_sub(1),
        }
    }

    /// Reads groups that are in memory together.
    fn read_portion(
        &self,
        first: usize,
        groups: &[(Vec<usize>, Vec<Cut>)],
        wanted: &Wanted,
        deliver: &mut dyn FnMut(Delivery),
    ) -> Result<(), PretrainedError> {
        let (mut sequences, mut reads, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        for (_, cuts) in groups {
            let (start, first) = (reads.len(), sequences.len());
            for &token in &wanted.tokens {
                reads.extend(cuts.iter().enumerate().map(|(number, cut)| RowAt {
                    of: Member::Sequence(first + number),
                    position: self.position(cut, token),
                }));
            }
            // What comes behind the last token that is read changes nothing.
            let last = |cut: &Cut| wanted.tokens.iter().map(|&token| self.position(cut, token)).max().unwrap_or(0);
            sequences.extend(cuts.iter().map(|cut| cut.ids[..=last(cut)].to_vec()));
            ranges.push(start..reads.len());
        }
        let of = |&component: &Component| {
            wanted.layers_of(component, self.anatomy.n_layers).into_iter().map(move |layer| (component, layer))
        };
        let layers = wanted.components.iter().flat_map(of).collect();
        let d = self.anatomy.d_model;
        let request = Request { sequences, reads, layers, ..Request::default() };
        self.model.pass(&request, self.watch, &mut |found| {
            for (number, ((labels, _), range)) in groups.iter().zip(&ranges).enumerate() {
                let values = found.values[range.start * d..range.end * d].to_vec();
                let (layers, tokens) = (vec![found.layer], wanted.tokens.clone());
                let states = Representations::new(labels.clone(), found.component, layers, tokens, values);
                deliver(Delivery { group: first + number, states, answers: None });
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The changes that an edit makes to prompt number `number`.
    fn changes(&self, edit: &Edit, number: usize, cut: &Cut) -> Result<Vec<StateChange>, SubjectError> {
        let change = |change: &Change| {
            let (layer, token, vectors, replaces) = match change {
                Change::Replace { layer, token, by } => (*layer, *token, by, true),
                Change::Add { layer, token, what } => (*layer, *token, what, false),
                Change::ReplaceHead { head, .. } | Change::Ablate { head, .. } => {
                    let range = "none: heads of a language model are not changed".to_owned();
                    return Err(SubjectError::NoPart { part: "head", range, value: *head });
                }
            };
            if layer.0 > self.anatomy.n_layers {
                let range = format!("0 and {}", self.anatomy.n_layers);
                return Err(SubjectError::NoPart { part: "layer", range, value: layer.0 });
            }
            let vector: Vec<f32> = vectors.of(number).iter().map(|&value| value as f32).collect();
            Ok(StateChange { layer, position: self.position(cut, token), replaces, vector: vector.into() })
        };
        edit.0.iter().map(change).collect()
    }

    /// The scores of every prompt under every edit, `[edits][n_prompts][n_points]`.
    fn scores(
        &self,
        prompts: &[Cut],
        changes: &[Vec<Vec<StateChange>>],
    ) -> Result<Vec<Vec<Vec<Score>>>, PretrainedError> {
        let mut branches = Vec::new();
        // By edit and prompt, whose states its answers come from, and from which position on.
        let members: Vec<Vec<(Member, usize)>> = changes
            .iter()
            .map(|changes| {
                let of_prompt = |(parent, changes): (usize, &Vec<StateChange>)| {
                    if changes.is_empty() {
                        return (Member::Sequence(parent), 0);
                    }
                    branches.push(Branch { parent, changes: changes.clone() });
                    let branch = &branches[branches.len() - 1];
                    (Member::Branch(branches.len() - 1), branch.first_position())
                };
                changes.iter().enumerate().map(of_prompt).collect()
            })
            .collect();
        // An answer ahead of every change is the one of the prompt as it is, and is computed once.
        let row = |number: usize, (member, from): (Member, usize), position: usize| {
            let of = if position < from { Member::Sequence(number) } else { member };
            RowAt { of, position }
        };
        let mut rows: BTreeMap<RowAt, u32> = BTreeMap::new();
        for members in &members {
            for (number, (cut, &member)) in prompts.iter().zip(members).enumerate() {
                for (position, asked) in cut.asked() {
                    rows.insert(row(number, member, position), asked);
                }
            }
        }
        let (last, asked): (Vec<RowAt>, Vec<u32>) = rows.into_iter().unzip();
        let sequences = prompts.iter().map(|cut| cut.ids.clone()).collect();
        let request = Request { sequences, branches, last, ..Request::default() };
        let passed = self.model.pass(&request, self.watch, &mut |_| Ok(()))?;
        let said = self.model.say(&passed.last, &asked)?;
        let at = |place: RowAt| said[request.last.binary_search(&place).expect("every answer's rows were asked for")];
        let of_prompt = |(number, (cut, &member)): (usize, (&Cut, &(Member, usize)))| {
            let score = |pair: usize| self.score(cut, pair, |position| at(row(number, member, position)));
            (0..cut.pairs.len()).map(score).collect::<Vec<Score>>()
        };
        Ok(members.iter().map(|members| prompts.iter().zip(members).enumerate().map(of_prompt).collect()).collect())
    }

    /// Whether greedy decoding from the prompt gives the answer up to the end of its line, and how probable the answer is.
    fn score(&self, cut: &Cut, pair: usize, said: impl Fn(usize) -> Said) -> Score {
        let PairTokens { answer, rest, .. } = &cut.pairs[pair];
        let said_of = |token: usize| said(token - 1);
        let mut log_probability: f64 = answer.clone().map(|token| said_of(token).log_probability).sum();
        let decoded = answer.clone().all(|token| said_of(token).best == cut.ids[token]);
        let end = said_of(answer.end);
        if !rest.is_empty() {
            log_probability += end.log_probability;
        }
        let text = self.model.folder.tokens.text_of(end.best);
        let ends = text.split_once('\n').is_some_and(|(before, _)| before.trim() == rest);
        Score { exact: decoded && ends, log_probability }
    }
}

impl Cut {
    /// The positions at which the tokens of answers are said, and those tokens; behind the last one, what ends the line.
    fn asked(&self) -> impl Iterator<Item = (usize, u32)> {
        self.pairs.iter().zip(&self.ends).flat_map(|(pair, &end)| {
            let of_answer = pair.answer.clone().map(|token| (token - 1, self.ids[token]));
            of_answer.chain([(pair.answer.end - 1, end)])
        })
    }
}

fn unreadable(error: PretrainedError) -> SubjectError {
    SubjectError::Unreadable(Box::new(error))
}

impl Subject for TextSubject<'_> {
    fn anatomy(&self) -> &Anatomy {
        &self.anatomy
    }

    /// Layer by layer, all groups that fit into memory together. Answers are not among them: logits are taken only where
    /// [`answers`](Self::answers) asks for them.
    fn read(&self, groups: &[Prompts], wanted: &Wanted, deliver: &mut dyn FnMut(Delivery)) -> Result<(), SubjectError> {
        let of_group = |group: &Prompts| Ok((group.labels(), self.cut_all(group)?));
        let cut = groups.iter().map(of_group).collect::<Result<Vec<_>, PretrainedError>>().map_err(unreadable)?;
        let size = |(_, cuts): &(Vec<usize>, Vec<Cut>)| {
            cuts.iter().map(|cut| cut.ids.len()).sum::<usize>() * self.anatomy.d_model
        };
        let mut first = 0;
        while first < cut.len() {
            let (mut end, mut states) = (first, 0);
            while end < cut.len() && (end == first || states + size(&cut[end]) <= STATES) {
                states += size(&cut[end]);
                end += 1;
            }
            self.read_portion(first, &cut[first..end], wanted, deliver).map_err(unreadable)?;
            first = end;
        }
        Ok(())
    }

    fn answers(&self, prompts: &Prompts, edits: &[Edit]) -> Result<Vec<Answers>, SubjectError> {
        let cuts = self.cut_all(prompts).map_err(unreadable)?;
        let of_edit = |edit: &Edit| {
            cuts.iter().enumerate().map(|(number, cut)| self.changes(edit, number, cut)).collect::<Result<Vec<_>, _>>()
        };
        let changes = edits.iter().map(of_edit).collect::<Result<Vec<_>, _>>()?;
        let scores = self.scores(&cuts, &changes).map_err(unreadable)?;
        Ok(scores.into_iter().map(Answers::Scores).collect())
    }

    fn answer_tokens(&self, prompts: &Prompts) -> Result<Vec<Vec<Vec<u32>>>, SubjectError> {
        let cuts = self.cut_all(prompts).map_err(unreadable)?;
        let tokens = |cut: &Cut| cut.pairs.iter().map(|pair| cut.ids[pair.answer.clone()].to_vec()).collect();
        Ok(cuts.iter().map(tokens).collect())
    }
}
