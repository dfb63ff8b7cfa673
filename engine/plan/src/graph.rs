//! The graph of steps: circles, order, the longest way.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use jm_step::StepId;
use miette::SourceSpan;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::plan::{Because, CriticalPath, Dependency, Graph, Plan, PlannedStep};

/// One step waits for another. Steps are numbered as in the file, `finally` after the main ones.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    /// What comes before.
    pub(crate) before: usize,
    /// What waits.
    pub(crate) after: usize,
    pub(crate) because: Because,
    pub(crate) decided_by_if: bool,
    /// Where it is written.
    pub(crate) span: SourceSpan,
}

/// Steps and what they wait for, before it is known whether that makes sense.
pub(crate) struct Draft {
    graph: DiGraph<(), Edge>,
    /// How many of the steps are main ones.
    main: usize,
}

impl Draft {
    /// Takes the edges; of several between the same two steps one remains, and `needs` wins.
    pub(crate) fn new(main: usize, all: usize, edges: impl IntoIterator<Item = Edge>) -> Self {
        let mut graph = DiGraph::with_capacity(all, all);
        for _ in 0..all {
            graph.add_node(());
        }
        let mut seen: HashMap<(usize, usize), Edge> = HashMap::new();
        for edge in edges {
            let kept = seen.entry((edge.before, edge.after)).or_insert_with(|| edge.clone());
            kept.decided_by_if |= edge.decided_by_if;
            if edge.because == Because::Needs {
                kept.because = Because::Needs;
                kept.span = edge.span;
            }
        }
        let mut edges: Vec<Edge> = seen.into_values().collect();
        edges.sort_by_key(|edge| (edge.after, edge.before));
        for edge in edges {
            graph.add_edge(NodeIndex::new(edge.before), NodeIndex::new(edge.after), edge);
        }
        Self { graph, main }
    }

    /// What a step waits for, in the order of the file.
    pub(crate) fn before(&self, step: usize) -> Vec<&Edge> {
        let edges = self.graph.edges_directed(NodeIndex::new(step), petgraph::Incoming);
        let mut edges: Vec<&Edge> = edges.map(|edge| edge.weight()).collect();
        edges.sort_by_key(|edge| edge.before);
        edges
    }

    /// What waits for a step, in the order of the file.
    pub(crate) fn after(&self, step: usize) -> Vec<usize> {
        let edges = self.graph.edges(NodeIndex::new(step));
        let steps: BTreeSet<usize> = edges.map(|edge| edge.target().index()).collect();
        steps.into_iter().collect()
    }

    /// All that comes before a step, directly or not.
    pub(crate) fn ancestors(&self, step: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![step];
        while let Some(step) = open.pop() {
            for edge in self.graph.edges_directed(NodeIndex::new(step), petgraph::Incoming) {
                if found.insert(edge.source().index()) {
                    open.push(edge.source().index());
                }
            }
        }
        found
    }

    /// A shortest circle through each knot of steps that wait for each other: its edges, each one's `after` being the
    /// next one's `before`.
    pub(crate) fn cycles(&self) -> Vec<Vec<&Edge>> {
        let knots = tarjan_scc(&self.graph).into_iter().filter(|knot| knot.len() > 1);
        let mut cycles: Vec<Vec<&Edge>> = knots.filter_map(|knot| self.cycle(&knot)).collect();
        cycles.sort_by_key(|cycle| cycle.first().map(|edge| edge.before));
        cycles
    }

    fn cycle(&self, knot: &[NodeIndex]) -> Option<Vec<&Edge>> {
        let inside: HashSet<NodeIndex> = knot.iter().copied().collect();
        let start = *knot.iter().min()?;
        let mut reached: HashMap<NodeIndex, &Edge> = HashMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(at) = open.pop_front() {
            for edge in self.graph.edges(at).filter(|edge| inside.contains(&edge.target())) {
                if edge.target() == start {
                    return Some(way_back(start, edge.weight(), &reached));
                }
                if let Entry::Vacant(unseen) = reached.entry(edge.target()) {
                    unseen.insert(edge.weight());
                    open.push_back(edge.target());
                }
            }
        }
        None
    }

    /// The main steps, each after what it waits for, otherwise as written. Shorter than the plan where there is a circle.
    pub(crate) fn order(&self) -> Vec<usize> {
        let waits = |step: usize| {
            self.graph
                .edges_directed(NodeIndex::new(step), petgraph::Incoming)
                .count()
        };
        let mut waiting: Vec<usize> = (0..self.main).map(waits).collect();
        let mut ready: BTreeSet<usize> = (0..self.main).filter(|step| waiting[*step] == 0).collect();
        let mut order = Vec::with_capacity(self.main);
        while let Some(step) = ready.pop_first() {
            order.push(step);
            for edge in self.graph.edges(NodeIndex::new(step)) {
                let next = edge.target().index();
                if next < self.main {
                    waiting[next] -= 1;
                    if waiting[next] == 0 {
                        ready.insert(next);
                    }
                }
            }
        }
        order
    }

    /// The sealed form.
    pub(crate) fn seal(&self, ids: &[StepId]) -> Graph {
        let dependency = |edge: &Edge| Dependency {
            step: ids[edge.before].clone(),
            because: edge.because,
            decided_by_if: edge.decided_by_if,
        };
        let all = 0..ids.len();
        Graph {
            index: ids.iter().cloned().enumerate().map(|(index, id)| (id, index)).collect(),
            dependencies: all
                .clone()
                .map(|step| self.before(step).into_iter().map(dependency).collect())
                .collect(),
            dependents: all
                .map(|step| self.after(step).into_iter().map(|next| ids[next].clone()).collect())
                .collect(),
            order: self.order(),
        }
    }
}

fn way_back<'e>(start: NodeIndex, last: &'e Edge, reached: &HashMap<NodeIndex, &'e Edge>) -> Vec<&'e Edge> {
    let mut cycle = vec![last];
    let mut at = NodeIndex::new(last.before);
    while at != start {
        let Some(edge) = reached.get(&at) else { break };
        cycle.push(edge);
        at = NodeIndex::new(edge.before);
    }
    cycle.reverse();
    cycle
}

/// The longest way: costs along `order`, where `before` gives what each waits for.
pub(crate) fn longest(
    order: &[usize],
    before: impl Fn(usize) -> Vec<usize>,
    cost: impl Fn(usize) -> Duration,
) -> (Vec<usize>, Duration) {
    let mut best: HashMap<usize, (Duration, Option<usize>)> = HashMap::new();
    for step in order {
        let longest = before(*step)
            .into_iter()
            .filter_map(|dep| Some((best.get(&dep)?.0, dep)));
        // Of equal ways the one that is written first.
        let longest = longest.max_by_key(|(total, dep)| (*total, std::cmp::Reverse(*dep)));
        let total = longest
            .map_or(Duration::ZERO, |(total, _)| total)
            .saturating_add(cost(*step));
        best.insert(*step, (total, longest.map(|(_, dep)| dep)));
    }
    let end = order
        .iter()
        .copied()
        .max_by_key(|step| (best[step].0, std::cmp::Reverse(*step)));
    let mut steps: Vec<usize> = std::iter::successors(end, |step| best[step].1).collect();
    steps.reverse();
    (steps, end.map_or(Duration::ZERO, |end| best[&end].0))
}

pub(crate) fn critical_path(plan: &Plan, cost: impl Fn(&PlannedStep) -> Duration) -> CriticalPath {
    let steps = plan.steps();
    let index = |id: &StepId| plan.graph.index.get(id).copied();
    let before = |step: usize| {
        plan.graph.dependencies[step]
            .iter()
            .filter_map(|dep| index(&dep.step))
            .collect()
    };
    let (way, total) = longest(&plan.graph.order, before, |step| {
        steps.get(step).map_or(Duration::ZERO, &cost)
    });
    CriticalPath {
        steps: way
            .into_iter()
            .filter_map(|step| steps.get(step))
            .map(|step| step.id.clone())
            .collect(),
        total,
    }
}
