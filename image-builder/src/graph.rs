//! The authority graph of a charter: tasks, endpoints, devices and regions, and who may use what.
//!
//! An arrow goes from who acts to what is acted on: from a client through an endpoint to its server, from a task to its
//! memory. Interrupts and signals, which only wake, are dashed, and so is what only stops or restarts. Log components are left out: they would hide the rest.

mod svg;

use std::fmt::Write;

use abi::package::{Command, Commands};
use serde::Serialize;

use crate::charter::values::{Access, Bytes};
use crate::charter::{Blocks, Charter, GrantKind, Limit};

/// A graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// What there is.
    pub nodes: Vec<Node>,
    /// Who may use what.
    pub edges: Vec<Edge>,
}

/// Something in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its name, unique among its kind.
    pub name: String,
    /// A line about it.
    pub about: String,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A task.
    Task,
    /// An endpoint.
    Endpoint,
    /// A device.
    Device,
    /// A DMA region.
    Region,
    /// What the machine tells of itself.
    Evidence,
    /// The serial console.
    Console,
    /// What the kernel tells, and the machine's power.
    Kernel,
}

impl NodeKind {
    fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Endpoint => "endpoint",
            Self::Device => "device",
            Self::Region => "region",
            Self::Evidence => "evidence",
            Self::Console => "console",
            Self::Kernel => "the",
        }
    }
}

/// An arrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// From which node, a place in [`Graph::nodes`].
    pub from: usize,
    /// To which.
    pub to: usize,
    /// What it allows.
    pub label: String,
    /// Whether it only wakes, stops or restarts.
    pub wakes: bool,
}

impl From<&Charter> for Graph {
    fn from(charter: &Charter) -> Self {
        let mut graph = Self::default();
        let mut tasks: Vec<_> = charter.tasks.iter().collect();
        // Calls go upwards in priority, so they all go one way in this order.
        tasks.sort_by_key(|task| task.priority.map(|priority| priority.value));
        for task in tasks {
            let about = task.priority.map_or_else(String::new, |priority| format!("priority {}", priority.get()));
            graph.node(NodeKind::Task, task.name.as_str(), about);
        }
        for (_, grant) in charter.grants() {
            if let GrantKind::Receive { endpoint } = &grant.kind {
                graph.node(NodeKind::Endpoint, endpoint.as_str(), String::new());
            }
        }
        for device in &charter.devices {
            graph.node(NodeKind::Device, device.name.as_str(), charter.lane(device));
        }
        for region in &charter.regions {
            let about = region.size.map_or_else(String::new, |size| Bytes(size.bytes()).to_string());
            graph.node(NodeKind::Region, region.name.as_str(), about);
        }
        if charter.grants().any(|(_, grant)| matches!(grant.kind, GrantKind::Evidence)) {
            graph.node(NodeKind::Evidence, "firmware", "read-only".into());
        }
        if charter.grants().any(|(_, grant)| matches!(grant.kind, GrantKind::Console)) {
            graph.node(NodeKind::Console, "serial", String::new());
        }
        let asks = |kind: &GrantKind| matches!(kind, GrantKind::Inspect { .. } | GrantKind::Power { .. });
        if charter.grants().any(|(_, grant)| asks(&grant.kind)) {
            graph.node(NodeKind::Kernel, "kernel", String::new());
        }
        for (task, grant) in charter.grants() {
            graph.grant(charter, task.name.as_str(), &grant.kind);
        }
        graph
    }
}

fn access(access: Access) -> &'static str {
    if access.is_writable() { "read-write" } else { "read-only" }
}

fn limit(limit: &Limit) -> String {
    let shown = blocks(&limit.blocks);
    match limit.opcodes {
        Commands::ALL => shown,
        some => format!("{shown}, {}", some.iter().map(Command::name).collect::<Vec<_>>().join(" ")),
    }
}

fn blocks(blocks: &Blocks) -> String {
    let range = match (blocks.first, blocks.count) {
        (0, None) => "all blocks".into(),
        (first, None) => format!("blocks from {first}"),
        (first, Some(count)) => format!("{count} blocks from {first}"),
    };
    format!("{range}, {}", access(blocks.access))
}

impl Graph {
    fn node(&mut self, kind: NodeKind, name: &str, about: String) {
        self.nodes.push(Node { kind, name: name.into(), about });
    }

    fn find(&self, kind: NodeKind, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.kind == kind && node.name == name)
    }

    /// An arrow between nodes that exist; labels of arrows with the same ends are joined.
    fn edge(&mut self, from: Option<usize>, to: Option<usize>, label: &str, wakes: bool) {
        let (Some(from), Some(to)) = (from, to) else { return };
        match self.edges.iter_mut().find(|edge| (edge.from, edge.to, edge.wakes) == (from, to, wakes)) {
            Some(edge) => {
                edge.label.push_str("; ");
                edge.label.push_str(label);
            }
            None => self.edges.push(Edge { from, to, label: label.into(), wakes }),
        }
    }

    fn grant(&mut self, charter: &Charter, task: &str, kind: &GrantKind) {
        let own = self.find(NodeKind::Task, task);
        match kind {
            GrantKind::Call { endpoint, disk, .. } => {
                let label = match disk {
                    None => "calls".into(),
                    Some(disk) => match &disk.partition {
                        None => format!("disk: namespace {}, {}", disk.namespace.get(), blocks(&disk.blocks)),
                        Some(partition) => {
                            let (namespace, access) = (disk.namespace.get(), access(disk.blocks.access));
                            format!("disk: namespace {namespace}, {}, {access}", partition.value)
                        }
                    },
                };
                self.edge(own, self.find(NodeKind::Endpoint, endpoint.as_str()), &label, false);
            }
            GrantKind::Receive { endpoint } => {
                self.edge(self.find(NodeKind::Endpoint, endpoint.as_str()), own, "received by", false);
            }
            GrantKind::Signal { task } => self.edge(own, self.find(NodeKind::Task, task.as_str()), "signals", true),
            GrantKind::Registers { device, limits, .. } => {
                let limits = match limits {
                    None => charter.device(device).map_or_else(String::new, |(_, own)| limit(&own.unsaid())),
                    Some(limits) => limits.iter().map(limit).collect::<Vec<_>>().join("; "),
                };
                self.edge(own, self.find(NodeKind::Device, device.as_str()), &format!("drives: {limits}"), false);
            }
            GrantKind::Interrupt { device, vector } => {
                let label = format!("interrupt {}", vector.get());
                self.edge(self.find(NodeKind::Device, device.as_str()), own, &label, true);
            }
            GrantKind::Information { device } => {
                self.edge(own, self.find(NodeKind::Device, device.as_str()), "asks what it is", false);
            }
            GrantKind::Dma { region } => {
                let node = self.find(NodeKind::Region, region.as_str());
                self.edge(own, node, "owns", false);
                let device = charter.region(region).and_then(|(_, region)| region.device.as_ref());
                let device = device.and_then(|device| self.find(NodeKind::Device, device.as_str()));
                self.edge(device, node, "reads and writes", false);
            }
            GrantKind::Window { region, offset, size, access: own_access } => {
                let (start, end) = (offset.bytes(), offset.bytes() + size.bytes());
                let label = format!("window {} to {}, {}", Bytes(start), Bytes(end), access(*own_access));
                self.edge(own, self.find(NodeKind::Region, region.as_str()), &label, false);
            }
            GrantKind::Evidence => self.edge(own, self.find(NodeKind::Evidence, "firmware"), "reads", false),
            GrantKind::Console => self.edge(own, self.find(NodeKind::Console, "serial"), "reads and writes", false),
            GrantKind::Inspect { topic } => {
                self.edge(own, self.find(NodeKind::Kernel, "kernel"), &format!("asks: {}", topic.name()), false);
            }
            GrantKind::Power { action } => {
                self.edge(own, self.find(NodeKind::Kernel, "kernel"), &format!("power: {}", action.name()), false);
            }
            GrantKind::Supervise { task, .. } => {
                self.edge(own, self.find(NodeKind::Task, task.as_str()), "restarts", true);
            }
            GrantKind::Kill { task } => self.edge(own, self.find(NodeKind::Task, task.as_str()), "stops", true),
            GrantKind::Log { .. } => {}
        }
    }

    /// As Mermaid, which Markdown pages show.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        for (position, node) in self.nodes.iter().enumerate() {
            let (open, close) = match node.kind {
                NodeKind::Task => ("[", "]"),
                NodeKind::Endpoint => ("([", "])"),
                NodeKind::Device => ("[[", "]]"),
                NodeKind::Region => ("[(", ")]"),
                NodeKind::Evidence => (">", "]"),
                NodeKind::Console | NodeKind::Kernel => ("{{", "}}"),
            };
            // A String takes all that is written to it.
            let _ = writeln!(text, "  n{position}{open}\"{}\"{close}", node.lines().join("<br>"));
        }
        for edge in &self.edges {
            let arrow = if edge.wakes { "-.->" } else { "-->" };
            let _ = writeln!(text, "  n{} {arrow}|\"{}\"| n{}", edge.from, edge.label, edge.to);
        }
        text
    }

    /// In the language of Graphviz.
    pub fn to_dot(&self) -> String {
        let mut text = String::from("digraph authority {\n  rankdir = LR;\n  node [fontname = \"sans-serif\"];\n");
        for (position, node) in self.nodes.iter().enumerate() {
            let shape = match node.kind {
                NodeKind::Task => "box",
                NodeKind::Endpoint => "ellipse",
                NodeKind::Device => "box3d",
                NodeKind::Region => "cylinder",
                NodeKind::Evidence => "note",
                NodeKind::Console | NodeKind::Kernel => "hexagon",
            };
            let _ = writeln!(text, "  n{position} [shape = {shape}, label = \"{}\"];", node.lines().join("\\n"));
        }
        for edge in &self.edges {
            let style = if edge.wakes { ", style = dashed" } else { "" };
            let _ = writeln!(text, "  n{} -> n{} [label = \"{}\"{style}];", edge.from, edge.to, edge.label);
        }
        text + "}\n"
    }

    /// As a picture.
    pub fn to_svg(&self) -> String {
        svg::draw(self)
    }
}

impl Node {
    /// What is written on it: names hold nothing that any of the languages would read as its own.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} {}", self.kind.word(), self.name)];
        lines.extend((!self.about.is_empty()).then(|| self.about.clone()));
        lines
    }
}
