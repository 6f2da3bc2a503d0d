//! A storage that fails: each write of a commit in each way that a network or a disk knows.

use std::ops::Range;
use std::{fmt, io};

use bytes::Bytes;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreFactory, StorageConfig, default_logstore, logstore_factories,
    object_store_factories,
};
use deltalake::{DeltaResult, ObjectMeta};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result as StoreResult,
};
use url::Url;

use whocalled_types::ErrorKind;

use super::*;

/// How a write fails.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// It is not made.
    Request,
    /// It is made, and the answer does not arrive.
    Answer,
    /// It is made, the answer does not arrive, and the client's repetition finds the object there.
    AnswerThenRefused,
    /// It is not made, and the system says why.
    Refused(io::ErrorKind),
}

#[derive(Debug, Default)]
struct Network {
    memory: InMemory,
    /// Which write from now on fails, and how.
    loss: Mutex<Option<(usize, Loss)>>,
}

impl Network {
    fn next_loss(&self) -> Option<Loss> {
        let mut armed = self.loss.lock().unwrap();
        match armed.as_mut() {
            Some((0, loss)) => {
                let loss = *loss;
                *armed = None;
                Some(loss)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Lossy(Arc<Network>);

impl fmt::Display for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lossy")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Lossy {
    async fn put_opts(&self, path: &ObjectPath, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let loss = self.0.next_loss();
        let reset = || object_store::Error::Generic { store: "Lossy", source: "connection reset".into() };
        if matches!(loss, Some(Loss::Request)) {
            return Err(reset());
        }
        if let Some(Loss::Refused(kind)) = loss {
            return Err(object_store::Error::Generic { store: "Lossy", source: io::Error::from(kind).into() });
        }
        let is_conditional = options.mode == object_store::PutMode::Create;
        let put = self.0.memory.put_opts(path, payload, options).await?;
        match loss {
            Some(Loss::AnswerThenRefused) if is_conditional => {
                Err(object_store::Error::AlreadyExists { path: path.to_string(), source: "it is there already".into() })
            }
            Some(Loss::Answer) => Err(reset()),
            _ => Ok(put),
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &ObjectPath,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.0.memory.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &ObjectPath, options: GetOptions) -> StoreResult<GetResult> {
        self.0.memory.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &ObjectPath, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.0.memory.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, StoreResult<ObjectPath>>,
    ) -> BoxStream<'static, StoreResult<ObjectPath>> {
        self.0.memory.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.0.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> StoreResult<ListResult> {
        self.0.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> StoreResult<()> {
        self.0.memory.copy_opts(from, to, options).await
    }
}

impl ObjectStoreFactory for Lossy {
    fn parse_url_opts(&self, _: &Url, _: &StorageConfig) -> DeltaResult<(Arc<dyn ObjectStore>, ObjectPath)> {
        Ok((Arc::new(self.clone()), ObjectPath::default()))
    }
}

impl LogStoreFactory for Lossy {
    fn with_options(
        &self,
        prefixed: Arc<dyn ObjectStore>,
        root: Arc<dyn ObjectStore>,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed, root, location, options))
    }
}

/// An empty storage of its own, under a scheme of its own.
fn network(scheme: &str) -> (Arc<Network>, LakeLocation) {
    let lossy = Lossy(Arc::new(Network::default()));
    let url = Url::parse(&format!("{scheme}://")).unwrap();
    object_store_factories().insert(url.clone(), Arc::new(lossy.clone()));
    logstore_factories().insert(url, Arc::new(lossy.clone()));
    (lossy.0, LakeLocation::of_test(Url::parse(&format!("{scheme}://host/lake/")).unwrap()))
}

async fn open_lossy(place: &LakeLocation) -> Result<Lake, Error> {
    Lake::open_or_create(place.clone(), StorageOptions::default(), &specs(), now()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_of_a_commit_may_fail_in_every_way() {
    let (network, place) = network("lossy-commit");
    let mut archive = Archive::of(&[("c/a", 7), ("c/b", 4)]);
    let mut lake = open_lossy(&place).await.unwrap();
    archive.convert(&mut lake).await.unwrap();
    for loss in [Loss::Request, Loss::Answer, Loss::AnswerThenRefused] {
        for write in 0.. {
            archive.grow("c/a", 2);
            archive.replace("c/b", 2);
            *network.loss.lock().unwrap() = Some((write, loss));
            let outcome = archive.convert(&mut lake).await;
            let was_hit = network.loss.lock().unwrap().take().is_none();
            let context = format!("{loss:?} of write {write}: {outcome:?}");
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::Retry, "{context}");
                lake.recover(now()).await.unwrap();
                archive.convert(&mut lake).await.unwrap();
            }
            assert_holds(&lake, &archive).await;
            if matches!(loss, Loss::AnswerThenRefused) {
                assert!(!context.contains("Err"), "a refused repetition is seen through: {context}");
            }
            if !was_hit {
                assert!(write > 5, "a commit makes more writes: {context}");
                break;
            }
        }
    }
    assert_holds(&open_lossy(&place).await.unwrap(), &archive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_more_ends_the_run_and_costs_nothing() {
    for (scheme, refusal, said) in [
        ("lossy-full", io::ErrorKind::StorageFull, "the lake's disk is full"),
        ("lossy-forbidden", io::ErrorKind::PermissionDenied, "the lake cannot be written to"),
    ] {
        let (network, place) = network(scheme);
        let mut archive = Archive::of(&[("c/a", 7), ("c/b", 4)]);
        archive.convert(&mut open_lossy(&place).await.unwrap()).await.unwrap();
        let mut decided = 0;
        for write in 0.. {
            let mut lake = open_lossy(&place).await.unwrap();
            let before = archive.clone();
            archive.grow("c/a", 2);
            archive.replace("c/b", 2);
            *network.loss.lock().unwrap() = Some((write, Loss::Refused(refusal)));
            let outcome = archive.convert(&mut lake).await;
            let was_hit = network.loss.lock().unwrap().take().is_none();
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::Abort, "{error:?}");
                let text = error.to_string();
                assert!(text.contains(said), "{refusal:?} of write {write}: {error:?}");
                // What it says of the batch is what the next reader sees.
                let is_decided = text.contains("is decided and not in every table yet");
                assert!(is_decided != text.contains("nothing of the batch is visible"), "{text}");
                let read = Lake::open(place.clone(), StorageOptions::default()).await.unwrap();
                assert_holds(&read, if is_decided { &archive } else { &before }).await;
                decided += usize::from(is_decided);
                archive.convert(&mut open_lossy(&place).await.unwrap()).await.unwrap();
            }
            if !was_hit {
                assert!(write > 5 && decided > 1, "a commit makes more writes, before and after it decides");
                break;
            }
        }
        assert_holds(&open_lossy(&place).await.unwrap(), &archive).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_is_not_made_on_a_full_disk_and_is_once_there_is_room() {
    for (scheme, write, refusal, said) in [
        ("lossy-new-0", 0, io::ErrorKind::StorageFull, "the lake's disk is full"),
        ("lossy-new-3", 3, io::ErrorKind::QuotaExceeded, "the lake's disk is full"),
        ("lossy-new-9", 9, io::ErrorKind::ReadOnlyFilesystem, "the lake cannot be written to"),
    ] {
        let (network, place) = network(scheme);
        let refuse = |write, refusal| *network.loss.lock().unwrap() = Some((write, Loss::Refused(refusal)));
        refuse(write, refusal);
        let error = open_lossy(&place).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Abort);
        assert!(error.to_string().contains(said), "{error:?}");
        let mut lake = open_lossy(&place).await.unwrap();
        refuse(0, io::ErrorKind::StorageFull);
        let error = lake.put_receipt(now(), "run-1", b"{}").await.unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error:?}");
        let archive = Archive::of(&[("c/a", 7)]);
        archive.convert(&mut lake).await.unwrap();
        assert_holds(&lake, &archive).await;
    }
}
