//! How to look at what a run has left: the commands, as they can be typed.

use std::net::SocketAddr;
use std::path::Path;

use millstream_pipeline::run::Summary;

use crate::settings::{Flush, NodeSettings};

/// Records that the example command shows.
const RECORDS_SHOWN: u32 = 3;

/// The commands that start a node over the data and show what is there. `program` is what this program was called.
pub fn commands(program: &str, settings: &NodeSettings, summary: &Summary) -> Vec<String> {
    let program = quoted(program);
    let at_node = match reachable(settings.kafka_addr) {
        Some(address) => format!(" --node {address}"),
        None => String::new(),
    };
    let mut commands = vec![serve(&program, settings)];
    if let Some(topic) = example_topic(summary) {
        commands.push(format!(
            "{program} consume {topic} --max-records {RECORDS_SHOWN}{at_node}"
        ));
    }
    commands.push(format!("{program} topic list{at_node}"));
    commands.extend(summary.stages.first().map(|stage| {
        let (pipeline, stage) = (&summary.pipeline_id, &stage.name);
        format!("{program} group describe millstream.{pipeline}.{stage}{at_node}")
    }));
    commands
}

/// A node with the settings of the run, as far as they are not those that it has by itself.
fn serve(program: &str, settings: &NodeSettings) -> String {
    let defaults = NodeSettings::default();
    let mut command = format!("{program} serve");
    if settings.data_dir != defaults.data_dir {
        command += &format!(" --data-dir {}", quoted_path(&settings.data_dir));
    }
    if let Some(address) = reachable(settings.kafka_addr) {
        command += &format!(" --kafka-addr {address}");
    }
    if settings.flush != defaults.flush {
        command += match settings.flush {
            Flush::Os => " --flush os",
            Flush::Journal => " --flush journal",
        };
    }
    if settings.node_id != defaults.node_id {
        command += &format!(" --node-id {}", settings.node_id);
    }
    command
}

/// An address that was chosen, and is not the one that commands try by themselves. Port 0 chooses none.
fn reachable(address: SocketAddr) -> Option<SocketAddr> {
    let is_chosen = address.port() != 0 && address != NodeSettings::default().kafka_addr;
    is_chosen.then_some(address)
}

/// A topic to show: where the last stage has sent something, else any that has records.
fn example_topic(summary: &Summary) -> Option<&str> {
    let topics = summary.inputs.iter().chain(&summary.topics);
    let topics: Vec<_> = topics.filter(|count| count.records > 0).collect();
    let mut from_the_end = topics.iter().rev();
    let result = from_the_end.find(|count| !count.dead_letters);
    result.or(topics.last()).map(|count| count.topic.as_str())
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./~+:,@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use millstream_pipeline::run::{StageSummary, TopicCount};

    use super::*;

    fn summary(inputs: &[(&str, u64)], topics: &[(&str, u64)], stages: &[&str]) -> Summary {
        let counts = |counts: &[(&str, u64)]| {
            let counts = counts.iter().map(|(topic, records)| TopicCount {
                topic: (*topic).to_owned(),
                records: *records,
                dead_letters: topic.ends_with(".dead"),
            });
            counts.collect()
        };
        let stage = |name: &&str| StageSummary {
            name: (*name).to_owned(),
            ..StageSummary::default()
        };
        Summary {
            pipeline_id: "p~2".to_owned(),
            inputs: counts(inputs),
            topics: counts(topics),
            stages: stages.iter().map(stage).collect(),
            ..Summary::default()
        }
    }

    #[test]
    fn by_default_the_commands_are_short() {
        let summary = summary(
            &[("flights", 9)],
            &[
                ("clean", 8),
                ("p.clean.dead", 1),
                ("late", 3),
                ("ontime", 5),
                ("p.route.dead", 0),
            ],
            &["clean", "route"],
        );
        assert_eq!(
            commands(
                "target/release/millstream",
                &NodeSettings::default(),
                &summary
            ),
            [
                "target/release/millstream serve",
                "target/release/millstream consume ontime --max-records 3",
                "target/release/millstream topic list",
                "target/release/millstream group describe millstream.p~2.clean",
            ]
        );
    }

    #[test]
    fn what_the_run_was_told_the_commands_are_told() {
        let settings = NodeSettings {
            data_dir: "/tmp/it's here".into(),
            kafka_addr: ([127, 0, 0, 1], 19092).into(),
            flush: Flush::Os,
            node_id: 7,
            ..NodeSettings::default()
        };
        assert_eq!(
            commands("millstream", &settings, &summary(&[("rows", 2)], &[], &[])),
            [
                r"millstream serve --data-dir '/tmp/it'\''s here' --kafka-addr 127.0.0.1:19092 --flush os --node-id 7",
                "millstream consume rows --max-records 3 --node 127.0.0.1:19092",
                "millstream topic list --node 127.0.0.1:19092",
            ]
        );
        // A port that was free then need not be free again.
        let settings = NodeSettings {
            kafka_addr: ([127, 0, 0, 1], 0).into(),
            ..NodeSettings::default()
        };
        assert_eq!(
            commands("millstream", &settings, &summary(&[("rows", 0)], &[], &[])),
            ["millstream serve", "millstream topic list"]
        );
    }
}
