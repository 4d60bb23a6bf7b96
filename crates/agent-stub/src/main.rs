//! agent-stub: see ARCHITECTURE.md.
fn main() {}
