//! Compacted topics and those who write to them.

use super::*;

#[test]
fn what_would_be_lost_in_a_compacted_topic_is_a_mistake() {
    let stage = "[stage.a]\nplugin = \"a\"\ninputs = \"x\"\noutputs = \"o\"\n";
    let of_dead = "(of refused records with the same key only the last would stay) \
                   [send dead letters to a topic that is not compacted]";
    let declared = "[topic.\"p.a.dead\"]\nconfig = { \"cleanup.policy\" = \"delete, compact\" }\n";
    assert_eq!(
        mistakes(&format!("{stage}{declared}"), &[]),
        [format!(
            "3:8 the dead-letter topic `p.a.dead` is compacted (it is declared with cleanup.policy = delete, compact) {of_dead}"
        )]
    );
    let over = |body: &str, existing: &[&str], default: &str| {
        let manifest = sources_manifest(body);
        let mut facts = facts(&[("x", 1), ("o", 1), ("rows", 1), ("dead", 1)]);
        for (name, info) in &mut facts.existing {
            let policy = if existing.contains(&name.as_str()) {
                "compact"
            } else {
                "delete"
            };
            info.settings
                .insert("cleanup.policy".to_owned(), policy.to_owned());
        }
        facts
            .defaults
            .insert("cleanup.policy".to_owned(), default.to_owned());
        let plan = Plan::new(&manifest, &plugins(&manifest), &facts, "p");
        plan.err().map_or(Vec::new(), |report| told(&report))
    };
    // What exists is as it is, whatever the node's default is; an output may be compacted.
    let named = format!("{stage}dead_letters = \"dead\"\n");
    assert_eq!(over(&named, &["o"], "compact"), [""; 0]);
    assert_eq!(
        over(&named, &["dead"], "delete"),
        [format!(
            "7:16 the dead-letter topic `dead` is compacted (it exists with cleanup.policy = compact) {of_dead}"
        )]
    );
    assert_eq!(
        over(stage, &[], "compact"),
        [format!(
            "3:8 the dead-letter topic `p.a.dead` is compacted (by the node's default of cleanup.policy = compact) {of_dead}"
        )]
    );
    // Nothing is sent there.
    let skipping = format!("{stage}on_error = {{ reject = \"skip\" }}\n");
    assert_eq!(over(&skipping, &[], "compact"), [""; 0]);

    let source = "[source.s]\nfile = \"tests.rs\"\nformat = \"jsonl\"\ntopic = \"rows\"\n";
    assert_eq!(
        over(source, &["rows"], "delete"),
        [
            "6:9 the source `s` gives its records no key, and the topic `rows` is compacted (it exists with cleanup.policy \
             = compact) (compaction would drop every record) [name a column as `key`, or feed a topic that is not compacted]"
        ]
    );
    assert_eq!(
        over(&format!("{source}key = \"id\"\n"), &["rows"], "delete"),
        [""; 0]
    );
    assert_eq!(over(source, &[], "compact"), [""; 0]);
}
