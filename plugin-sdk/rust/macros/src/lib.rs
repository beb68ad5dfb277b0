//! The attribute `processor`: makes a function, or an `impl Processor for …`, a whole plugin.
//! It must not know frames or WIT: all that it writes is calls into `millstream_sdk`. Nor may it have dependencies:
//! every plugin builds this crate, and `syn` would take longer than the plugin.
//! Read `attribute.rs` for what may be said in the brackets, `item.rs` for what it may stand on, then `expand.rs` for
//! what is written.

mod attribute;
mod expand;
mod item;
mod problem;
mod tokens;

use proc_macro::TokenStream;

use crate::attribute::Arguments;
use crate::item::Item;

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
    let expanded = Arguments::parse(arguments)
        .and_then(|arguments| Ok(expand::expand(&arguments, &Item::parse(&item)?)));
    match expanded {
        Ok(behind) => item.into_iter().chain(behind).collect(),
        Err(problem) => problem.into_compile_error(),
    }
}
