//! `[report]`: what the report shows.

use serde::{Deserialize, Serialize};

/// What the report shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReportSettings {
    /// Whether `report.json` and `report.html` contain texts: seeds, generated texts, and
    /// misclassified test texts. Without them a report can be shown to people who may not see the
    /// data; class names and descriptions stay. A run that is finished gets such a report from
    /// `promptmix eval RUN --set report.texts=false`.
    pub texts: bool,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self { texts: true }
    }
}
