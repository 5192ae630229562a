use super::server::{Reply, Seen, Server, ok};
use super::{client, credential};

/// Answers with a page of the batches or files numbered from `newest` down; a number is also its time of creation.
fn page(seen: &Seen, newest: u64) -> Reply {
    let query = seen.line.split_once('?').unwrap().1;
    let query: Vec<_> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    let get = |name| query.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let limit: u64 = get("limit").unwrap().parse().unwrap();
    let from = get("after").map_or(newest, |after| after.parse::<u64>().unwrap() - 1);
    let items: Vec<_> = (1..=from)
        .rev()
        .take(limit as usize)
        .map(|n| {
            format!(
                r#"{{"id":"{n}","created_at":{n},"filename":"f{}","metadata":{{"llmp_bid":"b{}"}}}}"#,
                n % 7,
                n % 7
            )
        })
        .collect();
    ok(&format!(r#"{{"object":"list","data":[{}],"has_more":{}}}"#, items.join(","), from > limit))
}

#[tokio::test]
async fn batches_are_found_newest_first_back_to_the_time_bound() {
    let server = Server::start(|seen| page(seen, 350)).await;
    let client = client(&server.base());
    let ours = |batch: &crate::openai::BatchObject| batch.metadata["llmp_bid"] == "b0";
    let found = client.find_batches(&credential(), 199, ours).await.unwrap();
    let ids: Vec<_> = found.items.iter().map(|batch| batch.id.as_str()).collect();
    let expected: Vec<_> = (199..=350).rev().filter(|n| n % 7 == 0).map(|n| n.to_string()).collect();
    assert_eq!((ids, found.complete), (expected.iter().map(String::as_str).collect(), true));
    // 350..251, 250..151; and 150..51, which is the first page to be too old as a whole.
    assert_eq!(server.seen().len(), 3);
    assert_eq!(server.seen()[1].line, "GET /v1/batches?limit=100&after=251");
    let all = client.find_batches(&credential(), 0, |_| true).await.unwrap();
    assert_eq!((all.items.len(), all.complete), (350, true));
}

#[tokio::test]
async fn files_are_found_by_their_exact_name() {
    let server = Server::start(|seen| page(seen, 1500)).await;
    let found = client(&server.base()).find_files(&credential(), 0, "f3").await.unwrap();
    assert_eq!(found.items.len(), (1..=1500).filter(|n| n % 7 == 3).count());
    assert!(found.complete && found.items.iter().all(|file| file.filename == "f3"));
    let lines: Vec<_> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/files?limit=1000&purpose=batch&order=desc",
            "GET /v1/files?limit=1000&purpose=batch&order=desc&after=501"
        ]
    );
}

#[tokio::test]
async fn an_endless_list_is_not_complete() {
    let endless = Server::start(|seen| {
        ok(&format!(r#"{{"data":[{{"id":"{}","created_at":9}}],"has_more":true}}"#, seen.number))
    })
    .await;
    let found = client(&endless.base()).find_batches(&credential(), 0, |_| true).await.unwrap();
    assert_eq!((found.items.len(), found.complete), (100, false));
    let stuck = Server::start(|_| ok(r#"{"data":[{"id":"x"}],"has_more":true}"#)).await;
    let found = client(&stuck.base()).find_batches(&credential(), 0, |_| true).await.unwrap();
    assert_eq!((found.complete, stuck.seen().len()), (false, 2));
}
