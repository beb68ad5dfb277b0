use super::*;
use crate::pipelines::deployment::testing::{names, plan, topics};

const BODY: &str = "[source.rows]\nfile = \"Cargo.toml\"\nformat = \"lines\"\ntopic = \"a\"\n\
[stage.one]\nplugin = \"one\"\ninputs = \"a\"\noutputs = \"b\"\n";

/// The parts that are recorded; of them those that are gone, and those that have come.
type Case<'c> = (&'c [&'c str], Option<(&'c [&'c str], &'c [&'c str])>);

#[test]
fn parts_that_come_in_the_place_of_others_are_found() {
    let plan = plan(BODY, "p");
    let none = TaskTopics::default();
    let cases: [Case<'_>; 7] = [
        // A first run, and one more like it.
        (&[], None),
        (&["source.rows", "one"], None),
        // A stage has only come, one has only gone.
        (&["source.rows"], None),
        (&["source.rows", "one", "two"], None),
        (&["source.rows", "two"], Some((&["two"], &["one"]))),
        (
            &["source.old", "one"],
            Some((&["source.old"], &["source.rows"])),
        ),
        // Another pipeline under the same name.
        (&["x", "y"], Some((&["x", "y"], &["one", "source.rows"]))),
    ];
    for (recorded, expected) in cases {
        let recorded: BTreeMap<&str, &TaskTopics> =
            recorded.iter().map(|part| (*part, &none)).collect();
        let found = replaced(&plan, &recorded);
        let found = found.map(|found| {
            let gone: Vec<&str> = found.gone.into_keys().collect();
            (gone, found.come.into_iter().collect::<Vec<&str>>())
        });
        let expected = expected.map(|(gone, come)| (gone.to_vec(), come.to_vec()));
        assert_eq!(found, expected, "{recorded:?}");
    }
}

/// The lines of the question behind the first one.
fn said(body: &str, gone: &[(&str, TaskTopics)], facts: &PartFacts) -> Vec<String> {
    let plan = plan(body, "p");
    let recorded = gone.iter().map(|(part, topics)| (*part, topics)).collect();
    let replaced = replaced(&plan, &recorded).unwrap();
    let question = question(&plan, &replaced, facts);
    let lines = question.consequences.lines().skip(1);
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_stage_is_said_to_process_again_what_the_gone_one_has() {
    let begins = |ahead, committed| Beginning {
        topic: "a".to_owned(),
        ahead,
        committed,
    };
    let left = "stage two leaves behind its group millstream.p.two with the offsets in a, \
                as a group like any other, whose offsets expire";
    let cases = [
        (
            "",
            begins(9, 0),
            "stage one begins at the earliest record of a: up to 9 records, again after two, \
             with results in b, p.one.dead",
        ),
        (
            "start = { if_no_offset = \"latest\" }\n",
            begins(0, 0),
            "stage one begins at the end of a: no record is there yet",
        ),
        (
            "start = { if_no_offset = { offsets = { \"0\" = 4 } } }\n",
            begins(5, 1),
            "stage one begins in a where its `start` says: up to 5 records, again after two, \
             with results in b, p.one.dead",
        ),
        // It had this name before.
        (
            "",
            begins(3, 2),
            "stage one goes on in a at the offsets that its group has: up to 3 records, again after two, \
             with results in b, p.one.dead",
        ),
    ];
    for (start, beginning, expected) in cases {
        let mut facts = PartFacts::default();
        facts.left.insert("two".to_owned(), names(&["a"]));
        facts.begins.insert("one".to_owned(), vec![beginning]);
        let gone = [
            ("two", topics(&[], &[])),
            ("source.rows", topics(&[], &["a"])),
        ];
        let body = format!("{BODY}{start}");
        let lines = said(&body, &gone, &facts);
        assert_eq!(lines, [left, expected], "{start}");
    }
}

#[test]
fn a_source_is_said_to_read_its_file_again() {
    let mut facts = PartFacts::default();
    facts.records.insert("a".to_owned(), 4);
    let gone = [
        ("source.old", topics(&[], &["a"])),
        ("one", topics(&["a"], &["b"])),
    ];
    let left = "source old leaves behind the records that it has read, in a";
    let begins = "source rows reads its file from the beginning into a, which has up to 4 records";
    assert_eq!(said(BODY, &gone, &facts), [left, begins]);
    // It had this name before.
    facts.fed_before.insert("rows".to_owned(), 3);
    let goes_on =
        "source rows goes on in its file behind the 3 records that it has fed into a before";
    assert_eq!(said(BODY, &gone, &facts), [left, goes_on]);
}

#[test]
fn an_input_that_no_gone_stage_has_read_is_not_read_again() {
    let mut facts = PartFacts::default();
    let beginning = Beginning {
        topic: "a".to_owned(),
        ahead: 9,
        committed: 0,
    };
    facts.begins.insert("one".to_owned(), vec![beginning]);
    let gone = [
        ("two", topics(&["elsewhere"], &["c"])),
        ("source.rows", topics(&[], &["a"])),
    ];
    assert_eq!(
        said(BODY, &gone, &facts),
        [
            "stage two leaves behind its group millstream.p.two, without offsets",
            "stage one begins at the earliest record of a: up to 9 records, with results in b, p.one.dead",
        ]
    );
}
