//! The order of the stages: producers before those who read what they produce.

use super::topics_written;
use crate::manifest::{Manifest, Problem, StageSection};

/// Indexes of the stages, upstream first, otherwise as the manifest writes them. Stages in a cycle
/// are reported and left out.
pub fn upstream_first(manifest: &Manifest, problems: &mut Vec<Problem>) -> Vec<usize> {
    let stages = &manifest.stages;
    let mut order: Vec<usize> = Vec::with_capacity(stages.len());
    let mut waiting: Vec<usize> = (0..stages.len()).collect();
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|&index| {
            !waiting
                .iter()
                .any(|&other| feeds(&stages[other], &stages[index]))
        });
        match ready {
            Some(at) => order.push(waiting.remove(at)),
            None => break,
        }
    }
    if let Some(cycle) = find_cycle(stages, &waiting) {
        problems.push(describe(stages, &cycle));
    }
    order
}

/// Does `from` write a topic that `to` reads?
fn feeds(from: &StageSection, to: &StageSection) -> bool {
    to.inputs
        .iter()
        .any(|input| topics_written(from).any(|topic| topic.get_ref() == input.topic.get_ref()))
}

/// One cycle among stages that each wait for another one of them.
fn find_cycle(stages: &[StageSection], waiting: &[usize]) -> Option<Vec<usize>> {
    let mut path = vec![*waiting.first()?];
    loop {
        let here = *path.last()?;
        let upstream = *waiting
            .iter()
            .find(|&&other| feeds(&stages[other], &stages[here]))?;
        if let Some(start) = path.iter().position(|&seen| seen == upstream) {
            let mut cycle = path.split_off(start);
            cycle.reverse();
            let least = cycle.iter().enumerate().min_by_key(|(_, index)| **index)?.0;
            cycle.rotate_left(least);
            return Some(cycle);
        }
        path.push(upstream);
    }
}

fn describe(stages: &[StageSection], cycle: &[usize]) -> Problem {
    let mut names: Vec<&str> = cycle
        .iter()
        .map(|&index| stages[index].name.get_ref().as_str())
        .collect();
    names.push(names[0]);
    let last = &stages[cycle[cycle.len() - 1]];
    let first = &stages[cycle[0]];
    let closing = topics_written(last).find(|topic| {
        first
            .inputs
            .iter()
            .any(|input| input.topic.get_ref() == topic.get_ref())
    });
    let problem = Problem::new(format!("the stages form a cycle: {}", names.join(" -> ")))
        .help("a stage must not read, through others or itself, what it writes");
    match closing {
        Some(topic) => problem.at(topic.span()).label("this closes the cycle"),
        None => problem.at(last.name.span()),
    }
}
