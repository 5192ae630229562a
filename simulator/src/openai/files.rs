//! The Files API: what each credential has stored.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use serde_json::{Value, json};

use super::error::ApiError;
use super::profile::Profile;
use crate::core::{Core, Millis};
use crate::credential::Credential;

/// Purposes a caller may name (`OpenAI` API specification).
const PURPOSES: [&str; 6] = ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"];

/// How long files of batches live when the caller says nothing: 30 days.
pub(crate) const DEFAULT_LIFETIME_S: u64 = 30 * 86_400;

/// A stored file.
#[derive(Debug, Clone)]
pub struct File {
    /// `file-...`
    pub id: String,
    /// Whose it is.
    pub owner: Credential,
    /// Its content.
    pub content: Bytes,
    /// Its name.
    pub name: String,
    /// Its purpose.
    pub purpose: String,
    /// When it was made.
    pub created: Millis,
    /// When it disappears by itself.
    pub expires: Option<Millis>,
    /// The time from which lists show it.
    pub listed_from: Millis,
    /// When it is processed.
    pub processed: Millis,
    /// Whether its caller has seen it as processed.
    pub polled: bool,
}

/// An upload as it came in.
#[derive(Debug, Default)]
pub struct Upload {
    /// The file part's name, if there was a file part.
    pub name: Option<String>,
    /// The file part's content; empty if it was larger than allowed.
    pub content: Bytes,
    /// The file part's size in bytes.
    pub size: u64,
    /// The `purpose` part.
    pub purpose: Option<String>,
    /// The `expires_after[anchor]` part.
    pub anchor: Option<String>,
    /// The `expires_after[seconds]` part.
    pub seconds: Option<String>,
}

/// What makes a new file.
#[derive(Debug)]
pub struct NewFile {
    /// Its name.
    pub name: String,
    /// Its purpose.
    pub purpose: String,
    /// Its content.
    pub content: Bytes,
    /// How long it lives, in seconds; None for ever.
    pub lifetime: Option<u64>,
}

/// The parameters of `GET /files`.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub struct ListFiles {
    after: Option<String>,
    limit: Option<String>,
    order: Option<String>,
    purpose: Option<String>,
}

/// All files, in the order in which they were made.
#[derive(Debug)]
pub struct Files {
    profile: &'static Profile,
    by_number: BTreeMap<u64, File>,
    numbers: HashMap<String, u64>,
    next: u64,
    uploads: HashMap<Credential, VecDeque<Millis>>,
}

/// The file object.
pub(crate) fn view(file: &File, now: Millis) -> Value {
    json!({
        "id": file.id,
        "object": "file",
        "bytes": file.content.len(),
        "created_at": file.created / 1000,
        "expires_at": file.expires.map(|time| time / 1000),
        "filename": file.name,
        "purpose": file.purpose,
        "status": if file.processed <= now { "processed" } else { "pending" },
        "status_details": null,
    })
}

impl Files {
    /// No files yet.
    pub fn new(profile: &'static Profile) -> Self {
        let (by_number, numbers, uploads) = Default::default();
        Self { profile, by_number, numbers, next: 0, uploads }
    }

    /// `POST /files`.
    pub fn upload(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        upload: Upload,
        list_lag: Millis,
    ) -> Result<Value, ApiError> {
        let name = upload.name.ok_or_else(|| required("file"))?;
        let purpose = match (upload.purpose, self.profile.purpose) {
            (Some(purpose), _) => purpose,
            (None, Some(_)) => return Err(required("purpose")),
            (None, None) => String::new(),
        };
        if self.profile.purpose.is_some() && !PURPOSES.contains(&purpose.as_str()) {
            return Err(ApiError::invalid(
                format!("'{purpose}' is not one of {PURPOSES:?} - 'purpose'").replace('"', "'"),
                "purpose",
                "",
            ));
        }
        if purpose == "batch" && !name.ends_with(".jsonl") {
            return Err(ApiError::invalid("Invalid file format for Batch API. Must be .jsonl", "", ""));
        }
        if upload.size > core.config.max_file_bytes.min(self.profile.max_file_bytes) {
            return Err(ApiError::invalid("File is too large.", "", ""));
        }
        let lifetime = lifetime(self.profile, upload.anchor.as_deref(), upload.seconds.as_deref())?;
        self.check_number(now, owner, lifetime.is_some())?;
        let lifetime = lifetime.or(self.profile.lifetime_s.filter(|_| purpose == "batch"));
        self.admit_upload(core, now, owner)?;
        let new = NewFile { name, purpose, content: upload.content, lifetime };
        let (view, polled_files) = (self.profile.file, self.profile.polled_files);
        let file = self.add(core, now, owner, new);
        file.listed_from = now + list_lag;
        if polled_files {
            file.processed = now + core.config.validate_time.as_millis() as Millis;
            file.polled = false;
        }
        Ok(view(file, now))
    }

    /// Refuses one more file if that is more than this API stores for one caller.
    fn check_number(&self, now: Millis, owner: &Credential, expires: bool) -> Result<(), ApiError> {
        let Some((lasting, all)) = self.profile.max_files else { return Ok(()) };
        let files = || self.alive(now).filter(|file| file.owner == *owner);
        if files().count() >= all {
            return Err(ApiError::invalid(format!("At most {all} files can be stored."), "", ""));
        }
        if !expires && files().filter(|file| file.expires.is_none()).count() >= lasting {
            let message = format!("At most {lasting} files without 'expires_after' can be stored.");
            return Err(ApiError::invalid(message, "expires_after", "missing_required_parameter"));
        }
        Ok(())
    }

    /// Lets an upload through if there were not too many lately.
    pub fn admit_upload(&mut self, core: &Core, now: Millis, owner: &Credential) -> Result<(), ApiError> {
        let recent = self.uploads.entry(owner.clone()).or_default();
        admit(recent, now, 60_000, core.config.uploads_per_minute, "uploads per minute")
    }

    /// Gives a file its content, whoever asks.
    pub fn fill(&mut self, id: &str, content: Bytes) -> Result<(), ApiError> {
        let file = self.numbers.get(id).and_then(|number| self.by_number.get_mut(number));
        file.ok_or_else(|| missing(id))?.content = content;
        Ok(())
    }

    /// Stores a file that is known to be right.
    pub fn add(&mut self, core: &mut Core, now: Millis, owner: &Credential, new: NewFile) -> &mut File {
        let id = self.profile.id("file-", 24, &mut core.rng);
        let number = self.next;
        self.next += 1;
        self.numbers.insert(id.clone(), number);
        self.by_number.entry(number).or_insert(File {
            id,
            owner: owner.clone(),
            content: new.content,
            name: new.name,
            purpose: new.purpose,
            created: now,
            expires: new.lifetime.map(|seconds| now + seconds * 1000),
            listed_from: now,
            processed: now,
            polled: true,
        })
    }

    /// The file, if it is this caller's and has not expired.
    pub fn get(&self, now: Millis, owner: &Credential, id: &str) -> Result<&File, ApiError> {
        let file = self.numbers.get(id).and_then(|number| self.by_number.get(number));
        file.filter(|file| file.owner == *owner && file.alive(now)).ok_or_else(|| missing(id))
    }

    /// `GET /files/{id}`; a caller may use what it has seen as processed.
    pub fn retrieve(&mut self, now: Millis, owner: &Credential, id: &str) -> Result<Value, ApiError> {
        let view = (self.profile.file)(self.get(now, owner, id)?, now);
        if let Some(file) = self.numbers.get(id).and_then(|number| self.by_number.get_mut(number)) {
            file.polled |= file.processed <= now;
        }
        Ok(view)
    }

    /// `DELETE /files/{id}`; frees its content.
    pub fn delete(&mut self, now: Millis, owner: &Credential, id: &str) -> Result<Value, ApiError> {
        self.get(now, owner, id)?;
        if let Some(number) = self.numbers.remove(id) {
            self.by_number.remove(&number);
        }
        Ok(json!({"id": id, "object": "file", "deleted": true}))
    }

    /// `GET /files`.
    pub fn list(&self, now: Millis, owner: &Credential, query: &ListFiles) -> Result<Value, ApiError> {
        let limit = limit(query.limit.as_deref(), 10_000, 10_000)?;
        let order = query.order.as_deref().unwrap_or("desc");
        if !["asc", "desc"].contains(&order) {
            return Err(ApiError::unsupported_value("order", order, &["asc", "desc"]));
        }
        let shown = |file: &&File| {
            file.owner == *owner
                && file.alive(now)
                && file.listed_from <= now
                && query.purpose.as_ref().is_none_or(|purpose| *purpose == file.purpose)
        };
        let after = match &query.after {
            Some(id) => Some(*self.numbers.get(id).ok_or_else(|| missing(id))?),
            None => None,
        };
        let mut files: Vec<&File> = if order == "asc" {
            let from = after.map_or(0, |number| number + 1);
            self.by_number.range(from..).map(|(_, file)| file).filter(shown).take(limit + 1).collect()
        } else {
            let until = after.unwrap_or(u64::MAX);
            self.by_number.range(..until).rev().map(|(_, file)| file).filter(shown).take(limit + 1).collect()
        };
        let has_more = files.len() > limit;
        files.truncate(limit);
        let ends = (files.first().map(|file| &file.id), files.last().map(|file| &file.id));
        let data: Vec<Value> = files.iter().map(|file| (self.profile.file)(file, now)).collect();
        let member = self.profile.list_member;
        Ok(
            json!({"object": "list", member: data, "first_id": ends.0, "last_id": ends.1, "has_more": has_more}),
        )
    }

    /// All files that are there at `now`.
    pub fn alive(&self, now: Millis) -> impl Iterator<Item = &File> {
        self.by_number.values().filter(move |file| file.alive(now))
    }
}

impl File {
    fn alive(&self, now: Millis) -> bool {
        self.expires.is_none_or(|time| now < time)
    }
}

fn required(part: &str) -> ApiError {
    ApiError::invalid(format!("'{part}' is a required property"), "", "")
}

fn missing(id: &str) -> ApiError {
    ApiError::new(404, format!("No such File object: {id}")).param("id")
}

/// Checks `expires_after`, in seconds.
pub(crate) fn lifetime(
    profile: &Profile,
    anchor: Option<&str>,
    seconds: Option<&str>,
) -> Result<Option<u64>, ApiError> {
    let (shortest, longest) = profile.lifetimes_s;
    match (anchor, seconds) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ApiError::missing("expires_after.anchor")),
        (Some(_), None) => Err(ApiError::missing("expires_after.seconds")),
        (Some("created_at"), Some(seconds)) => {
            let seconds = seconds.parse().ok().filter(|seconds| (shortest..=longest).contains(seconds));
            let message =
                format!("Invalid 'expires_after.seconds': expected an integer from {shortest} to {longest}.");
            seconds
                .map(Some)
                .ok_or_else(|| ApiError::invalid(message, "expires_after.seconds", "invalid_value"))
        }
        (Some(anchor), Some(_)) => {
            Err(ApiError::unsupported_value("expires_after.anchor", anchor, &["created_at"]))
        }
    }
}

/// Checks a `limit` parameter.
pub(crate) fn limit(text: Option<&str>, default: usize, max: usize) -> Result<usize, ApiError> {
    let Some(text) = text else { return Ok(default) };
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    let message = format!("Invalid 'limit': expected an integer from 1 to {max}, but got '{text}' instead.");
    limit.ok_or_else(|| ApiError::invalid(message, "limit", "invalid_value"))
}

/// Lets a call through if fewer than `most` came within the last `span` milliseconds; holds at most `most` times.
pub(crate) fn admit(
    recent: &mut VecDeque<Millis>,
    now: Millis,
    span: Millis,
    most: usize,
    what: &str,
) -> Result<(), ApiError> {
    while recent.front().is_some_and(|&time| time + span <= now) {
        recent.pop_front();
    }
    if recent.len() >= most {
        let wait = recent.front().map_or(span, |&time| time + span - now);
        return Err(ApiError::too_many(format!("Rate limit reached: {most} {what}."), wait.div_ceil(1000)));
    }
    recent.push_back(now);
    Ok(())
}
