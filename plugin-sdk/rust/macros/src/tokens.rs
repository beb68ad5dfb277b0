//! Reading tokens one by one.

use std::iter::Peekable;

use proc_macro::{Delimiter, Span, TokenStream, TokenTree, token_stream};

use crate::problem::Problem;

/// Tokens that are yet to be read.
pub struct Tokens {
    rest: Peekable<token_stream::IntoIter>,
    /// Of the token that was read last: where something is missing.
    last: Span,
}

impl Tokens {
    pub fn new(tokens: TokenStream) -> Self {
        Self {
            rest: tokens.into_iter().peekable(),
            last: Span::call_site(),
        }
    }

    pub fn is_empty(&mut self) -> bool {
        self.rest.peek().is_none()
    }

    /// The next token, which must be there; `expected` says what should have been.
    pub fn next(&mut self, expected: &str) -> Result<TokenTree, Problem> {
        let token = self
            .rest
            .next()
            .ok_or_else(|| Problem::new(self.last, format!("{expected} is missing here")))?;
        self.last = token.span();
        Ok(plain(token))
    }

    /// The next token when `wanted` holds for it, which otherwise stays.
    pub fn next_if(&mut self, wanted: impl Fn(&TokenTree) -> bool) -> Option<TokenTree> {
        let token = self.rest.next_if(wanted)?;
        self.last = token.span();
        Some(token)
    }

    /// Reads over one punctuation character, which must be there.
    pub fn punctuation(&mut self, character: char) -> Result<(), Problem> {
        let expected = format!("`{character}`");
        match self.next(&expected)? {
            token if is_punctuation(&token, character) => Ok(()),
            token => Err(Problem::new(token.span(), format!("expected {expected}"))),
        }
    }
}

/// What a macro handed on stands in invisible brackets.
fn plain(token: TokenTree) -> TokenTree {
    if let TokenTree::Group(group) = &token
        && group.delimiter() == Delimiter::None
    {
        let mut inside = group.stream().into_iter();
        if let (Some(only), None) = (inside.next(), inside.next()) {
            return plain(only);
        }
    }
    token
}

pub fn is_punctuation(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

pub fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}

pub fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}
