//! A plan as the scheduler sees it: numbers instead of names, so that a decision costs what changed.

use std::collections::{BTreeSet, HashMap};

use jm_plan::{OnFailure, Plan, PlannedStep};
use jm_step::{Effect, Repeat, StepId, TargetName};

/// A dependency of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The step that comes before.
    pub node: usize,
    /// Whether the step's own `if` asks for the status of the other: then its failure does not block.
    pub excused: bool,
}

/// A step.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub id: StepId,
    /// Whether it stands under `finally`.
    pub in_finally: bool,
    /// What comes before it. Empty for steps of `finally`.
    pub needs: Vec<Need>,
    /// What comes after it, among the main steps.
    pub dependents: Vec<usize>,
    /// What its failure means.
    pub on_failure: OnFailure,
    /// What it can do to the world.
    pub effect: Effect,
    /// Whether twice equals once.
    pub repeat: Repeat,
    /// The steps that it makes not-started again.
    pub undoes: Vec<usize>,
    /// The targets that it uses, as numbers of [`Graph::targets`].
    pub targets: Vec<usize>,
}

impl Node {
    /// A step of the main part that only has a name: what it needs and does is set by whoever builds the graph.
    pub fn new(id: StepId) -> Self {
        Self {
            id,
            in_finally: false,
            needs: Vec::new(),
            dependents: Vec::new(),
            on_failure: OnFailure::Fail,
            effect: Effect::Reversible,
            repeat: Repeat::Safe,
            undoes: Vec::new(),
            targets: Vec::new(),
        }
    }
}

/// All steps: the main ones in written order, then those of `finally`.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    index: HashMap<StepId, usize>,
    main: usize,
    targets: Vec<TargetName>,
}

impl Graph {
    /// Takes steps whose `needs` are set, main ones first, and fills in who depends on whom.
    pub fn new(mut nodes: Vec<Node>, targets: Vec<TargetName>) -> Self {
        let index = nodes.iter().enumerate().map(|(i, node)| (node.id.clone(), i)).collect();
        let main = nodes.iter().take_while(|node| !node.in_finally).count();
        for i in 0..main {
            for need in nodes[i].needs.clone() {
                nodes[need.node].dependents.push(i);
            }
        }
        let mut graph = Self {
            nodes,
            index,
            main,
            targets,
        };
        graph.await_what_is_undone();
        graph
    }

    /// What comes after a step that can be undone waits for it itself. What lies between keeps its results when the
    /// step is undone, and a resume must not go on behind it as if the step were still done: an application that was
    /// let run again is stopped again before the switch.
    fn await_what_is_undone(&mut self) {
        let undone: BTreeSet<usize> = self.nodes.iter().flat_map(|node| node.undoes.iter().copied()).collect();
        for step in undone.into_iter().filter(|step| *step < self.main) {
            let bound = self.bound_to(step);
            for later in self.after(step) {
                if self.nodes[later].needs.iter().all(|need| need.node != step) {
                    let excused = !bound.contains(&later);
                    self.nodes[later].needs.push(Need { node: step, excused });
                    self.nodes[step].dependents.push(later);
                }
            }
        }
    }

    /// The steps that cannot run where this one failed.
    fn bound_to(&self, step: usize) -> BTreeSet<usize> {
        let mut bound = BTreeSet::new();
        let mut open = vec![step];
        while let Some(at) = open.pop() {
            let needs_it = |later: &usize| {
                let mut needs = self.nodes[*later].needs.iter();
                needs.any(|need| need.node == at && !need.excused)
            };
            let later = self.nodes[at].dependents.iter().copied().filter(needs_it);
            open.extend(later.filter(|later| bound.insert(*later)));
        }
        bound
    }

    /// The steps of a plan.
    pub fn of(plan: &Plan) -> Self {
        let targets: Vec<TargetName> = plan.targets_used().into_iter().collect();
        let index: HashMap<&str, usize> = plan
            .all_steps()
            .enumerate()
            .map(|(i, step)| (step.id.as_str(), i))
            .collect();
        let nodes = plan
            .all_steps()
            .map(|step| node_of(plan, step, &index, &targets))
            .collect();
        Self::new(nodes, targets)
    }

    /// A step by its number.
    pub fn node(&self, i: usize) -> &Node {
        &self.nodes[i]
    }

    /// A step's number.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// All steps.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The numbers of the main steps.
    pub fn main(&self) -> std::ops::Range<usize> {
        0..self.main
    }

    /// The numbers of the steps of `finally`.
    pub fn finally(&self) -> std::ops::Range<usize> {
        self.main..self.nodes.len()
    }

    /// The targets that steps use.
    pub fn targets(&self) -> &[TargetName] {
        &self.targets
    }

    /// Every main step that comes after this one, directly or not, nearest first.
    pub fn after(&self, i: usize) -> Vec<usize> {
        self.reach(i, |node| Box::new(node.dependents.iter().copied()))
    }

    /// Every step that comes before this one, directly or not, nearest first.
    pub fn before(&self, i: usize) -> Vec<usize> {
        self.reach(i, |node| Box::new(node.needs.iter().map(|need| need.node)))
    }

    /// A step and all that comes after it: what a run does not come to that stops before the step.
    pub fn beyond(&self, i: usize) -> BTreeSet<usize> {
        self.after(i).into_iter().chain([i]).collect()
    }

    fn reach<'g>(&'g self, i: usize, next: impl Fn(&'g Node) -> Box<dyn Iterator<Item = usize> + 'g>) -> Vec<usize> {
        let mut seen = vec![false; self.nodes.len()];
        let mut found: Vec<usize> = next(&self.nodes[i]).collect();
        found.retain(|n| !std::mem::replace(&mut seen[*n], true));
        let mut at = 0;
        while let Some(n) = found.get(at).copied() {
            found.extend(next(&self.nodes[n]).filter(|m| !std::mem::replace(&mut seen[*m], true)));
            at += 1;
        }
        found
    }

    /// The main steps so that each comes after all that it needs. Written order decides among equals.
    pub fn topological(&self) -> Vec<usize> {
        let mut open: Vec<usize> = self.main().map(|i| self.nodes[i].needs.len()).collect();
        let mut ready: BTreeSet<usize> = self.main().filter(|i| open[*i] == 0).collect();
        let mut order = Vec::with_capacity(self.main);
        while let Some(i) = ready.pop_first() {
            order.push(i);
            for dependent in &self.nodes[i].dependents {
                open[*dependent] -= 1;
                if open[*dependent] == 0 {
                    ready.insert(*dependent);
                }
            }
        }
        order
    }
}

fn node_of(plan: &Plan, step: &PlannedStep, index: &HashMap<&str, usize>, targets: &[TargetName]) -> Node {
    let number = |id: &StepId| index.get(id.as_str()).copied();
    let needs = plan.dependencies(step.id.as_str()).iter().filter(|_| !step.in_finally);
    Node {
        in_finally: step.in_finally,
        needs: needs
            .filter_map(|need| {
                Some(Need {
                    node: number(&need.step)?,
                    excused: need.decided_by_if,
                })
            })
            .collect(),
        on_failure: step.on_failure,
        effect: step.effect,
        repeat: step.repeat,
        undoes: step.undoes.iter().filter_map(number).collect(),
        targets: step
            .bindings
            .values()
            .filter_map(|name| targets.binary_search(name).ok())
            .collect(),
        ..Node::new(step.id.clone())
    }
}
