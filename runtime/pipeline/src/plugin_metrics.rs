//! The counters and gauges that plugins set, by pipeline, stage and partition, for whoever shows them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Most metrics that are kept for one task. One instance cannot name more, but a task may see several instances,
/// and each could name others.
const METRICS_OF_TASK_MAX: usize = 256;

/// Which task of which pipeline: name, stage, partition.
type TaskName = (String, String, i32);

/// All metrics of all plugins of a node.
#[derive(Debug, Default)]
pub struct PluginMetrics {
    tasks: Mutex<BTreeMap<TaskName, Arc<TaskMetrics>>>,
}

/// One metric at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginMetric {
    pub pipeline: String,
    pub stage: String,
    pub partition: i32,
    /// As the plugin calls it.
    pub name: String,
    pub value: MetricValue,
}

/// What kind of metric it is, and its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricValue {
    Counter(u64),
    Gauge(f64),
}

/// The metrics of one task; they outlive its instances.
#[derive(Debug, Default)]
pub(crate) struct TaskMetrics {
    values: Mutex<BTreeMap<String, MetricValue>>,
}

impl PluginMetrics {
    /// Every metric, in order.
    pub fn all(&self) -> Vec<PluginMetric> {
        let tasks = self.tasks.lock();
        let mut all = Vec::new();
        for ((pipeline, stage, partition), task) in tasks.iter() {
            for (name, value) in task.values.lock().iter() {
                all.push(PluginMetric {
                    pipeline: pipeline.clone(),
                    stage: stage.clone(),
                    partition: *partition,
                    name: name.clone(),
                    value: *value,
                });
            }
        }
        all
    }

    pub(crate) fn task(&self, pipeline: &str, stage: &str, partition: i32) -> Arc<TaskMetrics> {
        let name = (pipeline.to_owned(), stage.to_owned(), partition);
        Arc::clone(self.tasks.lock().entry(name).or_default())
    }
}

impl TaskMetrics {
    /// Adds to a counter. A metric stays what it was at first: a gauge of that name is left alone.
    pub(crate) fn count(&self, metric: &str, delta: u64) {
        self.change(metric, MetricValue::Counter(0), |value| {
            if let MetricValue::Counter(count) = value {
                *count = count.saturating_add(delta);
            }
        });
    }

    /// Sets a gauge, unless a counter has that name.
    pub(crate) fn gauge(&self, metric: &str, to: f64) {
        self.change(metric, MetricValue::Gauge(to), |value| {
            if let MetricValue::Gauge(gauge) = value {
                *gauge = to;
            }
        });
    }

    fn change(&self, metric: &str, new: MetricValue, change: impl FnOnce(&mut MetricValue)) {
        let mut values = self.values.lock();
        if let Some(value) = values.get_mut(metric) {
            return change(value);
        }
        if values.len() < METRICS_OF_TASK_MAX {
            change(values.entry(metric.to_owned()).or_insert(new));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_gauges_are_replaced_and_both_outlive_an_instance() {
        let metrics = PluginMetrics::default();
        for _instance in 0..2 {
            let task = metrics.task("p", "s", 3);
            task.count("late", 2);
            task.gauge("seats", 1.5);
            task.gauge("late", 9.0);
            task.count("seats", 9);
        }
        let found: Vec<_> = metrics
            .all()
            .into_iter()
            .map(|one| (one.name, one.value))
            .collect();
        let expected = [
            ("late".to_owned(), MetricValue::Counter(4)),
            ("seats".to_owned(), MetricValue::Gauge(1.5)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_plugin_that_names_ever_new_metrics_stays_bounded() {
        let metrics = PluginMetrics::default();
        let task = metrics.task("p", "s", 0);
        for number in 0..1_000 {
            task.count(&number.to_string(), 1);
        }
        task.count("0", 1);
        let all = metrics.all();
        assert_eq!(all.len(), METRICS_OF_TASK_MAX);
        assert_eq!(all[0].value, MetricValue::Counter(2));
    }
}
