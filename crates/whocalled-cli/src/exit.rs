//! Exit codes, and which error ends in which.

use std::fmt;
use std::process::ExitCode;

use whocalled_fetch::Error as FetchError;
use whocalled_lake::Error as LakeError;
use whocalled_pipeline::Error as PipelineError;
use whocalled_report::Error as ReportError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    Failure,
    Usage,
    Archive,
    Lake,
    Sql,
    Conflict,
    Incomplete,
    Unbalanced,
    NotFound,
    Found,
    Interrupted,
}

impl Exit {
    pub(crate) const ALL: [Self; 12] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::Archive,
        Self::Lake,
        Self::Sql,
        Self::Conflict,
        Self::Incomplete,
        Self::Unbalanced,
        Self::NotFound,
        Self::Found,
        Self::Interrupted,
    ];

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Archive => 3,
            Self::Lake => 4,
            Self::Sql => 5,
            Self::Conflict => 6,
            Self::Incomplete => 7,
            Self::Unbalanced => 8,
            Self::NotFound => 9,
            Self::Found => 10,
            Self::Interrupted => 130,
        }
    }

    /// What it means, for the reference.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Success => "Everything that was asked for is done.",
            Self::Failure => "An unexpected failure: a defect, or the machine's own I/O.",
            Self::Usage => {
                "The command line or the settings are wrong: an unknown flag, report, format or key, or a time that is none."
            }
            Self::Archive => "The archive is missing, empty, unreachable, or denies access.",
            Self::Lake => {
                "The lake is missing, is something else, was written by a newer version, is damaged, or cannot be written to."
            }
            Self::Sql => "The SQL statement cannot be planned or run.",
            Self::Conflict => {
                "Another run committed first, or is at work on the same directory; nothing of this one's last batch is in the lake. Run it again, or give --wait."
            }
            Self::Incomplete => {
                "Some blobs could not be read, and the receipt lists them; or `verify` found something that does not agree, or `doctor` a machine that will not do. What was read is committed."
            }
            Self::Unbalanced => {
                "The counts of a run do not add up. This is a defect; please report it with the receipt."
            }
            Self::NotFound => "There is no call of that correlation id.",
            Self::Found => "A report that `nightly --fail-on` names has rows. All reports are written.",
            Self::Interrupted => {
                "The run was interrupted. What was committed stays, and the next run goes on from there."
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error of the command line or the settings.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Ends the program with a code other than that of an error, once everything has been said.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Exit);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.about())
    }
}

impl std::error::Error for Ended {}

/// The exit code of an error.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(Ended(exit)) = error.downcast_ref() {
        *exit
    } else if error.is::<Usage>() || error.is::<whocalled_simulate::Error>() {
        Exit::Usage
    } else if let Some(error) = error.downcast_ref::<PipelineError>() {
        of_pipeline(error)
    } else if error.is::<FetchError>() {
        Exit::Archive
    } else if let Some(error) = error.downcast_ref::<LakeError>() {
        of_lake(error)
    } else if let Some(error) = error.downcast_ref::<ReportError>() {
        of_report(error)
    } else {
        Exit::Failure
    }
}

fn of_pipeline(error: &PipelineError) -> Exit {
    match error {
        PipelineError::Archive(_) | PipelineError::Empty { .. } | PipelineError::NoContainer { .. } => Exit::Archive,
        PipelineError::OtherArchive { .. } | PipelineError::OtherMirror { .. } => Exit::Usage,
        PipelineError::MirrorBusy { .. } => Exit::Conflict,
        PipelineError::Lake(error) => of_lake(error),
        PipelineError::Unbalanced { .. } => Exit::Unbalanced,
        PipelineError::Convert(_)
        | PipelineError::Decoder { .. }
        | PipelineError::Receipt { .. }
        | PipelineError::Name { .. }
        | PipelineError::File { .. } => Exit::Failure,
    }
}

fn of_lake(error: &LakeError) -> Exit {
    match error {
        LakeError::Conflict { .. } | LakeError::Busy { .. } => Exit::Conflict,
        LakeError::Unbalanced { .. } => Exit::Unbalanced,
        LakeError::Argument { .. } => Exit::Usage,
        _ => Exit::Lake,
    }
}

fn of_report(error: &ReportError) -> Exit {
    match error {
        ReportError::Sql { .. } | ReportError::ReadOnly { .. } | ReportError::Run { .. } => Exit::Sql,
        ReportError::UnknownReport { .. }
        | ReportError::UnknownRelation { .. }
        | ReportError::Parameter { .. }
        | ReportError::Destination { .. }
        | ReportError::UnknownFormat { .. } => Exit::Usage,
        ReportError::UnknownCall { .. } => Exit::NotFound,
        ReportError::Lake(error) => of_lake(error),
        ReportError::Relation { .. } => Exit::Lake,
        _ => Exit::Failure,
    }
}
