//! What `wit-bindgen` makes of the contract. Generated code, and so with unsafe blocks of its own.
#![allow(unsafe_code, missing_docs)]

wit_bindgen::generate!({
    path: "../wit",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_plugin",
    default_bindings_module: "millstream_sdk::bindings",
});
