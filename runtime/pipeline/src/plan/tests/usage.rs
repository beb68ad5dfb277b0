//! Parts of a manifest that have nothing to do with each other.

use super::*;

const STAGE: &str = "[stage.a]\nplugin = \"a\"\ninputs = \"flihgts\"\noutputs = \"o\"\n";
const SOURCE: &str = "[source.s]\nfile = \"tests.rs\"\nformat = \"lines\"\ntopic = \"flights\"\n";

fn warned(body: &str) -> Vec<String> {
    let manifest = sources_manifest(body);
    assert_eq!(check(&manifest, &plugins(&manifest), &Known), []);
    told_as(Severity::Warning, &manifest.report(warnings(&manifest)))
}

#[test]
fn a_declared_topic_that_nothing_uses_is_a_mistake() {
    let unused = |body: &str| {
        let manifest = sources_manifest(body);
        told(&manifest.report(check(&manifest, &plugins(&manifest), &Known)))
    };
    assert_eq!(
        unused(&format!(
            "[topic.flights]\npartitions = 4\n[topic.\"p.a.dead\"]\n[topic.else]\n{STAGE}"
        )),
        [
            "3:8 no source and no stage of this manifest uses the topic `flights` (not used) [did you mean `flihgts`?]",
            "6:8 no source and no stage of this manifest uses the topic `else` (not used) [leave it out, or name it where it is read or written]",
        ]
    );
    // Nothing goes to the dead letters of who skips.
    let skipping = format!("[topic.\"p.a.dead\"]\n{STAGE}on_error = \"skip\"\n");
    assert_eq!(unused(&skipping).len(), 1);
    let source = format!(
        "{SOURCE}on_error = \"dead-letter\"\n[topic.\"p.source.s.dead\"]\n[topic.flights]\n"
    );
    assert_eq!(unused(&source), [""; 0]);
}

#[test]
fn an_input_that_only_clients_can_feed_is_warned_of() {
    assert_eq!(
        warned(&format!("{SOURCE}{STAGE}")),
        [
            "6:9 no stage reads the topic `flights`, which source `s` feeds (not read) [did you mean `flihgts`?]",
            "9:10 nothing in this manifest writes the topic `flihgts`, which stage `a` reads (only clients can feed it) \
             [did you mean `flights`? Else, when clients feed it, declare it: [topic.flihgts]]",
        ]
    );
    // Whoever declares it means it; what another stage writes is fed, be it with dead letters.
    assert_eq!(warned(&format!("[topic.flihgts]\n{STAGE}")), [""; 0]);
    let chained = "[topic.x]\n[stage.b]\nplugin = \"b\"\ninputs = \"p.c.dead\"\noutputs = \"o\"\n\
[stage.c]\nplugin = \"c\"\ninputs = \"x\"\noutputs = \"y\"\n";
    assert_eq!(warned(chained), [""; 0]);
    assert_eq!(
        warned(&chained.replace("p.c.dead", "z.y")),
        [
            "6:10 nothing in this manifest writes the topic `z.y`, which stage `b` reads (only clients can feed it) \
             [when clients feed it, declare it: [topic.\"z.y\"]]"
        ]
    );
    // A pipeline may be sources alone.
    assert_eq!(warned(SOURCE), [""; 0]);
}

#[test]
fn over_a_node_it_is_said_which_of_these_inputs_do_not_exist() {
    let body = "[stage.join]\nplugin = \"join\"\ninputs = { left = \"a\", right = \"b\" }\noutputs = \"o\"\n";
    let plan = plan(body, &[("a", 1)]).unwrap();
    let report = manifest(body).report(plan.warnings);
    assert_eq!(
        told_as(Severity::Warning, &report),
        [
            "5:19 nothing in this manifest writes the topic `a`, which stage `join` reads (only clients can feed it) \
             [when clients feed it, declare it: [topic.a]]",
            "5:32 nothing in this manifest writes the topic `b`, which stage `join` reads (it does not exist, and is \
             created empty) [when clients feed it, declare it: [topic.b]]",
        ]
    );
    assert!(plan.notices.is_empty());
    assert!(
        report.to_string().ends_with("p.toml: 2 warnings"),
        "{report}"
    );
    // They are told beside the mistakes too.
    let report =
        super::plan(&format!("{body}[topic.o]\npartitions = 3\n"), &[("o", 1)]).unwrap_err();
    assert!(
        report
            .to_string()
            .ends_with("p.toml: 1 mistake, 2 warnings; nothing was changed"),
        "{report}"
    );
}
