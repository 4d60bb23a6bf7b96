//! What a cutover's target has to show: URLs, repositories and files that can be asked for.

use super::Report;
use crate::rig::{Confirm, Rig, rules};

pub(super) fn check(rig: &Rig, confirm: &Confirm, report: &mut Report) {
    for (index, health) in confirm.health.iter().enumerate() {
        let index = index.to_string();
        let at = |key| ["cutover", "confirm", "health", index.as_str(), key];
        report.must(&at("url"), rules::url(&health.url, &["https", "http"]));
        let full = health.shown() == health.url.split('#').next().unwrap_or_default();
        if !full {
            let message = "the user or query of this URL may be a token, and the rig file lies on every host (it is never printed); \
                           use a URL that answers without";
            report.warn(&at("url"), message);
        }
        if health.proxy && rig.proxy.is_none() {
            report.error(&at("proxy"), "the rig has no proxy; expected `proxy.backend`, or leave this out");
        }
    }
    for (index, handoff) in confirm.handoffs.iter().enumerate() {
        let index = index.to_string();
        let at = |key| ["cutover", "confirm", "handoffs", index.as_str(), key];
        report.must_if(&at("file"), handoff.file.as_deref(), rules::path_below);
        match (&handoff.file, &handoff.commits) {
            (Some(_), Some(_)) => report.error(&at("commits"), "expected either `file` or `commits`"),
            (None, None) => report.error(
                &["cutover", "confirm", "handoffs", index.as_str()],
                "expected `file: PATH` or `commits: REPOSITORY`, by which the hand-off shows",
            ),
            (None, Some(name)) if !report.has(&["workspace", "repositories", name]) => {
                let message = format!("there is no repository `{name}` in workspace.repositories");
                report.error(&at("commits"), message);
            }
            _ => {}
        }
    }
}
