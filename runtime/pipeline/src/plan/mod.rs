//! The plan: what a manifest means, given its plugins and the topics that exist. Pure: facts in,
//! a plan or all mistakes out.

mod compaction;
mod event_time;
mod order;
mod settings;
mod topics;
mod usage;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_plugin_host::Descriptor;
use serde_json::Value;
use toml::Spanned;

use crate::manifest::{
    Endpoint, IfNoOffset, LimitsSection, Manifest, Problem, RejectPolicy, Report, SourceSection,
    StageSection, nearest, one_of,
};
use crate::ports::{GroupClaim, TaskId, TopicInfo, TopicSpec};

pub use settings::TopicSettings;

use event_time::EventTime;

/// What the manifest is checked against of a plugin: its descriptor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PluginFacts {
    pub name: String,
    pub version: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// JSON Schema of the config; `None`: the plugin takes none.
    pub config_schema: Option<Value>,
}

impl From<&Descriptor> for PluginFacts {
    fn from(descriptor: &Descriptor) -> Self {
        PluginFacts {
            name: descriptor.name.clone(),
            version: descriptor.version.clone(),
            inputs: descriptor.inputs.clone(),
            outputs: descriptor.outputs.clone(),
            config_schema: descriptor.config_schema.clone(),
        }
    }
}

/// The topics of the node.
#[derive(Debug, Clone)]
pub struct TopicFacts {
    pub existing: BTreeMap<String, TopicInfo>,
    /// Partitions of a topic that is created without a count.
    pub default_partitions: i32,
    /// The settings of a topic that has none of its own.
    pub defaults: BTreeMap<String, String>,
}

/// What to create and what to run. Stages stand in the order in which records flow.
#[derive(Debug, Clone)]
pub struct Plan {
    pub pipeline: String,
    /// The pipeline's name, or a later incarnation of it (`run --fresh`); what offsets, progress
    /// and transactions are kept under.
    pub pipeline_id: String,
    pub commit_interval_max: Duration,
    /// The topics that do not exist yet, with their partition counts.
    pub topics_to_create: Vec<TopicSpec>,
    pub sources: Vec<SourcePlan>,
    pub stages: Vec<StagePlan>,
    /// What the owner should know, though it is no mistake.
    pub notices: Vec<String>,
    /// What may not do what the owner means, with its places.
    pub warnings: Vec<Problem>,
}

/// A source and the topic that it feeds.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    pub section: SourceSection,
    pub name: String,
    pub topic: String,
    /// The topic of rows that cannot be used, with [`RejectPolicy::DeadLetter`] only.
    pub dead_letters: Option<String>,
    pub task: TaskId,
}

/// A stage, ready to be run as one task per partition.
#[derive(Debug, Clone)]
pub struct StagePlan {
    pub name: String,
    /// `millstream.<pipeline id>.<stage>`
    pub group: String,
    pub plugin: PluginFacts,
    /// In the order of the plugin's inputs.
    pub inputs: Vec<StageInput>,
    /// In the order of the plugin's outputs.
    pub outputs: Vec<StageOutput>,
    /// Partitions of each input: the number of tasks.
    pub partitions: i32,
    pub on_reject: RejectPolicy,
    /// The topic of refused records, with [`RejectPolicy::DeadLetter`] only.
    pub dead_letters: Option<String>,
    pub if_no_offset: IfNoOffset,
    pub limits: LimitsSection,
    pub config: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInput {
    pub name: String,
    pub topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageOutput {
    pub name: String,
    pub topic: String,
}

impl SourcePlan {
    /// Does the source write this topic, be it with dead letters?
    pub fn writes(&self, topic: &str) -> bool {
        self.topic == topic || self.dead_letters.as_deref() == Some(topic)
    }
}

impl StagePlan {
    pub fn task(&self, pipeline_id: &str, partition: i32) -> TaskId {
        TaskId {
            pipeline_id: pipeline_id.to_owned(),
            stage: self.name.clone(),
            partition,
        }
    }

    /// The topics that the stage writes, dead letters last; one may come twice.
    pub fn written(&self) -> impl Iterator<Item = &str> {
        let outputs = self.outputs.iter().map(|output| output.topic.as_str());
        outputs.chain(self.dead_letters.as_deref())
    }

    /// Does the stage write this topic, be it with dead letters?
    pub fn writes(&self, topic: &str) -> bool {
        self.written().any(|written| written == topic)
    }

    pub fn claim(&self, partition: i32) -> GroupClaim {
        let topics = self.inputs.iter().map(|input| input.topic.clone());
        GroupClaim {
            group: self.group.clone(),
            partitions: topics.map(|topic| (topic, partition)).collect(),
        }
    }
}

/// The topics of each stage's inputs and outputs: (the plugin's name, topic), in the plugin's order.
type Bound<'m> = BTreeMap<&'m str, (Vec<(String, String)>, Vec<(String, String)>)>;

/// Tells the mistakes that show before a node is asked for its topics. What is no mistake here may
/// still be one over the topics that exist; [`Plan::new`] finds it. `plugins` as there.
pub fn check(
    manifest: &Manifest,
    plugins: &BTreeMap<String, PluginFacts>,
    known: &dyn TopicSettings,
) -> Vec<Problem> {
    let mut problems = settings::check(manifest, known);
    problems.extend(usage::mistakes(manifest));
    bind_all(manifest, plugins, &mut problems);
    let order = order::upstream_first(manifest, &mut problems);
    topics::resolve(manifest, &order, None, &mut problems);
    problems
}

/// What may not do what the owner means, before a node was asked for its topics.
pub fn warnings(manifest: &Manifest) -> Vec<Problem> {
    usage::warnings(manifest, None)
}

/// What the owner of a sound manifest should know before a node was asked for its topics.
pub fn notices(manifest: &Manifest) -> Vec<String> {
    let settings = settings::by_topic(manifest, &mut Vec::new());
    let event_time = EventTime::of(manifest);
    let topics = event_time.without_limit(&settings);
    event_time.notice(topics).into_iter().collect()
}

/// Compares every stage with its plugin: config, inputs, outputs.
fn bind_all<'m>(
    manifest: &'m Manifest,
    plugins: &BTreeMap<String, PluginFacts>,
    problems: &mut Vec<Problem>,
) -> Bound<'m> {
    let mut bound = BTreeMap::new();
    for stage in &manifest.stages {
        let Some(plugin) = plugins.get(stage.name.get_ref()) else {
            continue;
        };
        let schema = plugin.config_schema.as_ref();
        problems.extend(stage.config.check(&plugin.name, schema));
        let mut bind_to =
            |kind, endpoints, names| bind(stage, kind, endpoints, plugin, names, problems);
        let inputs = bind_to("input", &stage.inputs, &plugin.inputs);
        let outputs = bind_to("output", &stage.outputs, &plugin.outputs);
        bound.insert(stage.name.get_ref().as_str(), (inputs, outputs));
    }
    bound
}

impl Plan {
    /// Plans a manifest. `plugins` has the facts of each stage's plugin by stage; a stage that has
    /// none (its plugin could not be loaded, which the caller reports) makes the plan fail, after
    /// everything else was checked.
    pub fn new(
        manifest: &Manifest,
        plugins: &BTreeMap<String, PluginFacts>,
        facts: &TopicFacts,
        pipeline_id: &str,
    ) -> Result<Plan, Report> {
        let mut problems = Vec::new();
        let bound = bind_all(manifest, plugins, &mut problems);
        let order = order::upstream_first(manifest, &mut problems);
        let topics = topics::resolve(manifest, &order, Some(facts), &mut problems);
        let complete = bound.len() == manifest.stages.len();
        let warnings = usage::warnings(manifest, Some(facts));
        if !problems.is_empty() || !complete {
            return Err(manifest.report(problems).with(warnings));
        }
        let stages = order
            .iter()
            .map(|&index| {
                let stage = &manifest.stages[index];
                let name = stage.name.get_ref();
                let (inputs, outputs) = &bound[name.as_str()];
                StagePlan {
                    name: name.clone(),
                    group: format!("millstream.{pipeline_id}.{name}"),
                    plugin: plugins[name].clone(),
                    inputs: pairs(inputs, |name, topic| StageInput { name, topic }),
                    outputs: pairs(outputs, |name, topic| StageOutput { name, topic }),
                    partitions: topics.tasks_of(stage),
                    on_reject: stage.on_reject,
                    dead_letters: dead_letters(stage).map(|topic| topic.get_ref().clone()),
                    if_no_offset: stage.if_no_offset.get_ref().clone(),
                    limits: stage.limits,
                    config: stage.config.json.clone(),
                }
            })
            .collect();
        let sources = manifest
            .sources
            .iter()
            .map(|section| source_plan(section, pipeline_id))
            .collect();
        Ok(Plan {
            pipeline: manifest.pipeline.get_ref().clone(),
            pipeline_id: pipeline_id.to_owned(),
            commit_interval_max: manifest.commit_interval_max,
            topics_to_create: topics.to_create,
            sources,
            stages,
            notices: topics.notices,
            warnings,
        })
    }

    /// The topics that the stages and sources touch, each once, in the order of their flow.
    pub fn topics(&self) -> Vec<&str> {
        let mut out: Vec<&str> = Vec::new();
        let sources = self.sources.iter().flat_map(|source| {
            [source.topic.as_str()]
                .into_iter()
                .chain(source.dead_letters.as_deref())
        });
        let stages = self.stages.iter().flat_map(|stage| {
            let inputs = stage.inputs.iter().map(|input| input.topic.as_str());
            let outputs = stage.outputs.iter().map(|output| output.topic.as_str());
            inputs.chain(outputs).chain(stage.dead_letters.as_deref())
        });
        for topic in sources.chain(stages) {
            if !out.contains(&topic) {
                out.push(topic);
            }
        }
        out
    }
}

/// The topics that a stage writes, dead letters included.
fn topics_written(stage: &StageSection) -> impl Iterator<Item = &Spanned<String>> {
    let outputs = stage.outputs.iter().map(|output| &output.topic);
    outputs.chain(dead_letters(stage))
}

/// The topics that a source writes, dead letters included.
fn topics_fed(source: &SourceSection) -> impl Iterator<Item = &Spanned<String>> {
    let dead = dead_letters_of(source.on_error, &source.dead_letters);
    [&source.topic].into_iter().chain(dead)
}

/// The dead-letter topic of a stage, if it has one.
fn dead_letters(stage: &StageSection) -> Option<&Spanned<String>> {
    dead_letters_of(stage.on_reject, &stage.dead_letters)
}

/// A dead-letter topic, where something is sent to it.
fn dead_letters_of(policy: RejectPolicy, topic: &Spanned<String>) -> Option<&Spanned<String>> {
    (policy == RejectPolicy::DeadLetter).then_some(topic)
}

fn source_plan(section: &SourceSection, pipeline_id: &str) -> SourcePlan {
    let name = section.name.get_ref().clone();
    SourcePlan {
        topic: section.topic.get_ref().clone(),
        dead_letters: dead_letters_of(section.on_error, &section.dead_letters)
            .map(|topic| topic.get_ref().clone()),
        task: TaskId {
            pipeline_id: pipeline_id.to_owned(),
            stage: format!("source.{name}"),
            partition: 0,
        },
        name,
        section: section.clone(),
    }
}

fn pairs<T>(bound: &[(String, String)], make: impl Fn(String, String) -> T) -> Vec<T> {
    bound
        .iter()
        .map(|(name, topic)| make(name.clone(), topic.clone()))
        .collect()
}

/// Gives every input (output) of a plugin its topic; (name, topic) in the plugin's order.
fn bind(
    stage: &StageSection,
    kind: &str,
    endpoints: &[Endpoint],
    plugin: &PluginFacts,
    names: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let plugin_name = &plugin.name;
    if let [
        Endpoint {
            name: None, topic, ..
        },
    ] = endpoints
    {
        if let [only] = names {
            return vec![(only.clone(), topic.get_ref().clone())];
        }
        let help = match names.first() {
            None => format!("leave `{kind}s` out"),
            Some(first) => format!("write {kind}s = {{ {first} = \"{}\", … }}", topic.get_ref()),
        };
        let known = match names.len() {
            0 => "none".to_owned(),
            _ => one_of(names).replace(" or ", " and "),
        };
        problems.push(
            Problem::new(format!(
                "the plugin {plugin_name} has {} {kind}s: {known}",
                names.len()
            ))
            .at(topic.span())
            .label(format!("for which {kind} is this?"))
            .help(help),
        );
        return Vec::new();
    }
    for name in endpoints
        .iter()
        .filter_map(|endpoint| endpoint.name.as_ref())
    {
        if names.contains(name.get_ref()) {
            continue;
        }
        let problem = Problem::new(format!(
            "the plugin {plugin_name} has no {kind} `{}`",
            name.get_ref()
        ))
        .at(name.span())
        .label(format!("no such {kind}"));
        let help = match nearest(name.get_ref(), names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("it has {}", one_of(names).replace(" or ", " and ")),
        };
        problems.push(problem.help(help));
    }
    let mut bound = Vec::with_capacity(names.len());
    for name in names {
        let endpoint = endpoints
            .iter()
            .find(|endpoint| endpoint.name.as_ref().is_some_and(|n| n.get_ref() == name));
        match endpoint {
            Some(endpoint) => bound.push((name.clone(), endpoint.topic.get_ref().clone())),
            None => problems.push(
                Problem::new(format!(
                    "the {kind} `{name}` of the plugin {plugin_name} has no topic"
                ))
                .at(stage.name.span())
                .label(format!("in this stage's `{kind}s`"))
                .help(format!("for example {kind}s = {{ {name} = \"TOPIC\" }}")),
            ),
        }
    }
    bound
}
