//! The systemd units, embedded: their one text is in `crates/ccorch/units`, and the Nix package ships the same files.

/// Unit file name and text.
pub const UNITS: &[(&str, &str)] = &[
    ("ccorch.target", include_str!("../units/ccorch.target")),
    ("ccorch-loops.slice", include_str!("../units/ccorch-loops.slice")),
    ("ccorch-loop@.service", include_str!("../units/ccorch-loop@.service")),
    ("ccorch-supervisor.service", include_str!("../units/ccorch-supervisor.service")),
    ("ccorch-lease.service", include_str!("../units/ccorch-lease.service")),
    ("ccorch-lease.timer", include_str!("../units/ccorch-lease.timer")),
    ("ccorch-term.service", include_str!("../units/ccorch-term.service")),
    ("ccorch-proxy.service", include_str!("../units/ccorch-proxy.service")),
    ("ccorch-secrets.service", include_str!("../units/ccorch-secrets.service")),
    ("ccorch-resume.service", include_str!("../units/ccorch-resume.service")),
    ("ccorch-confirm.service", include_str!("../units/ccorch-confirm.service")),
];
