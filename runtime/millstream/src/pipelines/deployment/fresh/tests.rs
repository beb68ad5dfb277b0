use super::*;
use crate::pipelines::deployment::testing::{Task, group, image, plan};

/// A file feeds `a`, a stage reads it and writes `b` and `p.one.dead`; another reads `fed` and writes `b`.
const BODY: &str = "[source.rows]\nfile = \"Cargo.toml\"\nformat = \"lines\"\ntopic = \"a\"\n\
[stage.one]\nplugin = \"one\"\ninputs = \"a\"\noutputs = \"b\"\n\
[stage.two]\nplugin = \"two\"\ninputs = \"fed\"\noutputs = \"b\"\non_error = { reject = \"skip\" }\n";
const OURS: Option<&str> = Some("p");

fn records(topics: &[&str]) -> BTreeMap<String, u64> {
    topics.iter().map(|topic| (topic.to_string(), 7)).collect()
}

/// Each topic that is renewed, with what is said about it.
fn said(image: &Image, held: &[&str], groups: &[GroupWithOffsets]) -> Vec<(String, String)> {
    let renewals = renewals(&plan(BODY, "p~2"), image, &records(held), groups);
    let concerns = |one: &Renewal| {
        let concerns: Vec<String> = one.concerns.iter().map(Concern::to_string).collect();
        (one.topic.clone(), concerns.join("; "))
    };
    renewals.iter().map(concerns).collect()
}

#[test]
fn what_the_pipeline_writes_is_renewed_and_its_inputs_are_not() {
    let topics = [
        ("a", OURS),
        ("b", OURS),
        ("fed", OURS),
        ("p.one.dead", OURS),
        ("other", OURS),
    ];
    let image = image(&topics, &[]);
    let all = ["a", "b", "fed", "p.one.dead", "other"];
    let quiet = |names: &[&str]| -> Vec<(String, String)> {
        names
            .iter()
            .map(|name| (name.to_string(), String::new()))
            .collect()
    };
    for (held, expected) in [
        (&all[..], &["a", "b", "p.one.dead"][..]),
        // What holds nothing need not be made anew.
        (&["b"], &["b"]),
        (&["fed", "other"], &[]),
        (&[], &[]),
    ] {
        assert_eq!(said(&image, held, &[]), quiet(expected), "{held:?}");
    }
}

/// The creator of a topic, tasks, groups, and what is said about it.
type Case<'c> = (
    Option<&'c str>,
    &'c [Task<'c>],
    Vec<GroupWithOffsets>,
    &'c str,
);

#[test]
fn whoever_has_a_part_in_a_topic_is_named() {
    let none: &[Task<'_>] = &[];
    let dashboard = group("dashboard", &["a", "fed"]);
    let cases: [Case<'_>; 11] = [
        (OURS, none, vec![], ""),
        (None, none, vec![], "this pipeline did not create it"),
        (Some("q"), none, vec![], "pipeline q created it"),
        // A pipeline with a similar name is another one.
        (Some("p2"), none, vec![], "pipeline p2 created it"),
        (
            OURS,
            &[("q~3", "s", &["a"], &[])],
            vec![group("millstream.q~3.s", &["a"])],
            "pipeline q~3 works on it (stage s)",
        ),
        (
            OURS,
            &[("q", "source.x", &[], &["a"])],
            vec![],
            "pipeline q works on it (stage source.x)",
        ),
        (OURS, &[("q", "s", &["b"], &["fed"])], vec![], ""),
        // Forerunners, and what they have left.
        (
            OURS,
            &[("p", "one", &["a"], &["b"]), ("p~4", "old", &["a"], &[])],
            vec![
                group("millstream.p.one", &["a"]),
                group("millstream.p~9.gone", &["a"]),
            ],
            "",
        ),
        (
            OURS,
            none,
            vec![dashboard.clone()],
            "group dashboard has offsets in it",
        ),
        // The tasks of a pipeline that an older version ran have no topics, its group has offsets.
        (
            OURS,
            &[("q", "s", &[], &[])],
            vec![group("millstream.q.s", &["a"])],
            "group millstream.q.s has offsets in it",
        ),
        (
            None,
            &[("q", "s", &["a"], &["a"])],
            vec![dashboard, group("e", &["a"])],
            "this pipeline did not create it; pipeline q works on it (stage s); \
             groups dashboard, e have offsets in it",
        ),
    ];
    for (creator, tasks, groups, expected) in cases {
        let image = image(&[("a", creator)], tasks);
        let expected = [("a".to_owned(), expected.to_owned())];
        assert_eq!(said(&image, &["a"], &groups), expected);
    }
}

#[test]
fn many_groups_are_counted() {
    let groups: Vec<String> = (0..7).map(|number| format!("g{number}")).collect();
    assert_eq!(
        Concern::Groups(groups).to_string(),
        "groups g0, g1, g2, g3 and 3 more have offsets in it"
    );
}

#[test]
fn the_owner_is_asked_when_one_topic_is_shared_and_told_when_none_is() {
    let decide = |creator| {
        let image = image(&[("a", creator), ("b", OURS)], &[]);
        let renewals = renewals(&plan(BODY, "p~2"), &image, &records(&["a", "b"]), &[]);
        (question(&renewals), notice(&renewals))
    };
    let (asked, told) = decide(OURS);
    assert_eq!(asked, None);
    assert_eq!(
        told.as_deref(),
        Some("removed with all their records and made anew: a, b")
    );
    let (asked, told) = decide(None);
    assert_eq!(told, None);
    let consequences = asked.unwrap().consequences;
    let lines: Vec<&str> = consequences.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "  a (up to 7 records): this pipeline did not create it",
            "and beside them its own: b"
        ]
    );
    assert_eq!((question(&[]), notice(&[])), (None, None));
}
