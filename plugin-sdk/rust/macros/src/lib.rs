//! The attribute `processor`: makes a function, or an `impl Processor for …`, a whole plugin.
//! It must not know frames or WIT: all that it writes is calls into `millstream_sdk`.
//! Read `attribute.rs` for what may be said in the brackets, then `expand.rs` for what is written.

mod attribute;
mod expand;

use proc_macro::TokenStream;

/// Makes the item a plugin.
///
/// On a function, which then is the whole plugin:
///
/// ```ignore
/// use millstream_sdk::prelude::*;
///
/// #[millstream::processor(outputs = ["late", "ontime"])]
/// fn route(record: Record<'_>, ctx: &mut Context<'_>) -> Result<(), Reject> {
///     ctx.forward("late", &record);
///     Ok(())
/// }
/// ```
///
/// or on an `impl Processor for …` of a type with state and a typed config.
///
/// Arguments: `outputs = [..]` names the outputs (default `["default"]`), `inputs = [..]` the inputs (default
/// `["in"]`), `name = ".."` the plugin (default: the crate's name).
#[proc_macro_attribute]
pub fn processor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = syn::parse_macro_input!(arguments as attribute::Arguments);
    let item = syn::parse_macro_input!(item as syn::Item);
    expand::expand(&arguments, &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
