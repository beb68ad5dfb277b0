//! What the compiler says about an author's mistakes: in words of plugins, at the author's line.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A piece of source, and what is said of one of its lines.
struct Mistake {
    source: &'static str,
    line: &'static str,
    message: &'static str,
}

const fn mistake(source: &'static str, line: &'static str, message: &'static str) -> Mistake {
    Mistake {
        source,
        line,
        message,
    }
}

const PLACES: &str = "`processor` goes on a function `fn name(record: Record<'_>, ctx: &mut Context<'_>) -> \
                      Result<(), Reject>` or on an `impl Processor for …`";
const NAME: &str = "a name is a text of 1 to 128 letters, digits, `.`, `_` and `-`";

/// Found while the attribute is expanded.
const IN_THE_ATTRIBUTE: &[Mistake] = &[
    mistake(
        "#[millstream::processor(\n outptus = [\"a\"])]\nfn f(record: Record<'_>, ctx: &mut Context<'_>) {}",
        " outptus",
        "`outptus` is not known here; known are `outputs`, `inputs` and `name`",
    ),
    mistake(
        "#[millstream::processor(name = \"n\",\n name = \"m\")]\nfn f(record: Record<'_>, ctx: &mut Context<'_>) {}",
        " name",
        "`name` is said twice",
    ),
    mistake(
        "#[millstream::processor(outputs = [\"a\",\n \"a\"])]\nfn f(record: Record<'_>, ctx: &mut Context<'_>) {}",
        " \"a\"",
        "`a` is named twice",
    ),
    mistake(
        "#[millstream::processor(inputs = [\n \"two words\"])]\nfn f(record: Record<'_>, ctx: &mut Context<'_>) {}",
        " \"two words\"",
        NAME,
    ),
    mistake(
        "#[millstream::processor(inputs = [\n in])]\nfn f(record: Record<'_>, ctx: &mut Context<'_>) {}",
        " in",
        NAME,
    ),
    mistake(
        "#[millstream::processor(outputs =\n \"late\")]\nfn f(record: Record<'_>, ctx: &mut Context<'_>) {}",
        " \"late\"",
        "expected a list of names, as `[\"late\", \"ontime\"]`",
    ),
    mistake(
        "#[millstream::processor(\n outputs)]\nfn f(record: Record<'_>, ctx: &mut Context<'_>) {}",
        " outputs",
        "`=` is missing here",
    ),
    mistake(
        "#[millstream::processor(outputs = [\"a\"] name\n = \"n\")]\nfn f(record: Record<'_>, ctx: &mut Context<'_>) {}",
        "#[millstream::processor(outputs = [\"a\"] name",
        "expected `,`",
    ),
    mistake(
        "#[millstream::processor]\npub fn f(record: Record<'_>) -> Result<(), Reject> { Ok(()) }",
        "pub fn f",
        "a processor takes two arguments: `record: Record<'_>, ctx: &mut Context<'_>`",
    ),
    mistake(
        "#[millstream::processor]\npub struct S;",
        "pub struct S",
        PLACES,
    ),
    mistake(
        "#[millstream::processor]\nmod inner { fn f() {} }",
        "mod inner",
        PLACES,
    ),
    mistake(
        "struct S;\n#[millstream::processor]\nimpl Clone for S { fn clone(&self) -> S { S } }",
        "impl Clone",
        "`processor` goes on an `impl Processor for …`",
    ),
    mistake(
        "struct S;\n#[millstream::processor]\nimpl S { fn new() -> S { S } }",
        "impl S",
        "`processor` goes on an `impl Processor for …`",
    ),
];

/// Found when the types are compared.
const IN_THE_TYPES: &[Mistake] = &[
    mistake(
        "#[millstream::processor]\nfn returns_nothing(record: Record<'_>, ctx: &mut Context<'_>) {}",
        "fn returns_nothing",
        "mismatched types",
    ),
    mistake(
        "#[millstream::processor]\nfn takes_another(record: u8, ctx: &mut Context<'_>) -> Result<(), Reject> { Ok(()) }",
        "fn takes_another",
        "mismatched types",
    ),
    mistake(
        "struct S;\nstruct Settings;\n#[millstream::processor]\nimpl Processor for S {\n type Config = Settings;\n \
         fn open(_: Settings, _: &Open) -> Result<Self, ConfigError> { Ok(S) }\n \
         fn process(&mut self, _: Record<'_>, _: &mut Context<'_>) -> Result<(), Reject> { Ok(()) }\n}",
        " type Config",
        "`Settings` cannot be a plugin's config",
    ),
];

/// What is no mistake, however it is written: generics, visibility, attributes, another path, a type with arguments.
const SOUND: &[&str] = &[
    "/// Docs.\n#[allow(unused)]\n#[millstream::processor(name = \"x.y\", inputs = [\"a\", \"b\",], outputs = [],)]\n\
     pub(crate) fn f<'a>(record: Record<'a>, ctx: &mut Context<'_>,) -> Result<(), Reject> { Ok(()) }",
    "pub struct Pair<T, U>(T, U);\n#[millstream::processor]\nimpl millstream_sdk::Processor for Pair<u8, Vec<u8>> \
     where u8: Copy {\n type Config = NoConfig;\n \
     fn open(_: NoConfig, _: &Open) -> Result<Self, ConfigError> { Ok(Pair(1, vec![])) }\n \
     fn process(&mut self, _: Record<'_>, _: &mut Context<'_>) -> Result<(), Reject> { Ok(()) }\n}",
    "macro_rules! plugin { ($name:literal, $type:ty) => {\n pub struct Made;\n \
     #[millstream::processor(name = $name)]\n impl Processor for $type {\n type Config = NoConfig;\n \
     fn open(_: NoConfig, _: &Open) -> Result<Self, ConfigError> { Ok(Made) }\n \
     fn process(&mut self, _: Record<'_>, _: &mut Context<'_>) -> Result<(), Reject> { Ok(()) }\n} } }\n\
     plugin!(\"made\", Made);",
];

#[test]
fn mistakes_in_the_attribute_are_reported_where_they_stand() {
    check_all("attribute", IN_THE_ATTRIBUTE);
}

#[test]
fn mistakes_in_the_types_are_reported_where_they_stand() {
    check_all("types", IN_THE_TYPES);
}

#[test]
fn what_is_no_mistake_compiles() {
    let text: String = SOUND.iter().enumerate().map(in_module).collect();
    assert_eq!(errors("sound", &text), []);
}

fn in_module((number, source): (usize, &&str)) -> String {
    format!("mod m{number} {{\nuse millstream_sdk::prelude::*;\n{source}\n}}\n")
}

fn check_all(name: &str, mistakes: &[Mistake]) {
    let sources = mistakes.iter().map(|mistake| mistake.source);
    let text: String = sources
        .enumerate()
        .map(|(n, s)| in_module((n, &s)))
        .collect();
    let lines: Vec<&str> = text.lines().collect();
    let mut found = errors(name, &text);
    for mistake in mistakes {
        let place = found.iter().position(|(line, message)| {
            message == mistake.message && lines[line - 1].starts_with(mistake.line)
        });
        let place = place.unwrap_or_else(|| {
            panic!(
                "nothing says {:?} of {:?}: {found:#?}",
                mistake.message, mistake.line
            )
        });
        found.remove(place);
    }
    assert_eq!(found, [], "said beside");
}

/// Line and message of each error in a plugin with this source.
fn errors(name: &str, source: &str) -> Vec<(usize, String)> {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    let crate_dir = own.join(name);
    std::fs::create_dir_all(crate_dir.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"mistakes-{name}\"\nedition = \"2024\"\n\n[dependencies]\n\
         millstream-sdk = {{ path = {sdk:?} }}\n\n[workspace]\n"
    );
    std::fs::write(crate_dir.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(crate_dir.join("src/lib.rs"), source).unwrap();
    // The versions that we have, so that nothing is downloaded.
    std::fs::copy(sdk.join("../../Cargo.lock"), crate_dir.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "check",
            "--offline",
            "--message-format=json",
            "--target-dir",
        ])
        .arg(own.join("target"))
        .current_dir(&crate_dir)
        .output()
        .unwrap();
    let messages = String::from_utf8(output.stdout).unwrap();
    let messages = messages
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let errors: Vec<_> = messages
        .filter_map(|message: Value| error(&message))
        .collect();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), errors.is_empty(), "{said}");
    errors
}

/// Of one of cargo's messages, when it reports an error with a place.
fn error(message: &Value) -> Option<(usize, String)> {
    let message = message.get("message")?;
    if message["level"] != "error" {
        return None;
    }
    let spans = message["spans"].as_array()?;
    let primary = spans.iter().find(|span| span["is_primary"] == true)?;
    let line = primary["line_start"].as_u64()?;
    Some((line as usize, message["message"].as_str()?.to_owned()))
}
