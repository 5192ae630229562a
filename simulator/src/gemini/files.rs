//! The Files API: what each key has stored.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde_json::{Value, json};

use super::error::ApiError;
use super::time::stamp;
use crate::core::Millis;
use crate::credential::Credential;

/// Uploaded files live for 48 hours (Google's documentation of the Files API).
const LIFETIME_S: u64 = 48 * 3_600;

/// Result files live for six weeks (Google's documentation of batch mode).
const RESULT_LIFETIME_S: u64 = 42 * 86_400;

/// Where files are said to be.
const HOME: &str = "https://generativelanguage.googleapis.com/v1beta";

/// A stored file.
#[derive(Debug, Clone)]
pub struct File {
    /// What stands behind `files/` in its name.
    pub id: String,
    /// Whose it is.
    pub owner: Credential,
    /// Its content.
    pub content: Bytes,
    /// Its display name, which may be empty.
    pub display_name: String,
    /// Its MIME type.
    pub mime_type: String,
    /// Whether it holds results; only such files can be downloaded.
    pub generated: bool,
    /// When it was made.
    pub created: Millis,
    /// When it disappears by itself.
    pub expires: Millis,
    /// The time from which lists show it.
    pub listed_from: Millis,
}

/// What makes a new file.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub id: String,
    pub content: Bytes,
    pub display_name: String,
    pub mime_type: String,
    pub generated: bool,
    pub list_lag: Millis,
}

/// All files, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Files {
    by_number: BTreeMap<u64, File>,
    numbers: HashMap<String, u64>,
    next: u64,
}

impl File {
    /// Its name.
    pub fn name(&self) -> String {
        format!("files/{}", self.id)
    }

    /// The file object.
    pub fn view(&self) -> Value {
        let mut view = json!({
            "name": self.name(),
            "mimeType": self.mime_type,
            // int64 is a string in Google's JSON.
            "sizeBytes": self.content.len().to_string(),
            "createTime": stamp(self.created),
            "updateTime": stamp(self.created),
            "expirationTime": stamp(self.expires),
            "uri": format!("{HOME}/{}", self.name()),
            "state": "ACTIVE",
            "source": if self.generated { "GENERATED" } else { "UPLOADED" },
        });
        if !self.display_name.is_empty() {
            view["displayName"] = json!(self.display_name);
        }
        if self.generated {
            view["downloadUri"] = json!(format!("{HOME}/{}:download?alt=media", self.name()));
        }
        view
    }

    fn alive(&self, now: Millis) -> bool {
        now < self.expires
    }
}

impl Files {
    /// Stores a file.
    pub(crate) fn add(&mut self, now: Millis, owner: &Credential, new: NewFile) -> &File {
        let number = self.next;
        self.next += 1;
        self.numbers.insert(new.id.clone(), number);
        let lifetime = if new.generated { RESULT_LIFETIME_S } else { LIFETIME_S };
        self.by_number.entry(number).or_insert(File {
            id: new.id,
            owner: owner.clone(),
            content: new.content,
            display_name: new.display_name,
            mime_type: new.mime_type,
            generated: new.generated,
            created: now,
            expires: now + lifetime * 1000,
            listed_from: now + new.list_lag,
        })
    }

    /// The file with what stands behind `files/`, if it is this caller's and has not expired.
    pub fn get(&self, now: Millis, owner: &Credential, id: &str) -> Result<&File, ApiError> {
        let file = self.numbers.get(id).and_then(|number| self.by_number.get(number));
        file.filter(|file| file.owner == *owner && file.alive(now)).ok_or_else(|| ApiError::no_file(id))
    }

    /// The content of a file of results.
    pub fn download(&self, now: Millis, owner: &Credential, id: &str) -> Result<Bytes, ApiError> {
        let file = self.get(now, owner, id)?;
        if !file.generated {
            return Err(ApiError::invalid("Only files that were generated can be downloaded."));
        }
        Ok(file.content.clone())
    }

    /// Removes a file with its content.
    pub(crate) fn delete(&mut self, now: Millis, owner: &Credential, id: &str) -> Result<(), ApiError> {
        self.get(now, owner, id)?;
        if let Some(number) = self.numbers.remove(id) {
            self.by_number.remove(&number);
        }
        Ok(())
    }

    /// `GET /files`, newest first: a page of those older than the number in a token.
    pub fn list(&self, now: Millis, owner: &Credential, before: Option<u64>, size: usize) -> Value {
        let shown =
            |(_, file): &(&u64, &File)| file.owner == *owner && file.alive(now) && file.listed_from <= now;
        let page = self.by_number.range(..before.unwrap_or(u64::MAX)).rev().filter(shown).take(size + 1);
        let mut page: Vec<(&u64, &File)> = page.collect();
        let more = page.len() > size;
        page.truncate(size);
        let mut list = json!({});
        if let Some((number, _)) = page.last().filter(|_| more) {
            list["nextPageToken"] = json!(number.to_string());
        }
        // Google leaves out what is empty.
        if !page.is_empty() {
            list["files"] = page.iter().map(|(_, file)| file.view()).collect();
        }
        list
    }

    /// All files that are there at `now`.
    pub fn alive(&self, now: Millis) -> impl Iterator<Item = &File> {
        self.by_number.values().filter(move |file| file.alive(now))
    }
}
