//! Where diagnostic settings put their blobs, read from a blob's name.

use std::fmt;

use crate::Hour;

/// What every resource log container's name starts with.
pub const CONTAINER_LOGS_PREFIX: &str = "insights-logs-";
/// The container of the Activity Log.
pub const CONTAINER_ACTIVITY: &str = "insights-activity-logs";
/// The container of platform metrics.
pub const CONTAINER_METRICS: &str = "insights-metrics-pt1m";

/// Whether diagnostic settings write to a container of this name.
pub fn is_log_container(container: &str) -> bool {
    container.starts_with(CONTAINER_LOGS_PREFIX) || container == CONTAINER_ACTIVITY || container == CONTAINER_METRICS
}

/// A blob of the archive: its container and its name within it.
///
/// Displayed as `container/name`, which is also the `blob` column of every table. Ordered by
/// container, then by name, so that a listing is in the order of its hours per resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName {
    /// The container, such as `insights-logs-requestresponse`.
    pub container: String,
    /// The name within the container, such as `resourceId=/SUBSCRIPTIONS/.../PT1H.json`.
    pub name: String,
}

/// Whose logs a blob holds, from the first part of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobScope {
    /// A resource, by its lower-case id (`resourceId=`).
    Resource(String),
    /// An Entra tenant, by its lower-case id (`tenantId=`).
    Tenant(String),
}

impl BlobName {
    /// Splits `container/name`, as the `blob` column has it. `None` without a slash.
    pub fn from_column(blob: &str) -> Option<Self> {
        let (container, name) = blob.split_once('/')?;
        Some(Self { container: container.to_owned(), name: name.to_owned() })
    }

    /// Whether container and name can be a path below a directory and nowhere else: no part of them
    /// is empty, `.` or `..`, or holds a backslash or NUL. Whoever can write to an archive chooses
    /// its names.
    pub fn is_plain(&self) -> bool {
        let is_plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
        !self.container.contains('/') && is_plain(&self.container) && self.name.split('/').all(is_plain)
    }

    /// The resource or tenant in the name. The prefix key is matched whatever its case, since
    /// both `resourceId=` and `ResourceId=` occur; `None` for a name that has neither.
    pub fn scope(&self) -> Option<BlobScope> {
        let (key, rest) = self.name.split_once('=')?;
        let end = hour_start(rest).unwrap_or(rest.len());
        let id = rest[..end].trim_end_matches('/').to_ascii_lowercase();
        if key.eq_ignore_ascii_case("resourceId") {
            Some(BlobScope::Resource(id))
        } else if key.eq_ignore_ascii_case("tenantId") {
            Some(BlobScope::Tenant(id.trim_start_matches('/').to_owned()))
        } else {
            None
        }
    }

    /// The hour folder of the name as `(year, month, day, hour)`: `y=2026/m=11/d=01/h=13/m=00`.
    ///
    /// Events are placed by time of receipt, so this says when the blob was begun and nothing
    /// firm about the times in it.
    pub fn hour(&self) -> Option<Hour> {
        let rest = &self.name[hour_start(&self.name)?..];
        let mut parts = rest.trim_start_matches('/').split('/');
        let mut field = |key: &str| parts.next()?.strip_prefix(key)?.strip_prefix('=');
        let year = field("y")?.parse().ok()?;
        let month = field("m")?.parse().ok()?;
        let day = field("d")?.parse().ok()?;
        let hour = field("h")?.parse().ok()?;
        Some((year, month, day, hour))
    }

    /// The lower-case category in the container's name: `requestresponse`, `audit`, and
    /// `administrative` for the Activity Log's container, `metrics` for that of platform metrics.
    pub fn category(&self) -> &str {
        match self.container.as_str() {
            CONTAINER_ACTIVITY => "administrative",
            CONTAINER_METRICS => "metrics",
            other => other.strip_prefix(CONTAINER_LOGS_PREFIX).unwrap_or(other),
        }
    }
}

/// Where `/y=` begins, the last time it occurs: a resource's own name cannot hold a `=`.
fn hour_start(name: &str) -> Option<usize> {
    name.rfind("/y=")
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(container: &str, name: &str) -> BlobName {
        BlobName { container: container.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn resource_log_name() {
        let it = blob(
            "insights-logs-requestresponse",
            "ResourceId=/SUBSCRIPTIONS/S/RESOURCEGROUPS/G/PROVIDERS/MICROSOFT.COGNITIVESERVICES/ACCOUNTS/A/y=2026/m=11/d=01/h=13/m=00/PT1H.json",
        );
        assert_eq!(
            it.scope(),
            Some(BlobScope::Resource(
                "/subscriptions/s/resourcegroups/g/providers/microsoft.cognitiveservices/accounts/a".to_owned()
            ))
        );
        assert_eq!(it.hour(), Some((2026, 11, 1, 13)));
        assert_eq!(it.category(), "requestresponse");
        assert_eq!(BlobName::from_column(&it.to_string()), Some(it));
    }

    #[test]
    fn tenant_name() {
        let it = blob("insights-logs-signinlogs", "tenantId=4D3B/y=2025/m=04/d=11/h=03/m=00/PT1H.json");
        assert_eq!(it.scope(), Some(BlobScope::Tenant("4d3b".to_owned())));
        assert_eq!(it.hour(), Some((2025, 4, 11, 3)));
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_plain() {
        assert!(blob("c", "resourceId=/S/y=2026/PT1H.json").is_plain());
        for name in ["/etc/x", "../x", "a/../x", "a//b", "a\\b", "a/.", ""] {
            assert!(!blob("c", name).is_plain(), "{name}");
        }
        assert!(!blob("..", "a").is_plain() && !blob("a/b", "a").is_plain());
    }

    #[test]
    fn a_copy_without_the_layout_still_has_a_category() {
        let it = blob("insights-activity-logs", "export.json");
        assert_eq!((it.scope(), it.hour(), it.category()), (None, None, "administrative"));
    }
}
