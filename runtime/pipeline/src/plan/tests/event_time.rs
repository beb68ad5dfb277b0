//! Topics that are created without a limit of age.

use super::*;

#[test]
fn what_a_file_dates_is_not_removed_by_its_age() {
    // `by` reads what no file has dated; `after` stands before `clean`, against the flow.
    let body = r#"
[source.flights]
file = "tests.rs"
format = "csv"
topic = "flights"
timestamp = { column = "at" }
[source.plain]
file = "tests.rs"
format = "lines"
topic = "plain"
[stage.after]
plugin = "after"
inputs = "clean"
outputs = { out = { topic = "after", "retention.ms" = 9 } }
[stage.clean]
plugin = "clean"
inputs = "flights"
outputs = { out = { topic = "clean", "compression.type" = "zstd" } }
[stage.by]
plugin = "by"
inputs = "plain"
outputs = "by"
[stage.join]
plugin = "join"
inputs = { left = "plain", right = "clean" }
outputs = "joined"
on_error = { reject = "skip" }
"#;
    let manifest = sources_manifest(body);
    let over = |existing| {
        let facts = facts(existing);
        Plan::new(&manifest, &plugins(&manifest), &facts, "p").unwrap()
    };
    let plan = over(&[]);
    let of = |plan: &Plan, name: &str| {
        let spec = plan.topics_to_create.iter().find(|spec| spec.name == name);
        let mut config = spec.unwrap_or_else(|| panic!("{name}")).config.iter();
        let found = config.find(|(name, _)| name == "retention.ms");
        found.map(|(_, value)| value.clone())
    };
    let kept = Some("-1".to_owned());
    for (topic, expected) in [
        ("flights", kept.clone()),
        ("clean", kept.clone()),
        ("p.clean.dead", kept.clone()),
        ("p.after.dead", kept.clone()),
        ("joined", kept),
        ("after", Some("9".to_owned())),
        ("plain", None),
        ("by", None),
        ("p.by.dead", None),
    ] {
        assert_eq!(of(&plan, topic), expected, "{topic}");
    }
    assert_eq!(
        plan.notices,
        [
            "created with retention.ms=-1, since their records have the times of a file (source flights): \
             flights, clean, p.clean.dead, p.after.dead, joined"
        ]
    );
    // The same is said before a node was asked, in order of name.
    assert_eq!(
        notices(&manifest),
        [
            "created with retention.ms=-1, since their records have the times of a file (source flights): \
             clean, flights, joined, p.after.dead, p.clean.dead"
        ]
    );
    // A topic that exists is left as it is, and told of.
    let plan = over(&[("flights", 1), ("clean", 1), ("plain", 1)]);
    let (created, existing) = (&plan.notices[0], &plan.notices[1]);
    assert!(
        created.ends_with(": p.clean.dead, p.after.dead, joined"),
        "{created}"
    );
    assert!(
        existing.contains(": clean (5), flights (5); `millstream topic alter"),
        "{existing}"
    );
}
