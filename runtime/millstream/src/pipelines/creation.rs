//! Whether a plan's missing topics can be created, asked before the first of them is.

use std::ops::Range;

use millstream_broker::Broker;
use millstream_cluster::{Image, TopicSpec, create_topic};
use millstream_pipeline::manifest::{Manifest, Problem};
use millstream_pipeline::plan::Plan;
use millstream_pipeline::ports;
use uuid::Uuid;

/// Decides on every topic as the node will, without making one; what it would refuse is a mistake of the manifest.
/// Each topic is decided on as if those before it were there.
pub fn check(manifest: &Manifest, plan: &Plan, broker: &Broker) -> Vec<Problem> {
    let defaults = broker.config().topic_creation_defaults();
    let mut image = Image::clone(&broker.cluster().image());
    let mut problems = Vec::new();
    for topic in &plan.topics_to_create {
        let decided = create_topic(&image, &spec(topic), defaults, Uuid::new_v4());
        let offset = image.offset().unwrap_or(0);
        let applied = decided.and_then(|records| Ok(image.advance(&records, offset)?));
        if let Err(error) = applied {
            let mut problem = Problem::new(format!("a topic cannot be created: {error}"));
            if let Some(span) = place(manifest, &topic.name) {
                problem = problem.at(span).label("this topic");
            }
            problems.push(problem);
        }
    }
    problems
}

/// A topic of the plan as the node takes it.
pub fn spec(topic: &ports::TopicSpec) -> TopicSpec {
    let configs = topic.config.iter().cloned();
    TopicSpec {
        partitions: topic.partitions.unwrap_or(-1),
        configs: configs.map(|(name, value)| (name, Some(value))).collect(),
        ..TopicSpec::named(&topic.name)
    }
}

/// Where the manifest names a topic: where it declares it, else where it is fed, written or read first.
fn place(manifest: &Manifest, topic: &str) -> Option<Range<usize>> {
    let declared = manifest.topics.iter().map(|topic| &topic.name);
    let fed = manifest.sources.iter().map(|source| &source.topic);
    let of_stages = manifest.stages.iter().flat_map(|stage| {
        let ends = stage.outputs.iter().chain(&stage.inputs);
        ends.map(|end| &end.topic).chain([&stage.dead_letters])
    });
    let mut named = declared.chain(fed).chain(of_stages);
    named
        .find(|name| name.get_ref() == topic)
        .map(|name| name.span())
}
