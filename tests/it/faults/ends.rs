//! Reads that go on failing: the blob is named and left, the others are committed, and the next
//! run completes what is missing.

use std::time::Duration;

use anyhow::{Context as _, Result};
use whocalled_pipeline::FindingKind;
use whocalled_tests::fault_proxy::{Fault, Request, Rule};

use super::{Scene, part, reads};

/// One blob of four fails for as long as the rule is there, and is asked for `attempt_count` times.
async fn check_always(name: &str, fault: Fault, attempt_count: usize) -> Result<()> {
    let mut scene = Scene::new(name)?;
    scene.policy.answer_max = Duration::from_secs(2);
    scene.policy.stall_max = Duration::from_secs(2);
    scene.fill().await?;
    scene.convert_all().await?;
    let position = scene.bytes(1);
    for hour in [1, 2, 4, 5] {
        scene.grow(hour, 10).await?;
    }
    scene.proxy.plan(vec![Rule::always(reads(1), fault)]);
    let receipt = scene.convert().await?.finished().with_context(|| format!("{name} ends the run"))?;
    let failed: Vec<_> = receipt.failures.iter().map(|it| (it.blob.as_str(), it.position)).collect();
    assert_eq!(failed, [(scene.blob(1).as_str(), position)], "{name}");
    assert!(!receipt.failures[0].reason.contains("PT1H.json?"), "{name}: {}", receipt.failures[0].reason);
    assert_eq!(receipt.bytes_left.failed, scene.bytes(1) - position, "{name}");
    assert_eq!(receipt.rows, 30, "{name}: the others are there");
    assert_eq!(scene.proxy.ranges(&part(1)).len(), attempt_count, "{name}");

    scene.proxy.plan(Vec::new());
    assert_eq!(scene.convert_all().await?.rows, 10, "{name}");
    assert_eq!(scene.proxy.requests().iter().filter(|it| !it.lists()).count(), 1, "{name}: only what was missing");
    Ok(())
}

#[tokio::test]
async fn an_error_that_stays_is_asked_a_bounded_number_of_times() -> Result<()> {
    for status in [408, 429, 500, 503] {
        check_always(&format!("always-{status}"), Fault::status(status), 4).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_error_that_will_stay_is_asked_once() -> Result<()> {
    for status in [400, 409, 412] {
        check_always(&format!("always-{status}"), Fault::status(status), 1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_never_begins_is_given_up() -> Result<()> {
    check_always("always-reset", Fault::Reset(0), 4).await?;
    check_always("always-closed-at-once", Fault::Close(0), 4).await?;
    check_always("always-empty", Fault::Short(0), 4).await?;
    check_always("always-stalled", Fault::Stall(0), 4).await
}

#[tokio::test]
async fn a_blob_whose_connection_is_always_closed_ends_no_run() -> Result<()> {
    check_always("always-hung-up", Fault::HangUp, 4).await
}

#[tokio::test]
async fn a_blob_that_is_never_answered_ends_no_run() -> Result<()> {
    check_always("always-silent", Fault::Silence, 4).await
}

#[tokio::test]
async fn an_answer_to_another_question_is_refused() -> Result<()> {
    let range = |text: &str| Fault::Header("content-range", text.to_owned());
    check_always("range-of-beginning", range("bytes 0-9999/10000"), 1).await?;
    check_always("range-of-end", range("bytes 9000-9999/10000"), 1).await?;
    check_always("range-overflows", range("bytes 0-18446744073709551615/18446744073709551615"), 1).await?;
    // What cannot be understood may have been garbled on the way, and is asked again.
    check_always("range-of-nothing", range("bytes"), 4).await?;
    check_always("range-of-words", range("lines one-two/three"), 4).await?;
    check_always("range-ignored", Fault::Whole, 1).await
}

/// What was listed and is not there any more: no run could read it, so that it is no failure.
async fn check_gone(name: &str, fault: Fault) -> Result<()> {
    let mut scene = Scene::new(name)?;
    scene.fill().await?;
    scene.proxy.plan(vec![Rule::always(reads(1), fault)]);
    let receipt = scene.convert().await?.finished()?;
    assert_eq!((receipt.failures.len(), receipt.rows), (0, 180), "{name}: {receipt:?}");
    assert_eq!(receipt.bytes_left.gone, scene.bytes(1), "{name}");
    let findings: Vec<_> = receipt.findings.iter().map(|it| (it.blob.clone(), it.kind)).collect();
    assert_eq!(findings, [(scene.blob(1), FindingKind::Gone)], "{name}");
    assert_eq!(scene.proxy.ranges(&part(1)).len(), 1, "{name}: it is asked for once");
    scene.proxy.plan(Vec::new());
    assert_eq!(scene.convert_all().await?.rows, 60, "{name}");
    Ok(())
}

#[tokio::test]
async fn a_blob_that_goes_between_listing_and_read_is_a_finding() -> Result<()> {
    check_gone("gone", Fault::status(404)).await?;
    check_gone("cut", Fault::status(416).with("content-range", "bytes */17")).await?;
    check_gone("shorter", Fault::Header("content-range", "bytes 0-16/17".to_owned())).await
}

/// A blob is read in segments, and the third fails: the first two are kept, and not read again.
#[tokio::test]
async fn what_came_before_the_failure_is_kept() -> Result<()> {
    let mut scene = Scene::new("segments")?;
    scene.limits.segment_bytes_max = 8192;
    scene.fill().await?;
    scene.grow(1, 300).await?;
    let third =
        |request: &Request| reads(1)(request) && request.range.as_ref().is_some_and(|range| range.end > 2 * 8192);
    scene.proxy.plan(vec![Rule::always(third, Fault::status(503))]);
    let receipt = scene.convert().await?.finished()?;
    let position = receipt.failures.first().map(|it| it.position).unwrap_or_default();
    let text = &scene.blobs[&1];
    let complete = text[..2 * 8192].rfind('\n').map_or(0, |at| at as u64 + 1);
    assert_eq!((receipt.failures.len(), position), (1, complete), "{receipt:?}");
    assert_eq!(receipt.bytes_left.failed, scene.bytes(1) - complete);
    assert_eq!(scene.proxy.ranges(&part(1)).len(), 2 + 4);

    scene.proxy.plan(Vec::new());
    scene.convert_all().await?;
    assert_eq!(scene.proxy.ranges(&part(1)).first().map(|it| it.start), Some(complete - 4096));
    Ok(())
}
