//! The walk over the tables of settings: each one is set, seen in DescribeConfigs and observed, without a restart
//! where it may change at run time. A setting that nobody observes fails the walk.

mod background;
mod cleaner;
mod groups;
mod node;
mod scene;
mod topics;
mod transactions;

use millstream_broker::{ConfigSource, NodeSetting, UpdateMode, node_settings};
use millstream_cluster::configs::{Rule, TOPIC_SETTINGS, TopicSetting, Unit};
use millstream_wire::ErrorCode;

use scene::{NODE, Row, Scene, TOPIC};

/// The node's id in these tests.
const SELF: (i8, &str) = (NODE, "1");
const ALL_NODES: (i8, &str) = (NODE, "");

fn node_rows() -> Vec<Row> {
    let mut rows = node::rows();
    rows.extend(background::rows());
    rows.extend(cleaner::node_rows());
    rows.extend(groups::rows());
    rows.extend(transactions::rows());
    rows
}

/// The row of each setting, in order of the table, and none besides.
fn matched<S>(settings: &[S], name: fn(&S) -> &'static str, rows: Vec<Row>) -> Vec<(&S, Row)> {
    let mut left = rows;
    let pairs = settings.iter().map(|setting| {
        let name = name(setting);
        let found = left.iter().position(|row| row.setting == name);
        let found = found.unwrap_or_else(|| panic!("nobody observes {name}"));
        (setting, left.swap_remove(found))
    });
    let pairs = pairs.collect();
    assert!(
        left.is_empty(),
        "{} is observed and is no setting",
        left[0].setting
    );
    pairs
}

#[tokio::test]
async fn every_topic_setting_works_on_a_running_topic_and_as_the_nodes_default() {
    let mut rows = topics::rows();
    rows.extend(cleaner::topic_rows());
    for (setting, row) in matched(&TOPIC_SETTINGS, |setting| setting.name, rows) {
        if let Rule::OneOf([only]) = setting.rule {
            refuses_all_but(setting, only).await;
            continue;
        }
        on_a_running_topic(setting, &row).await;
        for name in setting.node_names {
            match name.unit {
                Unit::Same => as_the_clusters_default(setting, &row, name.name).await,
                Unit::Minutes => as_given_at_start(setting, &row, name.name, 60_000).await,
                Unit::Hours => as_given_at_start(setting, &row, name.name, 3_600_000).await,
            }
        }
        as_given_at_start(setting, &row, setting.node_name(), 1).await;
    }
}

/// A setting that exists to say what is not done: its only value is taken, others are not.
async fn refuses_all_but(setting: &TopicSetting, only: &str) {
    let mut scene = Scene::start(&[]).await;
    scene.topic().await;
    let name = setting.name;
    assert_eq!(
        scene.alter((TOPIC, "t"), name, Some(only)).await.0,
        ErrorCode::None
    );
    let other = if only == "false" { "true" } else { "false" };
    let refused = scene.alter((TOPIC, "t"), name, Some(other)).await;
    assert_eq!(refused.0, ErrorCode::InvalidConfig);
    let refused = scene.alter(SELF, setting.node_name(), Some(other)).await;
    assert_eq!(refused.0, ErrorCode::InvalidRequest);
}

async fn on_a_running_topic(setting: &TopicSetting, row: &Row) {
    let mut scene = Scene::start(row.with).await;
    scene.topic().await;
    assert_eq!(
        (row.observe)(&mut scene).await,
        row.before,
        "{} by default",
        row.setting
    );
    let (code, message) = scene
        .alter((TOPIC, "t"), setting.name, Some(row.value))
        .await;
    assert_eq!(code, ErrorCode::None, "{message}");
    let topic = (TOPIC, "t");
    scene
        .assert_described(topic, setting.name, row.value, ConfigSource::Topic)
        .await;
    assert_eq!(
        (row.observe)(&mut scene).await,
        row.after,
        "{} on the topic",
        row.setting
    );
    assert_eq!(
        scene.alter(topic, setting.name, None).await.0,
        ErrorCode::None
    );
    scene
        .assert_described(topic, setting.name, setting.default, ConfigSource::Default)
        .await;
}

async fn as_the_clusters_default(setting: &TopicSetting, row: &Row, name: &str) {
    let mut scene = Scene::start(row.with).await;
    scene.topic().await;
    assert_eq!(
        (row.observe)(&mut scene).await,
        row.before,
        "{name} by default"
    );
    let (code, message) = scene.alter(ALL_NODES, name, Some(row.value)).await;
    assert_eq!(code, ErrorCode::None, "{message}");
    let source = ConfigSource::DefaultBroker;
    for resource in [SELF, ALL_NODES] {
        scene
            .assert_described(resource, name, row.value, source)
            .await;
    }
    scene
        .assert_described((TOPIC, "t"), setting.name, row.value, source)
        .await;
    let synonyms = scene.describe((TOPIC, "t"), setting.name).await.synonyms;
    assert_eq!(synonyms[0].name, name);
    assert_eq!(
        (row.observe)(&mut scene).await,
        row.after,
        "{name} on all nodes"
    );
}

/// `factor`: how many of the setting's own units the name's unit has.
async fn as_given_at_start(setting: &TopicSetting, row: &Row, name: &str, factor: i64) {
    let value = match factor {
        1 => row.value.to_owned(),
        factor => {
            let number: i64 = row.value.parse().unwrap();
            assert_eq!(
                number % factor,
                0,
                "choose another value for {}",
                row.setting
            );
            (number / factor).to_string()
        }
    };
    let mut settings = row.with.to_vec();
    settings.push((name, &value));
    let mut scene = Scene::start(&settings).await;
    scene.topic().await;
    scene
        .assert_described(SELF, name, &value, ConfigSource::Static)
        .await;
    let topic = (TOPIC, "t");
    scene
        .assert_described(topic, setting.name, row.value, ConfigSource::Static)
        .await;
    assert_eq!(
        (row.observe)(&mut scene).await,
        row.after,
        "{name} from the start"
    );
}

#[tokio::test]
async fn every_setting_of_the_node_works_from_the_start_or_at_run_time() {
    let own: Vec<&NodeSetting> = node_settings()
        .iter()
        .filter(|setting| setting.topic.is_none())
        .collect();
    for (setting, row) in matched(&own, |setting| setting.name(), node_rows()) {
        match setting.mode {
            UpdateMode::ReadOnly => only_from_the_start(setting, &row).await,
            UpdateMode::PerBroker => at_run_time(setting, &row, &[SELF]).await,
            UpdateMode::ClusterWide => at_run_time(setting, &row, &[SELF, ALL_NODES]).await,
        }
        for name in &setting.names[1..] {
            let mut settings = row.with.to_vec();
            settings.push((name.name, row.value));
            let mut scene = Scene::start(&settings).await;
            let source = ConfigSource::Static;
            for shown in [setting.name(), name.name] {
                scene.assert_described(SELF, shown, row.value, source).await;
            }
            assert_eq!((row.observe)(&mut scene).await, row.after, "{}", name.name);
        }
    }
}

async fn only_from_the_start(setting: &NodeSetting, row: &Row) {
    let mut scene = Scene::start(row.with).await;
    let name = setting.name();
    for resource in [SELF, ALL_NODES] {
        let (code, message) = scene.alter(resource, name, Some(row.value)).await;
        assert_eq!(code, ErrorCode::InvalidRequest);
        assert_eq!(
            message,
            format!("Cannot update these configs dynamically: Set({name})")
        );
    }
    assert_eq!(
        (row.observe)(&mut scene).await,
        row.before,
        "{name} by default"
    );
    let mut settings = row.with.to_vec();
    settings.push((name, row.value));
    let mut scene = Scene::start(&settings).await;
    scene
        .assert_described(SELF, name, row.value, ConfigSource::Static)
        .await;
    assert!(scene.describe(SELF, name).await.read_only);
    assert_eq!(
        (row.observe)(&mut scene).await,
        row.after,
        "{name} from the start"
    );
}

async fn at_run_time(setting: &NodeSetting, row: &Row, resources: &[(i8, &str)]) {
    let name = setting.name();
    for resource in resources {
        let mut scene = Scene::start(row.with).await;
        assert_eq!(
            (row.observe)(&mut scene).await,
            row.before,
            "{name} by default"
        );
        let (code, message) = scene.alter(*resource, name, Some(row.value)).await;
        assert_eq!(code, ErrorCode::None, "{message}");
        let source = match resource.1 {
            "" => ConfigSource::DefaultBroker,
            _ => ConfigSource::Broker,
        };
        scene.assert_described(SELF, name, row.value, source).await;
        assert!(!scene.describe(SELF, name).await.read_only);
        assert_eq!(
            (row.observe)(&mut scene).await,
            row.after,
            "{name} at run time"
        );
        assert_eq!(scene.alter(*resource, name, None).await.0, ErrorCode::None);
        scene
            .assert_described(SELF, name, &setting.default, ConfigSource::Default)
            .await;
    }
    if resources.len() == 1 {
        let mut scene = Scene::start(row.with).await;
        let (code, _) = scene.alter(ALL_NODES, name, Some(row.value)).await;
        assert_eq!(code, ErrorCode::InvalidRequest);
    }
}
