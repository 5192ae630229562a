//! Gives a body another model, for batches whose model has a name of its own, and gives the caller's back.
//!
//! As with [`strip`](super::strip), the edit is one of raw bytes: all else stays as the caller wrote it.

use bytes::Bytes;

use super::Problem;
use super::json::{Object, quoted, text};

/// The member that names the model, in every dialect.
const MODEL: &str = "model";

/// What a body becomes that names no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// It names it as its first member.
    Names,
    /// It stays so.
    Stays,
}

/// What an edit took out of a body, so that the body can be had again without a second copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where, in bytes.
    at: usize,
    /// How many bytes stand there now.
    len: usize,
    /// What stood there, as it was written.
    was: Box<[u8]>,
}

impl Edit {
    /// The body as it was, from what it became.
    pub(crate) fn undo(&self, body: &[u8]) -> Bytes {
        spliced(body, self.at, self.len, &self.was).into()
    }
}

/// The body with this model, and what was changed; `None` if it has it already.
///
/// # Errors
/// A [`Problem`] with status 400 for a body that names its model more than once, however the member's name is written: nobody
/// could tell which one counts. And for what is no JSON object, which was refused before.
pub(crate) fn rename(body: &[u8], model: &str, unnamed: Unnamed) -> Result<Option<(Bytes, Edit)>, Problem> {
    let no_object = || Problem::invalid("The body of your request must be a JSON object.");
    let json = std::str::from_utf8(body).map_err(|_| no_object())?;
    let object = Object::parse(json).ok_or_else(no_object)?;
    let mut named = object.iter().filter(|member| member.key == MODEL).map(|member| member.value);
    let (at, len, new) = match (named.next(), named.next()) {
        (Some(_), Some(_)) => return Err(Problem::invalid("Your request names its 'model' more than once.")),
        (Some(value), None) if text(value).is_some_and(|value| value == model) => return Ok(None),
        // The value is a slice of the body, so that the distance of their addresses is an offset.
        (Some(value), None) => {
            ((value.as_ptr() as usize).saturating_sub(json.as_ptr() as usize), value.len(), quoted(model))
        }
        (None, _) if unnamed == Unnamed::Stays => return Ok(None),
        (None, _) => {
            let comma = if object.iter().next().is_some() { "," } else { "" };
            // An object begins with its brace; before it there can only be white space.
            let at = json.find('{').ok_or_else(no_object)? + 1;
            (at, 0, format!("\"{MODEL}\":{}{comma}", quoted(model)))
        }
    };
    let edit = Edit { at, len: new.len(), was: body[at..at + len].into() };
    Ok(Some((spliced(body, at, len, new.as_bytes()).into(), edit)))
}

/// The bytes with others in place of `len` of them from `at` on.
fn spliced(bytes: &[u8], at: usize, len: usize, new: &[u8]) -> Vec<u8> {
    let (before, rest) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    [before, new, rest.get(len..).unwrap_or_default()].concat()
}

#[cfg(test)]
mod tests;
