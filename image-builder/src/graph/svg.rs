//! The graph as a picture: tasks on the left, endpoints in the middle, devices and memory on the right.

use std::fmt::Write;

use super::{Edge, Graph, NodeKind};

const BOX: (i32, i32) = (190, 46);
const COLUMN: i32 = 520;
const ROW: i32 = 110;
const MARGIN: i32 = 110;

fn column(kind: NodeKind) -> i32 {
    match kind {
        NodeKind::Task => 0,
        NodeKind::Endpoint => 1,
        NodeKind::Device | NodeKind::Region | NodeKind::Evidence | NodeKind::Console | NodeKind::Kernel => 2,
    }
}

/// The picture.
pub fn draw(graph: &Graph) -> String {
    let mut rows = [0; 3];
    let places: Vec<(i32, i32)> = graph
        .nodes
        .iter()
        .map(|node| {
            let column = column(node.kind);
            let row = &mut rows[column as usize];
            *row += 1;
            // Every second column is half a row lower, so that fewer labels meet.
            (MARGIN + column * COLUMN, 20 + (*row - 1) * ROW + (column % 2) * ROW / 2)
        })
        .collect();
    let (width, height) = (MARGIN + 2 * COLUMN + BOX.0 + 20, 40 + (rows.iter().max().unwrap_or(&1) + 1) * ROW);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto-start-reverse\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (number, edge) in graph.edges.iter().enumerate() {
        arrow(&mut text, edge, places[edge.from], places[edge.to], number as i32);
    }
    for (node, (x, y)) in graph.nodes.iter().zip(&places) {
        let (fill, round) = match node.kind {
            NodeKind::Task => ("#dbeafe", 4),
            NodeKind::Endpoint => ("#fef3c7", 23),
            NodeKind::Device => ("#fee2e2", 4),
            NodeKind::Region => ("#dcfce7", 12),
            NodeKind::Evidence => ("#f3e8ff", 12),
            NodeKind::Console | NodeKind::Kernel => ("#e5e7eb", 12),
        };
        // A String takes all that is written to it.
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"{round}\" fill=\"{fill}\" stroke=\"#333\"/>",
            BOX.0, BOX.1
        );
        let lines = node.lines();
        for (line, content) in lines.iter().enumerate() {
            let at = y + BOX.1 / 2 + 5 + (2 * line as i32 + 1 - lines.len() as i32) * 9;
            let _ = writeln!(text, "<text x=\"{}\" y=\"{at}\" text-anchor=\"middle\">{content}</text>", x + BOX.0 / 2);
        }
    }
    text + "</svg>\n"
}

/// An arrow and its label. Those within the left column bend to the left.
fn arrow(text: &mut String, edge: &Edge, from: (i32, i32), to: (i32, i32), number: i32) {
    let dash = if edge.wakes { " stroke-dasharray=\"5 4\"" } else { "" };
    let middle = |(_, y): (i32, i32)| y + BOX.1 / 2;
    // Both directions between two boxes leave and arrive at different heights.
    let (start_y, end_y) =
        if from.0 <= to.0 { (middle(from) - 6, middle(to) - 6) } else { (middle(from) + 8, middle(to) + 8) };
    let (start_x, end_x, bend) = match from.0.cmp(&to.0) {
        std::cmp::Ordering::Less => (from.0 + BOX.0, to.0, 0),
        std::cmp::Ordering::Greater => (from.0, to.0 + BOX.0, 0),
        std::cmp::Ordering::Equal if from.0 == MARGIN => (from.0, to.0, -90),
        std::cmp::Ordering::Equal => (from.0 + BOX.0 / 2, to.0 + BOX.0 / 2, 0),
    };
    let (control_x, control_y) = ((start_x + end_x) / 2 + bend, (start_y + end_y) / 2);
    // A third of the way, a little further for every other arrow: labels of crossing arrows do not lie on each other.
    let way = 34 + number % 3 * 12;
    let label_x = start_x + (end_x - start_x) * way / 100 + bend / 2;
    let label_y = start_y + (end_y - start_y) * way / 100 - 4;
    let _ = writeln!(
        text,
        "<path d=\"M{start_x} {start_y}Q{control_x} {control_y} {end_x} {end_y}\" fill=\"none\" stroke=\"#555\"{dash} \
         marker-end=\"url(#arrow)\"/>\n<text x=\"{label_x}\" y=\"{label_y}\" text-anchor=\"middle\" font-size=\"11\" \
         fill=\"#333\" stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
        edge.label
    );
}
