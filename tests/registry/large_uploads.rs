//! Uploads of large blobs that are cut, in front of registries that forget, lie and refuse.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rstest::rstest;
use transship::oci::Descriptor;
use transship::registry::{Access, CHUNK_BYTES};
use transship::transport::{
    BlobError, BlobReader, ByteStream, Destination as _, Placed, RegistryRepository, VerifiedBlob,
};

use crate::support::docker_registry::DockerRegistry;
use crate::support::registry::{Action, Dialect, Endpoint, Recorded, Registry, Rule};
use crate::support::{blob, client, plain, plain_with, repository};

const MIB: usize = 1024 * 1024;
const CHUNK: u64 = CHUNK_BYTES;

/// Content without a pattern that would hide a part in the wrong place.
fn layer(mebibytes: usize) -> Bytes {
    let block: Vec<u8> = (0..=250).cycle().take(MIB).collect();
    let mut content = block.repeat(mebibytes);
    for (number, block) in (0..=u8::MAX).zip(content.chunks_mut(MIB)) {
        block.fill(number);
    }
    content.into()
}

#[derive(Debug)]
struct Memory(Bytes);

impl BlobReader for Memory {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn read(&self, _blob: &Descriptor, offset: u64) -> ByteStream {
        let rest = self.0.slice(usize::try_from(offset).unwrap()..);
        // Pieces that no chunk ends with.
        let pieces = (0..rest.len())
            .step_by(300_000)
            .map(move |at| Ok(rest.slice(at..rest.len().min(at + 300_000))));
        stream::iter(pieces.collect::<Vec<_>>()).boxed()
    }
}

async fn put(
    registry: &Registry,
    content: &Bytes,
    state: Option<&Path>,
) -> Result<Placed, BlobError> {
    put_with(&plain(), registry, content, state).await
}

async fn put_with(
    access: &Access,
    registry: &Registry,
    content: &Bytes,
    state: Option<&Path>,
) -> Result<Placed, BlobError> {
    let mut client = client(registry.host(), access);
    if let Some(directory) = state {
        client = client.saving_uploads_in(directory.to_owned());
    }
    let host = registry.host().parse().unwrap();
    let place = RegistryRepository::new(client, host, repository("app"));
    let content = VerifiedBlob::new(blob(content), Arc::new(Memory(content.clone())));
    place.put_blob(&content, None).await
}

/// Bytes that arrived at the registry beyond those of the blob.
fn sent_twice(registry: &Registry, content: &Bytes) -> u64 {
    let arrived: u64 = registry
        .requests()
        .iter()
        .map(|asked| asked.body_bytes)
        .sum();
    arrived - content.len() as u64
}

fn is_in_place(registry: &Registry, content: &Bytes) -> bool {
    registry.blob("app", &blob(content).digest).as_ref() == Some(content)
}

fn methods(registry: &Registry) -> Vec<Method> {
    let requests = registry.requests().into_iter();
    let uploads = requests.filter(|asked| asked.path.contains("/uploads/"));
    uploads.map(|asked| asked.method).collect()
}

fn ranges(registry: &Registry) -> Vec<String> {
    let range = |asked: &Recorded| asked.header("content-range").map(str::to_owned);
    registry.requests().iter().filter_map(range).collect()
}

fn cut(method: Method, mebibytes: usize) -> Rule {
    Rule::on(Endpoint::Session, Action::CutRequest(mebibytes * MIB)).method(method)
}

fn kept() -> Rule {
    Rule::on(Endpoint::Session, Action::KeepArrived)
}

#[tokio::test]
async fn a_blob_that_is_not_cut_is_one_request() {
    for (mebibytes, state) in [(16, true), (16, false), (20, false)] {
        let (registry, content) = (Registry::start().await, layer(mebibytes));
        let directory = tempfile::tempdir().unwrap();
        let state = state.then_some(directory.path());
        put(&registry, &content, state).await.unwrap();
        assert_eq!(methods(&registry), [Method::POST, Method::PUT]);
        assert!(is_in_place(&registry, &content) && ranges(&registry).is_empty());
    }
}

#[tokio::test]
async fn a_cut_upload_goes_on_with_what_the_registry_lacks() {
    let (registry, content) = (Registry::start().await, layer(40));
    registry.add(kept());
    registry.add(cut(Method::PUT, 20).times(1));
    registry.add(cut(Method::PUT, 5).after(1).times(1));
    put(&registry, &content, None).await.unwrap();
    assert!(is_in_place(&registry, &content));
    assert_eq!(sent_twice(&registry, &content), 0);
    let (post, get, put) = (Method::POST, Method::GET, Method::PUT);
    assert_eq!(
        methods(&registry),
        [post, put.clone(), get.clone(), put.clone(), get, put]
    );
}

#[tokio::test]
async fn chunks_are_acknowledged_one_by_one_when_uploads_are_saved() {
    let (registry, content) = (Registry::start().await, layer(40));
    let directory = tempfile::tempdir().unwrap();
    put(&registry, &content, Some(directory.path()))
        .await
        .unwrap();
    assert!(is_in_place(&registry, &content));
    assert_eq!(
        methods(&registry),
        [Method::POST, Method::PATCH, Method::PATCH, Method::PUT]
    );
    assert_eq!(
        ranges(&registry),
        ["0-16777215", "16777216-33554431", "33554432-41943039"]
    );
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn case_78_a_token_that_expired_during_the_upload_costs_no_byte() {
    let registry = Registry::builder().token("user", "password").start().await;
    let content = layer(20);
    registry.add(kept());
    // The registry looks at the token when everything has arrived.
    let expired = on(Method::PUT, Action::status(401));
    registry.add(expired.when(|asked| asked.header("authorization").is_some()));
    let access = plain_with("user", "password");
    put_with(&access, &registry, &content, None).await.unwrap();

    assert!(is_in_place(&registry, &content));
    assert_eq!(sent_twice(&registry, &content), 0);
    let authorized: Vec<_> = registry
        .requests()
        .into_iter()
        .filter(|asked| {
            asked.endpoint == Endpoint::Session && asked.header("authorization").is_some()
        })
        .map(|asked| {
            (
                asked.method.clone(),
                asked.body_bytes,
                asked.header("authorization").unwrap().to_owned(),
            )
        })
        .collect();
    let size = content.len() as u64;
    let (first, second) = ("Bearer token-1".to_owned(), "Bearer token-2".to_owned());
    assert_eq!(
        authorized,
        [
            (Method::PUT, size, first),
            (Method::GET, 0, second.clone()),
            (Method::PUT, 0, second),
        ]
    );
}

#[tokio::test]
async fn case_78_a_token_that_would_expire_during_the_upload_is_replaced_before() {
    let registry = Registry::builder().token("user", "password").start().await;
    let content = layer(40);
    registry.issue_tokens_for(1.0);
    // More than a quarter of its life goes by before the content is sent.
    let slow = Rule::on(Endpoint::Uploads, Action::Delay(Duration::from_millis(300)));
    registry.add(slow.when(|asked| asked.header("authorization").is_some()));
    let access = plain_with("user", "password");
    put_with(&access, &registry, &content, None).await.unwrap();

    assert!(is_in_place(&registry, &content));
    let tokens: Vec<_> = registry
        .requests()
        .iter()
        .filter(|asked| matches!(asked.endpoint, Endpoint::Uploads | Endpoint::Session))
        .filter_map(|asked| asked.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1]);
}

fn on(method: Method, action: Action) -> Rule {
    Rule::on(Endpoint::Session, action).method(method).times(1)
}

/// Every chunk.
fn patched(action: Action) -> Rule {
    Rule::on(Endpoint::Session, action).method(Method::PATCH)
}

fn lie(method: Method, range: &str) -> Rule {
    on(method, Action::SetHeader("range", range.to_owned()))
}

fn forgotten() -> Action {
    Action::Answer {
        status: 202,
        headers: vec![("range", "0-16777215".to_owned())],
        body: String::new(),
    }
}

#[rstest]
#[case::cut_in_a_chunk(vec![cut(Method::PATCH, 5).after(1).times(1)], 6)]
#[case::cut_in_the_last_chunk(vec![cut(Method::PUT, 5).times(1)], 6)]
#[case::answer_of_a_chunk_lost(vec![on(Method::PATCH, Action::LoseAnswer)], 0)]
#[case::answer_of_the_last_chunk_lost(vec![on(Method::PUT, Action::LoseAnswer)], 0)]
#[case::overloaded(vec![on(Method::PATCH, Action::status(503)).after(1)], 16)]
#[case::token_expired(vec![on(Method::PATCH, Action::status(401)).after(1)], 16)]
#[case::session_lost(vec![on(Method::PATCH, Action::LoseSession).after(1)], 32)]
#[case::chunk_acknowledged_and_forgotten(vec![on(Method::PATCH, forgotten())], 32)]
#[case::case_21_a_chunk_is_not_counted(vec![lie(Method::PATCH, "0-0")], 0)]
#[case::case_22_a_chunk_is_answered_with_201(vec![patched(Action::SetStatus(201))], 0)]
#[case::case_22_a_chunk_is_answered_with_204(vec![patched(Action::SetStatus(204))], 0)]
#[case::case_22_without_a_range(vec![patched(Action::SetStatus(204)), patched(Action::RemoveHeader("range"))], 0)]
#[case::case_22_without_a_location(vec![patched(Action::SetStatus(201)), patched(Action::RemoveHeader("location"))], 0)]
#[case::fewer_bytes_than_there_are(vec![lie(Method::PATCH, "0-1048575")], 16)]
#[case::more_bytes_than_were_sent(vec![lie(Method::PATCH, "0-99999999")], 16)]
#[case::resumed_with_a_lie(
    vec![cut(Method::PATCH, 5).after(1).times(1), lie(Method::GET, "0-99999999999")], 22)]
#[case::resumed_with_another_lie(
    vec![cut(Method::PATCH, 5).after(1).times(1), lie(Method::GET, "0-20971519")], 22)]
#[case::resumed_with_nonsense(
    vec![cut(Method::PATCH, 5).after(1).times(1), lie(Method::GET, "all of it")], 22)]
#[case::case_27_chunks_are_not_supported(
    vec![patched(Action::status(405))], 16)]
#[case::chunks_too_large(
    vec![patched(Action::status(413))], 20)]
#[case::case_23_a_chunk_is_refused(vec![on(Method::PATCH, Action::status(416)).after(1)], 16)]
#[case::case_26_the_last_chunk_wins(vec![on(Method::PATCH, Action::LastChunkWins)], 40)]
#[case::pieces_are_refused_at_the_end(vec![on(Method::PUT, Action::status(400))], 40)]
#[tokio::test]
async fn whatever_happens_to_a_chunk_the_blob_arrives(
    #[case] rules: Vec<Rule>,
    #[case] most_mebibytes_twice: u64,
) {
    let (registry, content) = (Registry::start().await, layer(40));
    for rule in rules {
        registry.add(rule);
    }
    let directory = tempfile::tempdir().unwrap();
    put(&registry, &content, Some(directory.path()))
        .await
        .unwrap();
    assert!(is_in_place(&registry, &content));
    let twice = sent_twice(&registry, &content);
    assert!(
        twice <= most_mebibytes_twice * MIB as u64,
        "{twice} bytes twice: {:#?}",
        methods(&registry)
    );
    assert_eq!(registry.open_sessions("app"), 0);
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

/// What a registry refuses is sent once in vain.
#[rstest]
#[case::case_25_ghcr_takes_whole_blobs_and_small_chunks(Dialect::Ghcr, 0, 16)]
#[case::case_25_acr_takes_chunks_of_any_size(Dialect::Acr, 40, 0)]
#[case::case_25_gar_takes_whole_blobs(Dialect::Gar, 0, 16)]
#[case::case_25_docker_hub_takes_anything(Dialect::DockerHub, 0, 0)]
#[tokio::test]
async fn large_blobs_arrive_whatever_a_registry_takes_at_once(
    #[case] dialect: Dialect,
    #[case] twice_in_one_request: u64,
    #[case] twice_in_chunks: u64,
) {
    for (saves, twice) in [(false, twice_in_one_request), (true, twice_in_chunks)] {
        let registry = Registry::builder().dialect(dialect).start().await;
        let content = layer(40);
        let directory = tempfile::tempdir().unwrap();
        let state = saves.then_some(directory.path());
        put(&registry, &content, state).await.unwrap();
        assert!(is_in_place(&registry, &content));
        assert_eq!(
            sent_twice(&registry, &content),
            twice * MIB as u64,
            "{saves}"
        );
        assert_eq!(registry.open_sessions("app"), 0);
    }
}

#[tokio::test]
async fn the_next_process_goes_on_unless_the_session_is_gone() {
    for gone in [false, true] {
        let (registry, content) = (Registry::start().await, layer(40));
        let directory = tempfile::tempdir().unwrap();
        registry.add(Rule::on(Endpoint::Session, Action::status(503)).method(Method::PUT));
        put(&registry, &content, Some(directory.path()))
            .await
            .unwrap_err();
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);
        registry.clear_rules();
        let before = registry.requests().len();
        if gone {
            registry.add(Rule::on(Endpoint::Session, Action::LoseSession).times(1));
        }
        put(&registry, &content, Some(directory.path()))
            .await
            .unwrap();
        assert!(is_in_place(&registry, &content));
        let requests = registry.requests();
        let sent: u64 = requests
            .iter()
            .skip(before)
            .map(|asked| asked.body_bytes)
            .sum();
        let size = content.len() as u64;
        assert_eq!(sent, if gone { size } else { size - 2 * CHUNK });
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    }
}

/// Gives the first bytes and then nothing more.
#[derive(Debug)]
struct Stalled(Memory, usize);

impl BlobReader for Stalled {
    fn place(&self) -> String {
        self.0.place()
    }

    fn read(&self, blob: &Descriptor, offset: u64) -> ByteStream {
        assert_eq!(offset, 0);
        let start = Memory(self.0.0.slice(..self.1));
        start.read(blob, 0).chain(stream::pending()).boxed()
    }
}

#[rstest]
#[case::between_chunks(32)]
#[case::in_a_chunk(36)]
#[tokio::test]
async fn a_real_registry_takes_chunks_of_two_processes(#[case] mebibytes: usize) {
    let (registry, content) = (DockerRegistry::plain(), layer(40));
    let directory = tempfile::tempdir().unwrap();
    let client = client(registry.host(), &plain()).saving_uploads_in(directory.path().to_owned());
    let host = registry.host().parse().unwrap();
    let place = RegistryRepository::new(client, host, repository("app"));
    let first = Stalled(Memory(content.clone()), mebibytes * MIB);
    let first = VerifiedBlob::new(blob(&content), Arc::new(first));
    let acknowledged = async {
        loop {
            let mut files = directory.path().read_dir().unwrap().flatten();
            let states = files.find_map(|file| std::fs::read_to_string(file.path()).ok());
            if states.is_some_and(|state| state.contains("\"acknowledged\":33554432")) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    // Whoever is dropped leaves the session as a process that is killed does.
    tokio::select! {
        put = place.put_blob(&first, None) => panic!("it has not got all bytes: {put:?}"),
        () = acknowledged => {}
    }
    let again = VerifiedBlob::new(blob(&content), Arc::new(Memory(content.clone())));
    place.put_blob(&again, None).await.unwrap();
    assert!(place.has_blob(again.descriptor()).await.unwrap());
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn damaged_content_is_not_left_behind() {
    let (registry, content) = (Registry::start().await, layer(40));
    let directory = tempfile::tempdir().unwrap();
    let mut damaged = content.to_vec();
    damaged[17 * MIB] ^= 1;
    let client = client(registry.host(), &plain()).saving_uploads_in(directory.path().to_owned());
    let host = registry.host().parse().unwrap();
    let place = RegistryRepository::new(client, host, repository("app"));
    let damaged = VerifiedBlob::new(blob(&content), Arc::new(Memory(damaged.into())));
    let error = place.put_blob(&damaged, None).await.unwrap_err();
    assert!(matches!(error, BlobError::Source(_)), "{error:?}");
    assert_eq!(registry.open_sessions("app"), 0);
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn case_24_chunks_are_as_large_as_the_registry_wants() {
    let (registry, content) = (Registry::start().await, layer(40));
    let least = (20 * MIB).to_string();
    registry.add(
        Rule::on(
            Endpoint::Uploads,
            Action::SetHeader("oci-chunk-min-length", least),
        )
        .method(Method::POST),
    );
    let directory = tempfile::tempdir().unwrap();
    put(&registry, &content, Some(directory.path()))
        .await
        .unwrap();
    assert!(is_in_place(&registry, &content));
    let requests = registry.requests();
    let chunk = requests.iter().find(|asked| asked.method == Method::PATCH);
    assert!(chunk.unwrap().body_bytes >= 20 * MIB as u64);
}
