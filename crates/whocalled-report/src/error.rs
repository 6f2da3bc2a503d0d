//! What can go wrong between a question and its answer.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use whocalled_types::ErrorKind;

use crate::session::Relation;

/// Why a question could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The statement cannot be planned: a syntax error, an unknown table, column or function.
    #[error("{message}")]
    Sql {
        /// What the planner said, and what there is instead.
        message: String,
        /// The planner's own error. It is no source, for `message` says all that it does.
        cause: Box<DataFusionError>,
    },
    /// The statement would change something.
    #[error(
        "the lake is read-only here: only SELECT, WITH, VALUES, EXPLAIN, SHOW and DESCRIBE are allowed; \
         write results elsewhere with --format or `whocalled export` ({message})"
    )]
    ReadOnly {
        /// What was refused.
        message: String,
    },
    /// The planned statement failed while it ran.
    #[error("the query failed while it ran: {message}")]
    Run {
        /// What failed, and what to do about it where that is known.
        message: String,
        /// The engine's own error.
        #[source]
        source: Box<DataFusionError>,
    },
    /// A view or report of ours does not plan over these tables: the lake's tables differ from what
    /// this version expects.
    #[error("{relation} cannot be used over this lake: {source}")]
    Relation {
        /// The view or report.
        relation: String,
        /// The planner's own error.
        #[source]
        source: Box<DataFusionError>,
    },
    /// There is no report of this name.
    #[error("there is no report {name:?}; the reports are {known}")]
    UnknownReport {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// There is no table, view or report of this name.
    #[error("there is no table, view or report {name:?}; there are {known}")]
    UnknownRelation {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// No record of the lake has this correlation id.
    #[error(
        "no call with correlation id {correlation_id:?} is in the lake; it is the `apim-request-id` header of the \
         service's answer, and `SELECT correlation_id FROM calls` lists the calls that are known"
    )]
    UnknownCall {
        /// The correlation id asked for.
        correlation_id: String,
    },
    /// A report's parameter is missing, unknown or of another kind.
    #[error("parameter {name:?}: {reason}")]
    Parameter {
        /// The parameter, without its `$`.
        name: String,
        /// What is wrong with it, and what is expected.
        reason: String,
    },
    /// A weight of the evidence cannot be what it was set to.
    #[error("weight {name:?}: {reason}")]
    Weight {
        /// The name of the evidence.
        name: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// A format of this name does not exist.
    #[error("unknown format {name:?}; the formats are {known}")]
    UnknownFormat {
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The header comment of an embedded SQL file is not in order. It is checked by the tests.
    #[error("header of {file}: {reason}")]
    Header {
        /// The file.
        file: &'static str,
        /// What is not in order.
        reason: String,
    },
    /// The rows could not be written in the format asked for.
    #[error("cannot write the rows as {format}: {source}")]
    Encode {
        /// The format.
        format: &'static str,
        /// The encoder's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The output was closed or full.
    #[error("cannot write the output: {0}")]
    Output(#[source] std::io::Error),
    /// The destination of an export cannot be used.
    #[error("cannot export to {destination:?}: {reason}")]
    Destination {
        /// Where the export was to go, without secrets.
        destination: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The store that an export goes to failed.
    #[error("export to {destination:?}: {source}")]
    Store {
        /// Where the export was going, without secrets.
        destination: String,
        /// The store's own error.
        #[source]
        source: Box<object_store::Error>,
    },
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] whocalled_lake::Error),
}

impl Error {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store { source, .. } => match **source {
                object_store::Error::Generic { .. } | object_store::Error::JoinError { .. } => ErrorKind::Retry,
                _ => ErrorKind::Abort,
            },
            Self::UnknownCall { .. } => ErrorKind::Skip,
            Self::Lake(error) => error.kind(),
            _ => ErrorKind::Abort,
        }
    }

    /// An error of planning a statement that a user wrote. `relations` are named when the statement
    /// asks for one that does not exist.
    pub(crate) fn planning(error: DataFusionError, relations: &[Relation]) -> Self {
        let error = match error {
            // One of ours, of a view that the statement names.
            DataFusionError::External(error) => match error.downcast() {
                Ok(error) => return *error,
                Err(error) => DataFusionError::External(error),
            },
            error => error,
        };
        let mut message = first_line(&error);
        if message.contains("table '") && message.contains("not found") {
            let names: Vec<&str> = relations.iter().map(|it| it.name.as_str()).collect();
            message = format!("{message}; there are {}", names.join(", "));
        } else if message.contains("single SQL statement") {
            message = "one statement at a time, please: this has several, or none".to_owned();
        }
        Self::Sql { message, cause: Box::new(error) }
    }

    /// An error of running a planned statement.
    pub(crate) fn running(error: DataFusionError) -> Self {
        let mut message = first_line(&error);
        if let DataFusionError::ResourcesExhausted(_) = error.find_root() {
            message.push_str("; give it more with --memory-mib, or ask for a shorter range");
        }
        Self::Run { message, source: Box::new(error) }
    }
}

/// The message of the root cause, without the engine's own prefixes and backtraces.
fn first_line(error: &DataFusionError) -> String {
    let root = error.find_root();
    let text = match root {
        DataFusionError::Plan(message) | DataFusionError::Execution(message) => message.clone(),
        DataFusionError::SQL(error, _) => match &**error {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.clone(),
            other => other.to_string(),
        },
        other => other.strip_backtrace(),
    };
    text.replace("datafusion.public.", "").trim().to_owned()
}
