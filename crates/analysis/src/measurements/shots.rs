//! Numbers of demonstrations, and the tokens that prompts of text are read at after so many.

use data::Token;
use probe::Study;

/// The token of the query after `shots` demonstrations.
pub(crate) fn query_after(shots: usize) -> Token {
    Token::X(shots + 1)
}

/// The demonstrations ahead of a token's pair.
pub(crate) fn shots_before(token: Token) -> usize {
    let (Token::X(pair) | Token::Y(pair)) = token;
    pair - 1
}

/// The numbers of demonstrations that a study of text asks about, ascending.
pub(crate) fn shots_of(study: &Study) -> Vec<usize> {
    super::sorted(study.tokens.iter().map(|&token| shots_before(token)).collect())
}
