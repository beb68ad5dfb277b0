//! What the attribute writes behind the item.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Item, ItemFn, ItemImpl, LitStr, Type};

use crate::attribute::Arguments;

pub fn expand(arguments: &Arguments, item: &Item) -> syn::Result<TokenStream> {
    match item {
        Item::Fn(function) => expand_function(arguments, function),
        Item::Impl(implementation) => expand_impl(arguments, implementation),
        other => Err(syn::Error::new(
            other.span(),
            "`processor` goes on a function `fn name(record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject>` \
             or on an `impl Processor for …`",
        )),
    }
}

fn expand_function(arguments: &Arguments, function: &ItemFn) -> syn::Result<TokenStream> {
    let signature = &function.sig;
    if signature.inputs.len() != 2 {
        return Err(syn::Error::new(
            signature.span(),
            "a processor takes two arguments: `record: Record<'_>, ctx: &mut Context<'_>`",
        ));
    }
    let name = &signature.ident;
    let described = describe(arguments, &quote!(Plugin));
    // The call is written with the function's span, so that a wrong signature is reported there.
    let call = quote_spanned!(signature.span()=> #name(record, ctx));
    Ok(quote! {
        #function

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
                #call
            }
        }

        #described
    })
}

fn expand_impl(arguments: &Arguments, implementation: &ItemImpl) -> syn::Result<TokenStream> {
    let of_processor = implementation
        .trait_
        .as_ref()
        .and_then(|(_, path, _)| path.segments.last())
        .is_some_and(|segment| segment.ident == "Processor");
    if !of_processor {
        return Err(syn::Error::new(
            implementation.span(),
            "`processor` goes on an `impl Processor for …`",
        ));
    }
    let plugin: &Type = &implementation.self_ty;
    let described = describe(arguments, &quote!(#plugin));
    Ok(quote! {
        #implementation
        #described
    })
}

/// The description, and on wasm the exports.
fn describe(arguments: &Arguments, plugin: &TokenStream) -> TokenStream {
    let name = match &arguments.name {
        Some(name) => quote!(#name),
        None => quote!(::core::env!("CARGO_PKG_NAME")),
    };
    let list = |names: &Option<Vec<LitStr>>, default: &str| match names {
        Some(names) => quote!(&[#(#names),*]),
        None => quote!(&[#default]),
    };
    let inputs = list(&arguments.inputs, "in");
    let outputs = list(&arguments.outputs, "default");
    quote! {
        impl ::millstream_sdk::Describe for #plugin {
            const NAME: &'static str = #name;
            const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            const INPUTS: &'static [&'static str] = #inputs;
            const OUTPUTS: &'static [&'static str] = #outputs;
        }

        // Only a wasm build exports: the names of component exports are no symbols for a native linker.
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code)]
        const _: () = {
            ::std::thread_local! {
                static GUEST: ::millstream_sdk::guest::Slot<#plugin> = const { ::millstream_sdk::guest::Slot::new() };
            }

            struct Exports;

            impl ::millstream_sdk::guest::Exports for Exports {
                fn describe() -> ::std::string::String {
                    ::millstream_sdk::guest::describe::<#plugin>()
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
    }
}
