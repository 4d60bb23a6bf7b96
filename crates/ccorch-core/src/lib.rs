//! ccorch-core: see ARCHITECTURE.md.
