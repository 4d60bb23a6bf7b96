//! ccorch: see ARCHITECTURE.md.
fn main() {}
