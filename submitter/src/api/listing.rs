//! Finding jobs and files of ours in the provider's lists, its only durable memory.

use providers::{Call, Dated, File, Job, Page, Provider, Unreadable};

use super::client::read;
use super::error::ApiError;
use super::{Client, Credential};

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
    /// The jobs that match, created at `created_after` (unix seconds, the provider's clock: leave some slack) or later.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat.
    pub async fn find_jobs(
        &self,
        credential: &Credential,
        created_after: i64,
        matches: impl Fn(&Job) -> bool,
    ) -> Result<Found<Job>, ApiError> {
        let list = List {
            operation: "list batches",
            created_after,
            page: |provider, after| Some(provider.list_jobs(after)),
            read: |provider, body, after| provider.read_jobs(body, after),
        };
        self.find(credential, &list, matches).await
    }

    /// The first page of the list of jobs: whether this credential may have batches. Changes nothing and costs nothing.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat.
    pub async fn first_jobs(&self, credential: &Credential) -> Result<Page<Job>, ApiError> {
        let attempt = self.attempt("list batches", credential);
        let answer = self.answer(&attempt, &self.provider().list_jobs(None)).await?;
        read(&attempt, answer, |body| self.provider().read_jobs(body, None))
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
    ) -> Result<Found<File>, ApiError> {
        let list = List {
            operation: "list files",
            created_after,
            page: |provider, after| provider.list_files(after),
            read: |provider, body, after| provider.read_files(body, after),
        };
        self.find(credential, &list, |file: &File| file.name.starts_with(prefix)).await
    }

    async fn find<T: Dated>(
        &self,
        credential: &Credential,
        list: &List<T>,
        matches: impl Fn(&T) -> bool,
    ) -> Result<Found<T>, ApiError> {
        let attempt = self.attempt(list.operation, credential);
        let mut found = Found { items: Vec::new(), complete: false };
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let Some(call) = (list.page)(self.provider(), after.as_deref()) else {
                // There is nothing of the kind.
                found.complete = true;
                break;
            };
            let answer = self.answer(&attempt, &call).await?;
            let page = read(&attempt, answer, |body| (list.read)(self.provider(), body, after.as_deref()))?;
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
}

struct List<T> {
    operation: &'static str,
    created_after: i64,
    page: fn(&dyn Provider, Option<&str>) -> Option<Call>,
    read: Read<T>,
}

type Read<T> = fn(&dyn Provider, &[u8], Option<&str>) -> Result<Page<T>, Unreadable>;
