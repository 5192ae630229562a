//! From the bodies at the ingresses to an uploaded file or a creation, in constant memory however large the batch is.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use common::ids::{Bid, ID_LEN, Pid, Rid};
use common::link::{CallError, Link};
use common::records::{CHUNK, RECORD_HEAD};
use common::seal::chunk_aad;
use common::wire;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use prost::Message as _;

use super::calls::{trouble, view};
use super::work::Work;
use crate::api::{ApiError, Kind};
use crate::core::{Granted, JobView, Trouble, TroubleKind};

/// Chunks that are pulled at a time.
const AHEAD: usize = 8;
/// How long one pull waits for its chunk, and how often it is made.
const PATIENCE: Duration = Duration::from_secs(2);
const PULLS: u32 = 5;
/// How often a provider that looks at files first is asked whether it is done, and the pause between two questions: ten minutes.
const READY_LOOKS: u32 = 300;
const READY_AGAIN: Duration = Duration::from_secs(2);

/// The bodies of an ingress cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("ingress {0} does not hand out its bodies")]
struct Lost(Pid);

/// Uploads the lines of a batch. Pulled twice when the lengths of its bodies are not known yet and lines are left out.
pub(super) async fn upload(
    link: &Link,
    work: &Arc<Work>,
    name: &str,
    from: Vec<Granted>,
    except: BTreeSet<Rid>,
) -> Result<String, Trouble> {
    let length = length(work, &from, &except, false);
    let lines = lines(link.clone(), work.clone(), from, except, false);
    let uploaded = work.client.upload(&work.credential, name, length, lines).await;
    let file = uploaded.map_err(|error| failed(work, &error))?;
    ready(work, &file.id).await.map(|()| file.id)
}

/// Waits until a job can be created from a file.
async fn ready(work: &Work, file: &str) -> Result<(), Trouble> {
    for _ in 0..READY_LOOKS {
        let ready = work.client.is_ready(&work.credential, file).await;
        if ready.map_err(|error| failed(work, &error))? {
            return Ok(());
        }
        tokio::time::sleep(READY_AGAIN).await;
    }
    // The file is there, and is found by its name.
    Err(Trouble { kind: TroubleKind::Ambiguous, ..own("the uploaded file does not become ready", true) })
}

/// Creates a job with the lines of a batch in the call.
pub(super) async fn create(
    link: &Link,
    bid: Bid,
    work: &Arc<Work>,
    from: Vec<Granted>,
    except: BTreeSet<Rid>,
) -> Result<JobView, Trouble> {
    let length = length(work, &from, &except, true);
    let bid = bid.to_string();
    let Some(frame) = work.client.provider().create_inline(&work.new_job(&bid)) else {
        return Err(not_inline());
    };
    let elements = lines(link.clone(), work.clone(), from, except, true);
    let created = work.client.create_inline(&work.credential, frame, length, elements).await;
    created.map(view).map_err(|error| failed(work, &error))
}

/// Of a body that ended early, whose it was.
fn failed(work: &Work, error: &ApiError) -> Trouble {
    let mut trouble = trouble(work.client.provider(), error);
    if let Kind::Local(cause) = error.kind() {
        trouble.kind = match cause.downcast_ref() {
            Some(Lost(pid)) => TroubleKind::IngressLost(*pid),
            None => trouble.kind,
        };
    }
    trouble
}

/// The provider's data say that it takes requests inline, and its module does not.
fn not_inline() -> Trouble {
    own("the provider takes no requests inline", false)
}

fn own(message: &str, retryable: bool) -> Trouble {
    Trouble {
        kind: TroubleKind::NotDone,
        retry_after: None,
        retryable,
        file_not_visible: false,
        queue_full: false,
        message: message.into(),
        answer: None,
        status: None,
    }
}

/// The exact length of the file: what a line adds to its body is known, and the bodies are known together.
fn length(work: &Work, from: &[Granted], except: &BTreeSet<Rid>, inline: bool) -> u64 {
    let lengths = work.lengths.lock().unwrap_or_else(PoisonError::into_inner);
    let provider = work.client.provider();
    let (mut total, mut count): (u64, u64) = (0, 0);
    for granted in from {
        let bodies = granted.body_bytes.saturating_sub((granted.rids.len() * RECORD_HEAD) as u64);
        let left_out = granted.rids.iter().enumerate().filter(|(_, rid)| except.contains(rid));
        let length = |(at, rid): (usize, &Rid)| granted.lengths.get(at).or_else(|| lengths.get(rid)).copied();
        let without: u64 = left_out.filter_map(length).map(u64::from).sum();
        let lines = granted.rids.iter().filter(|rid| !except.contains(rid));
        let line = |rid: &Rid| provider.line_len(&work.line(&rid.to_string(), &[], inline), 0);
        let envelopes: usize = lines.inspect(|_| count += 1).map(line).sum();
        // Saturating: the length is an ingress's word, and a wrong one must end this upload, not this process.
        total = bodies.saturating_sub(without).saturating_add(envelopes as u64).saturating_add(total);
    }
    // Elements have commas between them.
    if inline { total.saturating_add(count.saturating_sub(1)) } else { total }
}

/// The file's content, chunk by chunk.
fn lines(
    link: Link,
    work: Arc<Work>,
    from: Vec<Granted>,
    except: BTreeSet<Rid>,
    inline: bool,
) -> impl Stream<Item = Result<Bytes, Lost>> + Send + 'static {
    let except = Arc::new(except);
    let begun = Arc::new(AtomicBool::new(false));
    stream::iter(from).flat_map(move |granted| {
        let (link, work, except, begun) = (link.clone(), work.clone(), except.clone(), begun.clone());
        let chunks = needed(&granted, &except).div_ceil(CHUNK);
        let (ingress, epoch) = (granted.ingress, granted.epoch);
        let mut reader = RecordReader::default();
        let puller = work.clone();
        stream::iter(0..chunks)
            .map(move |seq| pull(link.clone(), puller.clone(), ingress, epoch, seq))
            .buffered(AHEAD)
            .map_ok(move |chunk| {
                let mut out = Vec::with_capacity(chunk.len() * 2);
                let mut seen = HashMap::new();
                reader.push(chunk);
                while let Some((rid, body)) = reader.next_record() {
                    seen.insert(rid, body.len() as u32);
                    if except.contains(&rid) {
                        continue;
                    }
                    if inline && begun.swap(true, Ordering::Relaxed) {
                        out.push(b',');
                    }
                    let id = rid.to_string();
                    work.client.provider().encode_line(&mut out, &work.line(&id, &body, inline));
                }
                work.lengths.lock().unwrap_or_else(PoisonError::into_inner).extend(seen);
                Bytes::from(out)
            })
            .try_filter(|chunk| std::future::ready(!chunk.is_empty()))
    })
}

/// How far the record stream has what is not left out: of a batch that was split, only the beginning.
fn needed(granted: &Granted, except: &BTreeSet<Rid>) -> u64 {
    let Some(last) = granted.rids.iter().rposition(|rid| !except.contains(rid)) else { return 0 };
    if granted.lengths.len() != granted.rids.len() {
        return granted.body_bytes;
    }
    let records = granted.lengths.iter().take(last + 1).map(|length| u64::from(*length) + RECORD_HEAD as u64);
    records.sum::<u64>().min(granted.body_bytes)
}

async fn pull(link: Link, work: Arc<Work>, ingress: Pid, epoch: u32, seq: u64) -> Result<Bytes, Lost> {
    let bid = work.courier.bid();
    let pull = wire::Pull { bid: bid.to_bytes(), epoch, seq }.encode_to_vec();
    let pull = Bytes::from(pull);
    let subject = link.subjects().body(ingress);
    for _ in 0..PULLS {
        let chunk = match link.call(&subject, pull.clone(), PATIENCE).await {
            Ok(answer) => wire::Chunk::decode(answer).ok(),
            Err(CallError::NoResponders) => return Err(Lost(ingress)),
            Err(CallError::Timeout) => None,
            // The bus is away: others cannot hear of it either, so waiting costs nothing.
            Err(CallError::Bus(_)) => {
                tokio::time::sleep(PATIENCE).await;
                None
            }
        };
        let Some(chunk) = chunk.filter(|chunk| chunk.unknown || chunk.seq == seq) else { continue };
        if chunk.unknown {
            return Err(Lost(ingress));
        }
        let aad = chunk_aad(bid, epoch, seq, chunk.last);
        let opened = work.key(ingress).and_then(|key| key.open(&aad, &chunk.sealed).ok());
        return opened.ok_or(Lost(ingress));
    }
    Err(Lost(ingress))
}

/// Puts records together again that chunks have cut.
#[derive(Default)]
pub(crate) struct RecordReader {
    buffer: BytesMut,
}

impl RecordReader {
    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.buffer.extend_from_slice(&chunk);
    }

    pub(crate) fn next_record(&mut self) -> Option<(Rid, Bytes)> {
        let head = self.buffer.get(..RECORD_HEAD)?;
        let rid = Rid::from_slice(&head[..ID_LEN]).ok()?;
        let length = u32::from_be_bytes(head[ID_LEN..].try_into().ok()?) as usize;
        if self.buffer.len() < RECORD_HEAD + length {
            self.buffer.reserve(RECORD_HEAD + length - self.buffer.len());
            return None;
        }
        self.buffer.advance(RECORD_HEAD);
        Some((rid, self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_part_only_the_beginning_is_pulled() {
        let rids = vec![Rid::random(), Rid::random(), Rid::random()];
        let granted = |lengths: &[u32]| Granted {
            ingress: Pid::random(),
            epoch: 1,
            rids: rids.clone(),
            body_bytes: 60 + 3 * RECORD_HEAD as u64,
            lengths: lengths.to_vec(),
            reply_prefix: String::new(),
        };
        let without = |n: &[usize]| n.iter().map(|n| rids[*n]).collect::<BTreeSet<_>>();
        let heads = |n: usize| (n * RECORD_HEAD) as u64;
        let known = granted(&[10, 20, 30]);
        assert_eq!(needed(&known, &without(&[])), 60 + heads(3));
        assert_eq!(needed(&known, &without(&[1, 2])), 10 + heads(1));
        assert_eq!(needed(&known, &without(&[0, 2])), 30 + heads(2));
        assert_eq!(needed(&known, &without(&[0, 1, 2])), 0);
        assert_eq!(needed(&granted(&[]), &without(&[1, 2])), 60 + heads(3));
        assert_eq!(needed(&granted(&[u32::MAX; 3]), &without(&[])), 60 + heads(3), "never beyond the stream");
    }

    #[test]
    fn records_come_whole_however_the_stream_is_cut() {
        let records: Vec<(Rid, Vec<u8>)> = (0..20).map(|n| (Rid::random(), vec![n as u8; n * 7])).collect();
        let mut stream = Vec::new();
        for (rid, body) in &records {
            stream.extend_from_slice(&rid.0);
            stream.extend_from_slice(&(body.len() as u32).to_be_bytes());
            stream.extend_from_slice(body);
        }
        for cut in 1..80 {
            let mut reader = RecordReader::default();
            let mut read = Vec::new();
            for chunk in stream.chunks(cut) {
                reader.push(Bytes::copy_from_slice(chunk));
                read.extend(
                    std::iter::from_fn(|| reader.next_record()).map(|(rid, body)| (rid, body.to_vec())),
                );
            }
            assert_eq!(read, records);
        }
    }
}
