//! A program's control flow as a graph, for graphviz' `dot`.

use super::View;
use crate::flow::{EdgeKind, blocks};

/// A digraph: a node a block, named after its first slot.
pub fn dot(view: View) -> String {
    let rows = view.rows();
    let mut out = format!("digraph \"{}\" {{\n", escaped(view.program.name()));
    out += "  node [shape=box, fontname=\"monospace\"];\n  edge [fontname=\"monospace\"];\n";
    for block in blocks(view.program) {
        let start = block.slots.start;
        out += &format!("  \"{start}\" [label=\"");
        for label in view.labels(start) {
            out += &format!("{}:\\l", escaped(label));
        }
        for row in rows.get(block.lines).unwrap_or_default() {
            out += &format!(
                "{:5}: {:<32}  ; {}\\l",
                row.slot,
                escaped(&row.text),
                escaped(&row.line.comment)
            );
        }
        out += "\"];\n";
        for edge in block.edges {
            let (label, style) = match edge.kind {
                EdgeKind::Jump => ("goto", "solid"),
                EdgeKind::Taken => ("taken", "solid"),
                EdgeKind::FallThrough => ("fall through", "dashed"),
            };
            out +=
                &format!("  \"{start}\" -> \"{}\" [label=\"{label}\", style={style}];\n", edge.to);
        }
    }
    out + "}\n"
}

/// What can stand between quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
