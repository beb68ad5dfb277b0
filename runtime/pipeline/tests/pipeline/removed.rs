//! A stage that begins behind records that were removed.

use millstream_pipeline::testing::MemoryEngine;

use crate::rig::*;

#[tokio::test]
async fn a_stage_that_begins_at_the_earliest_record_tells_how_many_are_gone_before_it() {
    for (start, gone, seen) in [
        ("\"earliest\"", 5, 5),
        ("{ offsets = { \"1\" = 2 } }", 3, 5),
        ("\"latest\"", 0, 0),
    ] {
        let engine = MemoryEngine::new();
        engine.create_topic("in", 2);
        for partition in [0, 1] {
            for _ in 0..5 {
                engine
                    .produce("in", partition, &[(None, Some(b"x"))])
                    .unwrap();
            }
        }
        engine.delete_records("in", 0, 3).unwrap();
        engine.delete_records("in", 1, 2).unwrap();
        let plugins = Plugins::one("s", &["out"], capitals());
        let body = format!(
            "[stage.s]\nplugin = \"s\"\ninputs = \"in\"\noutputs = \"out\"\nstart = {{ if_no_offset = {start} }}\n"
        );
        let plan = plan(&body, &engine, &plugins).await;
        let summary = run_once(&plan, &engine, &plugins).await;
        assert_eq!(summary.stages[0].gone, gone, "{start}");
        assert_eq!(summary.records_in, seen, "{start}");
        // From then on the committed offset counts, and nothing is in front of it.
        let summary = run_once(&plan, &engine, &plugins).await;
        assert_eq!(summary.stages[0].gone, 0, "{start}");
    }
}
