//! Plans and images for tables of tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use millstream_broker::GroupWithOffsets;
use millstream_cluster::{Image, MetadataRecord, TaskKey, TaskTopics};
use millstream_pipeline::manifest::Manifest;
use millstream_pipeline::plan::{Plan, PluginFacts, TopicFacts};
use uuid::Uuid;

/// The plan of pipeline `p` under an id, over a node without topics. Every plugin has one input and one output.
pub fn plan(body: &str, pipeline_id: &str) -> Plan {
    let text = format!("manifest = 1\npipeline = \"p\"\n{body}");
    let (manifest, report) = Manifest::read_text(Path::new("p.toml"), text);
    assert!(report.is_empty(), "{report}");
    let manifest = manifest.unwrap();
    let facts = |name: &String| PluginFacts {
        name: name.clone(),
        version: "0.1.0".to_owned(),
        inputs: vec!["in".to_owned()],
        outputs: vec!["out".to_owned()],
        config_schema: None,
    };
    let stages = manifest.stages.iter().map(|stage| stage.name.get_ref());
    let plugins: BTreeMap<String, PluginFacts> =
        stages.map(|name| (name.clone(), facts(name))).collect();
    let topics = TopicFacts {
        existing: BTreeMap::new(),
        default_partitions: 2,
        defaults: BTreeMap::new(),
    };
    let plan = Plan::new(&manifest, &plugins, &topics, pipeline_id);
    plan.unwrap_or_else(|report| panic!("{report}"))
}

/// A task: pipeline id, stage, topics read, topics written.
pub type Task<'t> = (&'t str, &'t str, &'t [&'t str], &'t [&'t str]);

/// Topics with their creators, numbered from 1, and tasks.
pub fn image(topics: &[(&str, Option<&str>)], tasks: &[Task<'_>]) -> Image {
    let mut records = Vec::new();
    for ((name, created_by), id) in topics.iter().zip(1..) {
        records.push(MetadataRecord::Topic {
            name: (*name).to_owned(),
            id: Uuid::from_u128(id),
            created_by: created_by.map(str::to_owned),
        });
    }
    for (pipeline, stage, reads, writes) in tasks {
        records.push(MetadataRecord::Task {
            key: TaskKey {
                pipeline: (*pipeline).to_owned(),
                stage: (*stage).to_owned(),
                partition: 0,
            },
            node_id: 1,
            epoch: 0,
            topics: self::topics(reads, writes),
        });
    }
    Image::default().with(&records, 0).unwrap()
}

pub fn topics(reads: &[&str], writes: &[&str]) -> TaskTopics {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    TaskTopics {
        reads: owned(reads),
        writes: owned(writes),
    }
}

pub fn group(group: &str, topics: &[&str]) -> GroupWithOffsets {
    GroupWithOffsets {
        group: group.to_owned(),
        topics: names(topics),
    }
}

pub fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}
