//! Finding batches and files of ours in the provider's lists, its only durable memory.

use super::batch::{BatchObject, FileObject, Object, Page};
use super::error::ApiError;
use super::transport::Call;
use super::{Client, Credential};

/// Items asked for per page of batches, the most there can be.
const BATCHES_PER_PAGE: usize = 100;
/// Items asked for per page of files; ten thousand are allowed, and would be some megabytes.
const FILES_PER_PAGE: usize = 1000;
/// Pages read at most: 10,000 batches, five hours at `OpenAI`'s limit of creations; 100,000 files.
const MOST_PAGES: usize = 100;

/// What was found in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// The matches, newest first.
    pub items: Vec<T>,
    /// Whether the list was read to its end or back to the time bound. If not, what is missing here may still exist.
    pub complete: bool,
}

impl Client {
    /// The batches that match, created at `created_after` (unix seconds, the provider's clock: leave some slack) or later.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat.
    pub async fn find_batches(
        &self,
        credential: &Credential,
        created_after: i64,
        matches: impl Fn(&BatchObject) -> bool,
    ) -> Result<Found<BatchObject>, ApiError> {
        let call = self.call("list batches", credential);
        let list = List { path: "batches", query: &[], per_page: BATCHES_PER_PAGE, created_after };
        self.find(&call, &list, matches).await
    }

    /// The input files whose names begin like this, uploaded at `created_after` (as above) or later.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat.
    pub async fn find_files(
        &self,
        credential: &Credential,
        created_after: i64,
        prefix: &str,
    ) -> Result<Found<FileObject>, ApiError> {
        let call = self.call("list files", credential);
        let query = &[("purpose", "batch"), ("order", "desc")];
        let list = List { path: "files", query, per_page: FILES_PER_PAGE, created_after };
        self.find(&call, &list, |file: &FileObject| file.filename.starts_with(prefix)).await
    }

    async fn find<T: Object>(
        &self,
        call: &Call,
        list: &List<'_>,
        matches: impl Fn(&T) -> bool,
    ) -> Result<Found<T>, ApiError> {
        let mut found = Found { items: Vec::new(), complete: false };
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let page: Page<T> = self.page(call, list, after.as_deref()).await?;
            // Order is not promised: a page ends the search only if all of it is too old.
            let recent = |item: &T| item.created_at().is_none_or(|created| created >= list.created_after);
            let all_old = !page.items.is_empty() && !page.items.iter().any(recent);
            found.items.extend(page.items.into_iter().filter(|item| recent(item) && matches(item)));
            if all_old || page.next.is_none() {
                found.complete = true;
                break;
            }
            if page.next == after {
                break; // A server that ignores `after` would be asked for its first page forever.
            }
            after = page.next;
        }
        Ok(found)
    }

    async fn page<T: Object>(
        &self,
        call: &Call,
        list: &List<'_>,
        after: Option<&str>,
    ) -> Result<Page<T>, ApiError> {
        let mut url = self.url(call, &[list.path])?;
        // Appended in one statement: the serializer must not live across the call, or the future is not Send.
        url.query_pairs_mut()
            .append_pair("limit", &list.per_page.to_string())
            .extend_pairs(list.query)
            .extend_pairs(after.map(|after| ("after", after)));
        let answer = self.get_answer(call, url).await?;
        Page::parse(&answer.body, list.per_page).map_err(|problem| call.unreadable(answer, &problem))
    }
}

struct List<'a> {
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    per_page: usize,
    created_after: i64,
}
