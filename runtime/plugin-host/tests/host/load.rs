//! What is loaded, and what is refused with a reason.

use millstream_plugin_host::{DescriptorError, LoadError, PluginFailure};

use crate::guest::{Guest, engine, with_component_type, with_world};

#[tokio::test]
async fn a_core_module_with_its_component_type_is_a_plugin() {
    let plugin = Guest::new("(i32.const 1)").load().await.unwrap();
    assert_eq!(plugin.descriptor().name, "guest");
    assert_eq!(plugin.descriptor().outputs, ["a", "b"]);
    assert_eq!(plugin.descriptor().config_schema, None);
    assert_eq!(plugin.digest().hex().len(), 64);
}

#[tokio::test]
async fn a_component_is_a_plugin_too() {
    let core = Guest::new("(i32.const 1)").wasm();
    let mut encoder = wit_component::ComponentEncoder::default()
        .module(&core)
        .unwrap();
    let plugin = engine().load(&encoder.encode().unwrap()).await.unwrap();
    assert_eq!(plugin.descriptor().name, "guest");
}

#[tokio::test]
async fn what_is_no_wasm_says_how_it_begins() {
    for bytes in [
        &b"#!/bin/sh\n"[..],
        b"",
        b"\0asn\x01\0\0\0",
        b"\x7fELF\x02\x01\x01",
    ] {
        let error = engine().load(bytes).await.unwrap_err();
        assert!(matches!(error, LoadError::NotWasm { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_torn_module_is_invalid_wherever_it_ends() {
    let whole = Guest::new("(i32.const 1)").wasm();
    let engine = engine();
    for end in (8..whole.len()).step_by(7) {
        let error = engine.load(&whole[..end]).await.unwrap_err();
        assert!(
            matches!(
                error,
                LoadError::Invalid { .. }
                    | LoadError::NoComponentType
                    | LoadError::MissingExport { .. }
            ),
            "{end}: {error}"
        );
    }
}

#[tokio::test]
async fn a_core_module_without_a_component_type_is_told_to_use_an_sdk() {
    let wasm = wat::parse_str(Guest::new("(i32.const 1)").text()).unwrap();
    let error = engine().load(&wasm).await.unwrap_err();
    assert!(matches!(error, LoadError::NoComponentType), "{error}");
}

#[tokio::test]
async fn imports_that_nobody_offers_are_named() {
    for (import, word) in [
        (r#"(import "env" "f" (func))"#, "env"),
        (
            r#"(import "__wbindgen_placeholder__" "f" (func))"#,
            "browser",
        ),
        (
            r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#,
            "WASI",
        ),
        (
            r#"(import "millstream:plugin/state@0.1.0" "get-many" (func))"#,
            "later version",
        ),
    ] {
        let wasm = with_component_type(&format!("(module {import})"));
        let error = engine().load(&wasm).await.unwrap_err();
        assert!(matches!(error, LoadError::ForeignImports { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn a_newer_contract_is_refused_as_such() {
    for version in ["0.1.1", "0.2.0", "1.0.0"] {
        let text = Guest::new("(i32.const 1)")
            .text()
            .replace("@0.1.0", &format!("@{version}"));
        let wit = include_str!("../../../../plugin-sdk/wit/plugin.wit")
            .replace("@0.1.0", &format!("@{version}"));
        let error = engine().load(&with_world(&text, &wit)).await.unwrap_err();
        assert!(matches!(error, LoadError::NewerContract { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_component_of_another_world_lacks_the_processor() {
    let wasm = with_world(
        r#"(module (func (export "run")))"#,
        "package some:one@1.0.0; world plugin { export run: func(); }",
    );
    let error = engine().load(&wasm).await.unwrap_err();
    assert!(matches!(error, LoadError::MissingExport { .. }), "{error}");
}

#[tokio::test]
async fn missing_and_wrong_functions_are_named() {
    let missing = "package millstream:plugin@0.1.0; interface processor { describe: func() -> string; } \
                   world plugin { export processor; }";
    let text = r#"(module (memory (export "memory") 1)
        (func (export "millstream:plugin/processor@0.1.0#describe") (result i32) (i32.const 0)))"#;
    let error = engine().load(&with_world(text, missing)).await.unwrap_err();
    assert!(
        matches!(&error, LoadError::MissingExport { missing } if missing.contains("open")),
        "{error}"
    );

    let wrong = "package millstream:plugin@0.1.0; interface processor { describe: func() -> string; \
                 open: func(context: u32); process: func(); } world plugin { export processor; }";
    let text = r#"(module (memory (export "memory") 1)
        (func (export "millstream:plugin/processor@0.1.0#describe") (result i32) (i32.const 0))
        (func (export "millstream:plugin/processor@0.1.0#open") (param i32))
        (func (export "millstream:plugin/processor@0.1.0#process")))"#;
    let error = engine().load(&with_world(text, wrong)).await.unwrap_err();
    assert!(
        matches!(
            &error,
            LoadError::WrongSignature {
                function: "open",
                ..
            }
        ),
        "{error}"
    );
}

/// Whether the error is the expected one.
type Expected = fn(&DescriptorError) -> bool;

#[tokio::test]
async fn a_descriptor_is_checked() {
    let cases: [(&str, Expected); 7] = [
        ("{", |error| {
            matches!(error, DescriptorError::NotTheDocument { .. })
        }),
        ("{}", |error| {
            matches!(error, DescriptorError::NotTheDocument { .. })
        }),
        (
            r#"{"name":"","version":"1","frames":1,"inputs":["in"],"outputs":[]}"#,
            |error| matches!(error, DescriptorError::BadName { what: "plugin", .. }),
        ),
        (
            r#"{"name":"n","version":"1","frames":2,"inputs":["in"],"outputs":[]}"#,
            |error| matches!(error, DescriptorError::NewerFrames { wanted: 2, .. }),
        ),
        (
            r#"{"name":"n","version":"1","frames":1,"inputs":[],"outputs":[]}"#,
            |error| matches!(error, DescriptorError::NoInput),
        ),
        (
            r#"{"name":"n","version":"1","frames":1,"inputs":["in"],"outputs":["a","a"]}"#,
            |error| matches!(error, DescriptorError::Twice { .. }),
        ),
        (
            r#"{"name":"n","version":"1","frames":1,"inputs":["in"],"outputs":[],"needs":["timers"]}"#,
            |error| matches!(error, DescriptorError::Needs { .. }),
        ),
    ];
    for (descriptor, expected) in cases {
        let guest = Guest {
            descriptor: descriptor.to_owned(),
            ..Guest::new("(i32.const 1)")
        };
        let error = guest.load().await.unwrap_err();
        assert!(
            matches!(&error, LoadError::Descriptor(wrong) if expected(wrong)),
            "{descriptor}: {error}"
        );
    }
}

#[tokio::test]
async fn keys_of_a_later_descriptor_are_ignored() {
    let descriptor =
        r#"{"name":"n","version":"1","frames":1,"inputs":["in"],"outputs":[],"icon":"mill"}"#;
    let guest = Guest {
        descriptor: descriptor.to_owned(),
        ..Guest::new("(i32.const 1)")
    };
    assert_eq!(guest.load().await.unwrap().descriptor().name, "n");
}

#[tokio::test]
async fn describe_must_not_call_imports_nor_run_for_ever() {
    let calling = Guest {
        describe: "(call $mark (i32.const 0))",
        ..Guest::new("(i32.const 1)")
    };
    let error = calling.load().await.unwrap_err();
    assert!(
        matches!(&error, LoadError::Describe(PluginFailure::Malformed { .. })),
        "{error}"
    );

    let trapping = Guest {
        describe: "(unreachable)",
        ..Guest::new("(i32.const 1)")
    };
    let error = trapping.load().await.unwrap_err();
    assert!(
        matches!(&error, LoadError::Describe(PluginFailure::Trap { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn features_outside_of_the_contract_do_not_compile() {
    for fields in [
        "(memory $more i64 1)",
        "(memory $shared 1 1 shared)",
        "(tag $thrown (param i32)) (func (throw $thrown (i32.const 1)))",
        "(type $struct (struct (field i32))) (func (drop (struct.new_default $struct)))",
    ] {
        let guest = Guest {
            fields: fields.to_owned(),
            ..Guest::new("(i32.const 1)")
        };
        let error = guest.load().await.unwrap_err();
        assert!(
            matches!(error, LoadError::Compile { .. } | LoadError::Invalid { .. }),
            "{fields}: {error}"
        );
    }
}
