//! ccorch-io: see ARCHITECTURE.md.
