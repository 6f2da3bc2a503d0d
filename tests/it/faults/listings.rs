//! Listings that fail: a run that does not know what there is commits nothing, and says so.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use whocalled_pipeline::Error;
use whocalled_tests::fault_proxy::{Fault, Request, Rule};

use super::Scene;

/// Whether a request asks for a page of blobs, and not only whether the container is there.
fn lists(request: &Request) -> bool {
    request.lists() && !request.query.contains("maxresults=1")
}

/// A page that names `token` as that of the next.
fn with_next(xml: &str, token: &str) -> String {
    let xml = xml.replace("<NextMarker/>", "").replace("<NextMarker />", "").replace("<NextMarker></NextMarker>", "");
    xml.replace("</EnumerationResults>", &format!("<NextMarker>{token}</NextMarker></EnumerationResults>"))
}

#[tokio::test]
async fn a_listing_that_fails_once_is_asked_again() -> Result<()> {
    let mut scene = Scene::new("lists-once")?;
    scene.fill().await?;
    let statuses = [408, 429, 500, 503].map(Fault::status);
    let broken = [Fault::Reset(300), Fault::Close(300), Fault::Short(300), Fault::Short(0), Fault::HangUp];
    for fault in statuses.into_iter().chain(broken) {
        scene.grow(1, 1).await?;
        scene.proxy.plan(vec![Rule::once(lists, fault)]);
        scene.convert_all().await?;
        assert_eq!(scene.proxy.requests().iter().filter(|it| lists(it)).count(), 2);
    }
    Ok(())
}

/// A listing that goes on failing ends the run after `attempt_count` requests; the lake stays as it
/// was, and the next run finds everything.
async fn check_always(name: &str, fault: Fault, attempt_count: usize) -> Result<()> {
    let mut scene = Scene::new(name)?;
    scene.fill().await?;
    scene.convert_all().await?;
    let before = scene.found().await?;
    for hour in [1, 5] {
        scene.grow(hour, 10).await?;
    }
    scene.proxy.plan(vec![Rule::always(lists, fault)]);
    let ended = scene.convert().await?.finished();
    assert!(matches!(&ended, Err(Error::Archive(_))), "{name}: {ended:?}");
    assert_eq!(scene.proxy.requests().iter().filter(|it| lists(it)).count(), attempt_count, "{name}");
    assert_eq!(scene.found().await?, before, "{name}");
    scene.proxy.plan(Vec::new());
    assert_eq!(scene.convert_all().await?.rows, 20, "{name}");
    Ok(())
}

#[tokio::test]
async fn a_listing_that_goes_on_failing_ends_the_run() -> Result<()> {
    check_always("lists-503", Fault::status(503), 4).await?;
    check_always("lists-cut", Fault::Short(300), 4).await?;
    check_always("lists-closed", Fault::Close(300), 4).await?;
    check_always("lists-412", Fault::status(412), 1).await?;
    check_always("lists-403", Fault::status(403), 1).await
}

#[tokio::test]
async fn page_tokens_that_repeat_are_no_listing_without_end() -> Result<()> {
    check_always("loop-of-one", Fault::edit(|xml| with_next(&xml, "a")), 2).await?;
    let count = AtomicUsize::new(0);
    let in_turn = move |xml: String| with_next(&xml, ["a", "b"][count.fetch_add(1, Ordering::Relaxed) % 2]);
    check_always("loop-of-two", Fault::edit(in_turn), 3).await
}

/// Where the end is missing, so may be blobs, and the token of the next page.
#[tokio::test]
async fn a_listing_without_its_end_is_refused() -> Result<()> {
    let cut = |upto: &'static str| Fault::edit(move |xml| xml[..xml.rfind(upto).unwrap_or(xml.len())].to_owned());
    check_always("ends-before-end", cut("</EnumerationResults>"), 4).await?;
    check_always("ends-before-token", cut("<NextMarker"), 4).await?;
    check_always("ends-before-blob", cut("<Blob>"), 4).await?;
    check_always("ends-within-blob", cut("<Content-Length>"), 4).await
}

/// A blob whose length is not told is not one of length nothing, whose rows would have to go.
#[tokio::test]
async fn a_listing_without_lengths_is_refused() -> Result<()> {
    let unmeasured = |xml: String| xml.replace("Content-Length>", "Content-Size>");
    check_always("lists-no-lengths", Fault::edit(unmeasured), 1).await
}

#[tokio::test]
async fn a_page_that_fails_loses_no_other() -> Result<()> {
    let mut scene = Scene::new("pages")?;
    for hour in 1..=9 {
        scene.grow(hour, 2).await?;
    }
    let later = |request: &Request| lists(request) && request.query.contains("marker=");
    scene.proxy.plan(vec![
        Rule::once(later, Fault::status(503)),
        Rule::once(later, Fault::Short(200)),
        Rule::always(lists, Fault::Query("maxresults=2")),
    ]);
    let receipt = scene.convert_all().await?;
    assert_eq!((receipt.blobs_listed, receipt.rows), (9, 18));
    assert_eq!(scene.proxy.requests().iter().filter(|it| lists(it)).count(), 5 + 2);
    Ok(())
}
