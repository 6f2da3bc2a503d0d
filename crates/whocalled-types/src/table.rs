//! The tables of the lake, by name.

use std::fmt;

/// A table of the lake. Every table exists from the lake's first commit, empty or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Data-plane calls of Azure OpenAI (category `RequestResponse`).
    RequestResponse,
    /// Data-plane audit records, such as `ListKey` (category `Audit`).
    Audit,
    /// Whatever the `Trace` category holds; its content is not documented.
    Trace,
    /// Token counts by call (category `AzureOpenAIRequestUsage`).
    RequestUsage,
    /// The Activity Log, all categories.
    Activity,
    /// Entra sign-ins: interactive, non-interactive, service principal, managed identity.
    SignIns,
    /// API Management's `GatewayLogs`.
    Gateway,
    /// API Management's `GatewayLlmLogs`.
    GatewayLlm,
    /// Platform metrics (`insights-metrics-pt1m`).
    Metrics,
    /// Every other category: the envelope, and `properties` as JSON text.
    Other,
    /// Records that could not be decoded, with blob, offset, reason and bytes.
    Rejects,
    /// What has been committed, and how it got there.
    Ledger,
}

impl Table {
    /// Every table, in the order in which a batch is applied; the ledger, which decides, is last
    /// here because it is not applied.
    pub const ALL: [Self; 12] = [
        Self::RequestResponse,
        Self::Audit,
        Self::Trace,
        Self::RequestUsage,
        Self::Activity,
        Self::SignIns,
        Self::Gateway,
        Self::GatewayLlm,
        Self::Metrics,
        Self::Other,
        Self::Rejects,
        Self::Ledger,
    ];

    /// The table's name in SQL and its directory in the lake.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestResponse => "request_response",
            Self::Audit => "audit",
            Self::Trace => "trace",
            Self::RequestUsage => "request_usage",
            Self::Activity => "activity",
            Self::SignIns => "sign_ins",
            Self::Gateway => "gateway",
            Self::GatewayLlm => "gateway_llm",
            Self::Metrics => "metrics",
            Self::Other => "other",
            Self::Rejects => "rejects",
            Self::Ledger => "ledger",
        }
    }

    /// The table of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The tables that hold rows of records; all but the ledger.
    pub fn data() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|table| *table != Self::Ledger)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
