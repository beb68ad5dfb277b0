//! What the attribute stands on: as much of it as the expansion needs. The compiler reads the rest.

use proc_macro::{Delimiter, Ident, Span, TokenStream, TokenTree};

use crate::problem::Problem;
use crate::tokens::{Tokens, is_group, is_punctuation, is_word};

/// An item that can be a plugin.
pub enum Item {
    /// `fn name(record, ctx)`.
    Function { name: Ident },
    /// `impl Processor for plugin`.
    Processor { plugin: TokenStream },
}

const PLACES: &str = "`processor` goes on a function `fn name(record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), \
                      Reject>` or on an `impl Processor for …`";

impl Item {
    pub fn parse(item: &TokenStream) -> Result<Self, Problem> {
        let mut tokens = Tokens::new(item.clone());
        let begin = item.clone().into_iter().next();
        let begin = begin.map_or_else(Span::call_site, |token| token.span());
        // Whatever may stand in front of either: attributes, `pub(crate)`, `unsafe`.
        while let Some(token) = tokens.next_if(|_| true) {
            if is_word(&token, "fn") {
                return function(tokens);
            }
            if is_word(&token, "impl") {
                return implementation(tokens, token.span());
            }
            let passes = is_punctuation(&token, '#')
                || is_group(&token, Delimiter::Bracket)
                || is_group(&token, Delimiter::Parenthesis)
                || matches!(&token, TokenTree::Ident(word) if !ITEMS.contains(&&*word.to_string()))
                || matches!(token, TokenTree::Literal(_));
            if !passes {
                break;
            }
        }
        Err(Problem::new(begin, PLACES))
    }
}

/// Items that may hold an `fn` or an `impl` of their own.
const ITEMS: [&str; 8] = [
    "struct", "enum", "union", "trait", "mod", "static", "type", "use",
];

fn function(mut tokens: Tokens) -> Result<Item, Problem> {
    let TokenTree::Ident(name) = tokens.next("the function's name")? else {
        return Err(Problem::new(Span::call_site(), PLACES));
    };
    // Between name and arguments only generics can stand, and they have no parentheses that are not in angle brackets.
    let mut angles = Angles::default();
    let arguments = loop {
        match tokens.next("the list of arguments")? {
            TokenTree::Group(group)
                if group.delimiter() == Delimiter::Parenthesis && angles.none_open() =>
            {
                break group;
            }
            token => angles.read(&token),
        }
    };
    if argument_count(arguments.stream()) != 2 {
        return Err(Problem::new(
            name.span(),
            "a processor takes two arguments: `record: Record<'_>, ctx: &mut Context<'_>`",
        ));
    }
    Ok(Item::Function { name })
}

fn argument_count(arguments: TokenStream) -> usize {
    let mut angles = Angles::default();
    let (mut count, mut begun) = (0, false);
    for token in arguments {
        angles.read(&token);
        if is_punctuation(&token, ',') && angles.none_open() {
            begun = false;
        } else if !begun {
            count += 1;
            begun = true;
        }
    }
    count
}

fn implementation(mut tokens: Tokens, span: Span) -> Result<Item, Problem> {
    let mut angles = Angles::default();
    // The last word in front of `for` is the trait's own name, its module's before it.
    let mut of_trait = None;
    loop {
        let token = tokens.next("`for` and a type")?;
        if is_word(&token, "for") && angles.none_open() {
            break;
        }
        if is_group(&token, Delimiter::Brace) {
            of_trait = None;
            break;
        }
        angles.read(&token);
        if matches!(token, TokenTree::Ident(_)) && angles.none_open() {
            of_trait = Some(token);
        }
    }
    if !of_trait.is_some_and(|name| is_word(&name, "Processor")) {
        return Err(Problem::new(
            span,
            "`processor` goes on an `impl Processor for …`",
        ));
    }
    let ends = |token: &TokenTree| is_group(token, Delimiter::Brace) || is_word(token, "where");
    let plugin = std::iter::from_fn(|| tokens.next_if(|token| !ends(token))).collect();
    Ok(Item::Processor { plugin })
}

/// Counts `<` and `>`, which are no brackets to the compiler's lexer.
#[derive(Default)]
struct Angles {
    open: usize,
    /// The `>` of an arrow closes nothing.
    behind_dash: bool,
}

impl Angles {
    fn read(&mut self, token: &TokenTree) {
        if is_punctuation(token, '<') {
            self.open += 1;
        } else if is_punctuation(token, '>') && !self.behind_dash {
            self.open = self.open.saturating_sub(1);
        }
        self.behind_dash = is_punctuation(token, '-');
    }

    fn none_open(&self) -> bool {
        self.open == 0
    }
}
