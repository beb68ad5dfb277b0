//! What may be said in the brackets of the attribute.

use proc_macro::{Delimiter, Ident, Literal, TokenStream, TokenTree};

use crate::problem::Problem;
use crate::tokens::Tokens;

#[derive(Default)]
pub struct Arguments {
    pub name: Option<Literal>,
    pub inputs: Option<Vec<Literal>>,
    pub outputs: Option<Vec<Literal>>,
}

impl Arguments {
    /// `outputs = [..], inputs = [..], name = ".."`, each at most once.
    pub fn parse(tokens: TokenStream) -> Result<Self, Problem> {
        let mut arguments = Self::default();
        let mut tokens = Tokens::new(tokens);
        while !tokens.is_empty() {
            let token = tokens.next("`outputs`, `inputs` or `name`")?;
            let TokenTree::Ident(key) = token else {
                return Err(unknown(&token));
            };
            tokens.punctuation('=')?;
            match key.to_string().as_str() {
                "name" => once(&key, &mut arguments.name, name(tokens.next("a name")?)?)?,
                "inputs" => once(&key, &mut arguments.inputs, names(&mut tokens)?)?,
                "outputs" => once(&key, &mut arguments.outputs, names(&mut tokens)?)?,
                _ => return Err(unknown(&key.into())),
            }
            if !tokens.is_empty() {
                tokens.punctuation(',')?;
            }
        }
        Ok(arguments)
    }
}

fn unknown(token: &TokenTree) -> Problem {
    let message = format!("`{token}` is not known here; known are `outputs`, `inputs` and `name`");
    Problem::new(token.span(), message)
}

fn once<T>(key: &Ident, place: &mut Option<T>, value: T) -> Result<(), Problem> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Problem::new(key.span(), format!("`{key}` is said twice"))),
    }
}

/// `["a", "b"]`, each a name, none twice.
fn names(tokens: &mut Tokens) -> Result<Vec<Literal>, Problem> {
    let list = match tokens.next("a list of names")? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => group,
        token => {
            let message = "expected a list of names, as `[\"late\", \"ontime\"]`";
            return Err(Problem::new(token.span(), message));
        }
    };
    let mut tokens = Tokens::new(list.stream());
    let mut names: Vec<Literal> = Vec::new();
    while !tokens.is_empty() {
        let name = name(tokens.next("a name")?)?;
        if names.iter().any(|known| text(known) == text(&name)) {
            let message = format!("`{}` is named twice", text(&name));
            return Err(Problem::new(name.span(), message));
        }
        names.push(name);
        if !tokens.is_empty() {
            tokens.punctuation(',')?;
        }
    }
    Ok(names)
}

/// The host refuses other names; say so where it can be seen.
fn name(token: TokenTree) -> Result<Literal, Problem> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match token {
        TokenTree::Literal(name)
            if matches!(text(&name).len(), 1..=128) && text(&name).chars().all(good) =>
        {
            Ok(name)
        }
        other => Err(Problem::new(
            other.span(),
            "a name is a text of 1 to 128 letters, digits, `.`, `_` and `-`",
        )),
    }
}

/// What stands between the quotation marks, or nothing when it has none. A name has no character that would be escaped.
fn text(literal: &Literal) -> String {
    let source = literal.to_string();
    let inside = source
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inside.unwrap_or_default().to_owned()
}
