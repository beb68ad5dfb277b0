//! What the attribute writes behind the item. The texts are Rust; words in capitals with underscores at both ends are
//! blanks, which are filled with tokens, so that a mistake in them is reported where the author wrote them.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::attribute::Arguments;
use crate::item::Item;

/// The type that a function is a plugin of.
const FUNCTION: &str = "
    /// The plugin that the function is, for `millstream::testing`.
    pub struct Plugin;

    impl ::millstream_sdk::Processor for Plugin {
        type Config = ::millstream_sdk::NoConfig;

        fn open(
            _config: ::millstream_sdk::NoConfig,
            _open: &::millstream_sdk::Open,
        ) -> ::core::result::Result<Self, ::millstream_sdk::ConfigError> {
            ::core::result::Result::Ok(Self)
        }

        fn process(
            &mut self,
            record: ::millstream_sdk::Record<'_>,
            ctx: &mut ::millstream_sdk::Context<'_>,
        ) -> ::core::result::Result<(), ::millstream_sdk::Reject> {
            _CALL_
        }
    }
";

/// What the plugin says about itself.
const DESCRIPTION: &str = "
    impl ::millstream_sdk::Describe for _PLUGIN_ {
        const NAME: &'static str = _NAME_;
        const VERSION: &'static str = ::core::env!(\"CARGO_PKG_VERSION\");
        const INPUTS: &'static [&'static str] = &_INPUTS_;
        const OUTPUTS: &'static [&'static str] = &_OUTPUTS_;
    }
";

/// The contract's functions. Only a wasm build exports: the names of component exports are no symbols for a native
/// linker.
const EXPORTS: &str = "
    #[cfg(target_arch = \"wasm32\")]
    const _: () = {
        ::std::thread_local! {
            static GUEST: ::millstream_sdk::guest::Slot<_PLUGIN_> =
                const { ::millstream_sdk::guest::Slot::new() };
        }

        struct Exports;

        impl ::millstream_sdk::guest::Exports for Exports {
            fn describe() -> ::std::string::String {
                ::millstream_sdk::guest::describe::<_PLUGIN_>()
            }

            fn open(
                context: ::std::string::String,
            ) -> ::core::result::Result<(), ::std::vec::Vec<::millstream_sdk::guest::ConfigIssue>> {
                GUEST.with(|guest| guest.open(&context))
            }

            fn process(
                events: ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<u32, ::millstream_sdk::guest::Error> {
                GUEST.with(|guest| guest.process(&events))
            }
        }

        ::millstream_sdk::bindings::export_plugin!(Exports with_types_in ::millstream_sdk::bindings);
    };
";

pub fn expand(arguments: &Arguments, item: &Item) -> TokenStream {
    let (function, plugin) = match item {
        Item::Function { name } => {
            let blanks = [("_CALL_", call(name))];
            (filled(FUNCTION, &blanks), rust("Plugin"))
        }
        Item::Processor { plugin } => (TokenStream::new(), plugin.clone()),
    };
    let name = match &arguments.name {
        Some(name) => TokenTree::from(name.clone()).into(),
        None => rust("::core::env!(\"CARGO_PKG_NAME\")"),
    };
    let blanks = [
        ("_PLUGIN_", plugin),
        ("_NAME_", name),
        ("_INPUTS_", list(&arguments.inputs, "in")),
        ("_OUTPUTS_", list(&arguments.outputs, "default")),
    ];
    let described = [DESCRIPTION, EXPORTS].map(|text| filled(text, &blanks));
    std::iter::once(function).chain(described).collect()
}

/// `name(record, ctx)`, written where the function has its name, so that a wrong signature is reported there.
fn call(name: &Ident) -> TokenStream {
    let there = Span::call_site().located_at(name.span());
    let argument = |text| TokenTree::from(Ident::new(text, there));
    let comma = TokenTree::from(Punct::new(',', Spacing::Alone));
    let arguments = [argument("record"), comma, argument("ctx")];
    let mut arguments = Group::new(Delimiter::Parenthesis, arguments.into_iter().collect());
    arguments.set_span(there);
    let call: [TokenTree; 2] = [name.clone().into(), arguments.into()];
    call.into_iter().collect()
}

/// `["a", "b"]`
fn list(names: &Option<Vec<Literal>>, default: &str) -> TokenStream {
    let names = match names {
        Some(names) => names.clone(),
        None => vec![Literal::string(default)],
    };
    let comma = || TokenTree::from(Punct::new(',', Spacing::Alone));
    let names = names.into_iter().flat_map(|name| [name.into(), comma()]);
    TokenTree::from(Group::new(Delimiter::Bracket, names.collect())).into()
}

fn rust(text: &str) -> TokenStream {
    text.parse().expect("our own texts are Rust")
}

/// The text, its blanks filled.
fn filled(text: &str, blanks: &[(&str, TokenStream)]) -> TokenStream {
    fill(rust(text), blanks)
}

fn fill(tokens: TokenStream, blanks: &[(&str, TokenStream)]) -> TokenStream {
    let fill_token = |token: TokenTree| -> TokenStream {
        match token {
            TokenTree::Group(group) => {
                let inside = fill(group.stream(), blanks);
                TokenTree::from(Group::new(group.delimiter(), inside)).into()
            }
            TokenTree::Ident(word) => {
                let word_text = word.to_string();
                let blank = blanks.iter().find(|(name, _)| *name == word_text);
                blank.map_or_else(
                    || TokenTree::from(word).into(),
                    |(_, tokens)| tokens.clone(),
                )
            }
            other => other.into(),
        }
    };
    tokens.into_iter().map(fill_token).collect()
}
