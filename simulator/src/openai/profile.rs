//! How an API that is made after `OpenAI`'s differs from it. Every such API is a world of its own, made of the same model.

use serde_json::Value;

use super::answer::Style;
use super::batch::{self, Batch};
use super::endpoint::{Endpoint, LISTED_MODELS, model_batches, model_exists};
use super::error::ApiError;
use super::files::{self, DEFAULT_LIFETIME_S, File};
use super::request::Request;
use crate::core::Millis;
use crate::json::Fields;
use crate::rng::Rng;

/// All differences that are data, and how its objects are shown.
#[derive(Debug)]
pub struct Profile {
    /// Its name in the ledger, and what its paths begin with unless it is `openai`.
    pub name: &'static str,
    /// What a valid key begins with.
    pub key: &'static str,
    /// A header that may hold the key in place of `Authorization: Bearer`, whose token then may be anything.
    pub key_header: Option<&'static str>,
    /// Which models exist.
    pub models: Models,
    /// The endpoints that answer, directly and in batches.
    pub endpoints: &'static [Endpoint],
    /// Endpoints may be named without `/v1`.
    pub short_paths: bool,
    /// Shortest and longest completion window in hours.
    pub window_hours: (u64, u64),
    /// Whether a batch ends when its window does.
    pub expires: bool,
    /// The `purpose` of input files; None where none is asked for.
    pub purpose: Option<&'static str>,
    /// Most bytes of an input file.
    pub max_file_bytes: u64,
    /// Most lines of a batch; None for the configured number.
    pub max_lines: Option<usize>,
    /// Shortest and longest `expires_after` in seconds.
    pub lifetimes_s: (u64, u64),
    /// How long a batch's files live without `expires_after`, in seconds.
    pub lifetime_s: Option<u64>,
    /// `expires_after.seconds` is as good as `expires_after[seconds]` in an upload.
    pub dotted_names: bool,
    /// Most files without an expiry, and most files.
    pub max_files: Option<(usize, usize)>,
    /// A file can be used only after its caller has seen it as `processed`.
    pub polled_files: bool,
    /// The shape of input lines.
    pub lines: Lines,
    /// The results are kept with the batch, not in files.
    pub inline_results: bool,
    /// A batch without errors has an error file of no bytes.
    pub empty_error_file: bool,
    /// The member that holds a list's objects.
    pub list_member: &'static str,
    /// Objects have UUIDs for ids.
    pub uuids: bool,
    /// The batch object.
    pub batch: fn(&Batch) -> Value,
    /// The file object at a time.
    pub file: fn(&File, Millis) -> Value,
    /// The status and the body of an error.
    pub error: fn(&ApiError) -> (u16, Value),
    /// Further checks of a body.
    pub(crate) check: fn(Endpoint, &Fields<'_>) -> Result<(), ApiError>,
    /// The beginning of an answer, all but its closing brace, with its completion tokens; None for `OpenAI`'s.
    pub(crate) answer: fn(&Request<'_>, &Style) -> Option<(String, u64)>,
}

/// Which models exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Models {
    /// `OpenAI`'s families.
    Families,
    /// All but those that end in `-missing`.
    Any,
    /// The same, but batches run only on those that end in `-batch`, and these do nothing else.
    Deployments,
}

/// The shape of an input line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// `custom_id`, `method`, `url` and `body`; one endpoint and one model.
    Whole,
    /// The same, and each line may name another endpoint and model.
    Mixed,
    /// `custom_id` and `body` only; endpoint and model are the batch's.
    Bodies,
}

/// `OpenAI` itself.
pub static OPENAI: Profile = Profile::openai();

impl Profile {
    /// `OpenAI`'s, from which the others are derived.
    pub const fn openai() -> Self {
        Self {
            name: "openai",
            key: "sk-",
            key_header: None,
            models: Models::Families,
            endpoints: &Endpoint::ALL,
            short_paths: false,
            window_hours: (24, 24),
            expires: true,
            purpose: Some("batch"),
            max_file_bytes: u64::MAX,
            max_lines: None,
            lifetimes_s: (3_600, 2_592_000),
            lifetime_s: Some(DEFAULT_LIFETIME_S),
            dotted_names: false,
            max_files: None,
            polled_files: false,
            lines: Lines::Whole,
            inline_results: false,
            empty_error_file: false,
            list_member: "data",
            uuids: false,
            batch: batch::view,
            file: files::view,
            error: ApiError::openai,
            check: |_, _| Ok(()),
            answer: |_, _| None,
        }
    }

    /// The endpoint of this path, if this API has it.
    pub(crate) fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let found = Endpoint::of(path)
            .or_else(|| self.short_paths.then(|| Endpoint::of(&format!("/v1{path}"))).flatten());
        found.filter(|endpoint| self.endpoints.contains(endpoint))
    }

    /// Every path that [`Profile::endpoint`] knows, with `/v1`.
    pub(crate) fn paths(&self) -> Vec<&'static str> {
        self.endpoints.iter().map(|endpoint| endpoint.path()).collect()
    }

    /// Whether this caller's model exists.
    pub(crate) fn has_model(&self, id: &str) -> bool {
        match self.models {
            Models::Families => model_exists(id),
            Models::Any | Models::Deployments => !id.ends_with("-missing"),
        }
    }

    /// Whether the model can be used in batches.
    pub(crate) fn batches(&self, id: &str) -> bool {
        model_batches(id) && (self.models != Models::Deployments || id.ends_with("-batch"))
    }

    /// Whether the model answers directly.
    pub(crate) fn answers(&self, id: &str) -> bool {
        self.models != Models::Deployments || !id.ends_with("-batch")
    }

    /// The ids that `GET /models` lists.
    pub(crate) fn listed_models(&self) -> &'static [&'static str] {
        if self.models == Models::Families { &LISTED_MODELS } else { &[] }
    }

    /// The status and the JSON text of an error.
    pub(crate) fn refusal(&self, error: &ApiError) -> (u16, String) {
        let (status, body) = (self.error)(error);
        (status, body.to_string())
    }

    /// A new id.
    pub(crate) fn id(&self, prefix: &str, digits: usize, rng: &mut Rng) -> String {
        if !self.uuids {
            return format!("{prefix}{}", rng.hex(digits));
        }
        let [a, b, c, d, e] = [8, 4, 3, 3, 12].map(|digits| rng.hex(digits));
        format!("{a}-{b}-4{c}-a{d}-{e}")
    }
}
