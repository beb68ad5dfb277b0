//! What may be said in the brackets of the attribute.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, LitStr, Token, bracketed};

#[derive(Default)]
pub struct Arguments {
    pub name: Option<LitStr>,
    pub inputs: Option<Vec<LitStr>>,
    pub outputs: Option<Vec<LitStr>>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "name" => once(&key, &mut arguments.name, check_name(input.parse()?)?)?,
                "inputs" => once(&key, &mut arguments.inputs, names(input)?)?,
                "outputs" => once(&key, &mut arguments.outputs, names(input)?)?,
                other => {
                    let message = format!(
                        "`{other}` is not known here; known are `outputs`, `inputs` and `name`"
                    );
                    return Err(syn::Error::new(key.span(), message));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

fn once<T>(key: &Ident, place: &mut Option<T>, value: T) -> syn::Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(syn::Error::new(
            key.span(),
            format!("`{key}` is said twice"),
        )),
    }
}

/// `["a", "b"]`, each a name, none twice.
fn names(input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    let list;
    bracketed!(list in input);
    let mut names: Vec<LitStr> = Vec::new();
    for name in Punctuated::<LitStr, Token![,]>::parse_terminated(&list)? {
        let name = check_name(name)?;
        if names.iter().any(|known| known.value() == name.value()) {
            return Err(syn::Error::new(
                name.span(),
                format!("`{}` is named twice", name.value()),
            ));
        }
        names.push(name);
    }
    Ok(names)
}

/// The host refuses other names; say so where it can be seen.
fn check_name(name: LitStr) -> syn::Result<LitStr> {
    let text = name.value();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 128 || !text.chars().all(good) {
        return Err(syn::Error::new(
            name.span(),
            "a name has 1 to 128 letters, digits, `.`, `_` and `-`",
        ));
    }
    Ok(name)
}
