//! Resumable uploads: begun, continued at exact offsets, finalized.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::error::ApiError;
use super::files::{Files, NewFile};
use super::messages::UPLOAD;
use super::request::parse;
use super::schema::{object, text};
use crate::core::{Core, Millis};
use crate::credential::Credential;

/// Uploads that are remembered; the oldest ones are forgotten beyond it.
const MAX_SESSIONS: usize = 1_000;

/// Bytes that unfinished uploads may hold together.
const MAX_HELD: u64 = 4 << 30;

/// What every chunk but the last must be a multiple of, in bytes; told in `X-Goog-Upload-Chunk-Granularity`.
pub(crate) const GRANULARITY: usize = 256 << 10;

/// How an upload begins: its headers and its body.
#[derive(Debug, Default)]
pub struct Start {
    /// The file's size, if it was told.
    pub size: Option<u64>,
    /// The file's MIME type, if it was told.
    pub mime_type: Option<String>,
    id: Option<String>,
    display_name: Option<String>,
}

/// One upload.
#[derive(Debug)]
struct Session {
    owner: Credential,
    start: Start,
    begun: Millis,
    chunks: Vec<Bytes>,
    received: u64,
    finished: bool,
}

/// A chunk of an upload.
#[derive(Debug)]
pub struct Chunk {
    /// Where it belongs, in bytes from the beginning.
    pub offset: u64,
    /// Its bytes.
    pub data: Bytes,
    /// Whether it is the last one.
    pub last: bool,
    /// Milliseconds before the file is listed.
    pub list_lag: Millis,
}

/// All uploads by the word that stands for them in their URL.
#[derive(Debug, Default)]
pub struct Uploads {
    sessions: HashMap<String, Session>,
}

impl Start {
    /// An upload of which only this much is known.
    pub fn new(size: Option<u64>, mime_type: Option<String>) -> Self {
        Self { size, mime_type, ..Self::default() }
    }

    /// Reads the body, `{"file":{...}}` or nothing.
    pub fn describe(mut self, body: &str) -> Result<Self, ApiError> {
        if !body.trim().is_empty() {
            let fields = parse(body)?;
            UPLOAD.check(&fields, "")?;
            if let Some(file) = object(&fields, "file") {
                self.display_name = text(&file, "displayName");
                self.mime_type = self.mime_type.or_else(|| text(&file, "mimeType"));
                self.id = text(&file, "name").map(|name| id_of(&name)).transpose()?;
            }
        }
        Ok(self)
    }
}

/// The part of a name behind `files/`: up to 40 lower-case letters, digits and inner dashes.
fn id_of(name: &str) -> Result<String, ApiError> {
    let id = name.strip_prefix("files/").unwrap_or(name);
    let right = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && (1..=40).contains(&id.len())
        && !id.starts_with('-')
        && !id.ends_with('-');
    let message = format!(
        "* CreateFileRequest.file.name: File name '{id}' must be 1 to 40 lower-case letters, digits or inner dashes.\n"
    );
    if right { Ok(id.to_owned()) } else { Err(ApiError::at("file.name", message)) }
}

impl Uploads {
    /// Begins an upload and returns the word for its URL.
    pub fn start(
        &mut self,
        core: &mut Core,
        now: Millis,
        owner: &Credential,
        start: Start,
    ) -> Result<String, ApiError> {
        if start.size.is_some_and(|size| size > core.config.max_file_bytes) {
            return Err(too_large(core));
        }
        if self.sessions.len() >= MAX_SESSIONS
            && let Some(old) =
                self.sessions.iter().min_by_key(|(_, session)| session.begun).map(|(id, _)| id.clone())
        {
            self.sessions.remove(&old);
        }
        let id = core.rng.hex(32);
        let session = Session {
            owner: owner.clone(),
            start,
            begun: now,
            chunks: Vec::new(),
            received: 0,
            finished: false,
        };
        self.sessions.insert(id.clone(), session);
        Ok(id)
    }

    /// Takes a chunk; the file object when it was the last one.
    pub fn receive(
        &mut self,
        core: &mut Core,
        now: Millis,
        files: &mut Files,
        id: &str,
        chunk: Chunk,
    ) -> Result<Option<Value>, ApiError> {
        let held: u64 =
            self.sessions.values().filter(|session| !session.finished).map(|one| one.received).sum();
        let session = self.sessions.get_mut(id).ok_or_else(ApiError::not_found)?;
        if session.finished {
            return Err(ApiError::invalid("Upload has already been terminated."));
        }
        if chunk.offset != session.received {
            let message = format!(
                "Invalid offset: {} bytes were received, so the chunk cannot begin at {}.",
                session.received, chunk.offset
            );
            return Err(ApiError::invalid(message));
        }
        if !chunk.last && !chunk.data.len().is_multiple_of(GRANULARITY) {
            let message =
                format!("A chunk that is not the last one must be a multiple of {GRANULARITY} bytes.");
            return Err(ApiError::invalid(message));
        }
        let total = session.received + chunk.data.len() as u64;
        if total > core.config.max_file_bytes {
            return Err(too_large(core));
        }
        if held + chunk.data.len() as u64 > MAX_HELD {
            return Err(ApiError::new(429, "Too many bytes are held by unfinished uploads."));
        }
        let size = session.start.size.unwrap_or(total);
        if total > size || (chunk.last && total != size) {
            let message = format!("{size} bytes were announced, but {total} were sent.");
            return Err(ApiError::invalid(message));
        }
        session.received = total;
        session.chunks.push(chunk.data);
        if !chunk.last {
            return Ok(None);
        }
        session.finished = true;
        let new = NewFile {
            id: session.start.id.take().unwrap_or_else(|| core.rng.hex(12)),
            content: joined(std::mem::take(&mut session.chunks)),
            display_name: session.start.display_name.take().unwrap_or_default(),
            mime_type: session.start.mime_type.take().unwrap_or_else(|| "application/octet-stream".into()),
            generated: false,
            list_lag: chunk.list_lag,
        };
        if files.alive(now).any(|file| file.id == new.id) {
            let message = format!("Requested entity already exists: files/{}", new.id);
            return Err(ApiError::new(409, message));
        }
        let owner = session.owner.clone();
        Ok(Some(json!({"file": files.add(now, &owner, new).view()})))
    }

    /// How many bytes an upload has received, and whether it is finished.
    pub fn progress(&self, id: &str) -> Result<(u64, bool), ApiError> {
        let session = self.sessions.get(id).ok_or_else(ApiError::not_found)?;
        Ok((session.received, session.finished))
    }

    /// Drops an upload.
    pub fn cancel(&mut self, id: &str) -> Result<(), ApiError> {
        self.sessions.remove(id).map(drop).ok_or_else(ApiError::not_found)
    }
}

fn too_large(core: &Core) -> ApiError {
    ApiError::invalid(format!("File size exceeds the limit of {} bytes.", core.config.max_file_bytes))
}

fn joined(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 {
        return chunks.remove(0);
    }
    let mut whole = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
    whole.freeze()
}
