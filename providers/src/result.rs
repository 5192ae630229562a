//! What became of one request of a job.

use std::borrow::Cow;

use serde_json::error::Category;

/// One line of an output or error file, borrowed from it. Both files have the same shape.
#[derive(Debug, PartialEq, Eq)]
pub struct ResultLine<'a> {
    /// The id that the input line carried.
    pub custom_id: Cow<'a, str>,
    /// What became of it.
    pub outcome: LineOutcome<'a>,
}

/// What became of one input line.
///
/// The provider's `error` field alone does not tell success: a line's HTTP error comes as a `response` with
/// `"error":null`. So a response is judged by its status, wherever there is one.
#[derive(Debug, PartialEq, Eq)]
pub enum LineOutcome<'a> {
    /// The request was executed.
    Response {
        /// The HTTP status, 100 to 599, that the request alone would have got.
        status: u16,
        /// What would have been the `x-request-id` header.
        request_id: Option<Cow<'a, str>>,
        /// The response body: one JSON value, byte for byte as it stands in the line; made here only for errors of providers
        /// that have no body for them.
        body: Cow<'a, [u8]>,
    },
    /// The request was not executed, or its body is not there (some compatible servers leave it out of failures).
    Error {
        /// The status, where the line names one in spite of having no body.
        status: Option<u16>,
        /// The provider's code, such as `batch_expired`; an open set, empty if there was none.
        code: Cow<'a, str>,
        /// The provider's message, empty if there was none.
        message: Cow<'a, str>,
    },
}

/// Why a line could not be read. Never quotes the line: it holds a caller's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not a JSON object, not UTF-8, or of another shape than a result.
    #[error("result line is not a batch result: {problem} at byte {column}")]
    Malformed {
        /// What kind of problem.
        problem: &'static str,
        /// Where in the line, 1-based, as far as the parser knows.
        column: usize,
    },
    /// The line ends in the middle of its JSON: typical of a cut download.
    #[error("result line is cut after {0} bytes")]
    Cut(usize),
    /// The line has no `custom_id` to join it by.
    #[error("result line has no custom_id")]
    NoId,
    /// `response.status_code` is not an HTTP status.
    #[error("result line has no valid status code")]
    BadStatus,
}

impl LineError {
    /// What a parser says about a line.
    pub fn from_json(error: &serde_json::Error, line: &[u8]) -> Self {
        let problem = match error.classify() {
            Category::Eof => return LineError::Cut(line.len()),
            Category::Syntax => "invalid JSON",
            Category::Data => "unexpected type or text that is not UTF-8",
            Category::Io => "unreadable",
        };
        LineError::Malformed { problem, column: error.column() }
    }
}
