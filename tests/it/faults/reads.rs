//! Reads that fail and are made good: again, from the byte that was reached, and no oftener than
//! needed.

use std::time::{Duration, Instant};

use anyhow::Result;
use whocalled_fetch::RetryPolicy;
use whocalled_tests::fault_proxy::{Fault, Rule};

use super::{Scene, part, reads};

/// A blob grows, and its read fails once: it takes two requests, the second from `reached` bytes on.
async fn check_once(name: &str, fault: Fault, reached: u64) -> Result<()> {
    let mut scene = Scene::new(name)?;
    scene.fill().await?;
    scene.convert_all().await?;
    let (position, bytes_before) = (scene.bytes(1), scene.bytes(1) + scene.bytes(4));
    scene.grow(1, 30).await?;
    scene.grow(4, 1).await?;
    scene.proxy.plan(vec![Rule::once(reads(1), fault)]);
    let receipt = scene.convert_all().await?;

    // The last 4096 committed bytes are read again, to see that they are what was committed.
    let (from, to) = (position - 4096, scene.bytes(1));
    assert_eq!(scene.proxy.ranges(&part(1)), [from..to, from + reached..to], "{name}");
    assert_eq!(scene.proxy.ranges(&part(4)).len(), 1, "{name}: one request for a blob that grew");
    let others = scene.proxy.ranges(&part(2)).len() + scene.proxy.ranges(&part(3)).len();
    assert_eq!(others, 0, "{name}: none for one that did not");
    let bytes_wanted = 2 * 4096 + scene.bytes(1) + scene.bytes(4) - bytes_before;
    assert_eq!(receipt.bytes_received, bytes_wanted, "{name}: no byte comes twice");
    assert_eq!(receipt.rows, 31, "{name}");
    Ok(())
}

#[tokio::test]
async fn an_error_is_asked_again() -> Result<()> {
    for status in [408, 429, 500, 502, 503, 504] {
        check_once(&format!("once-{status}"), Fault::status(status), 0).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_ends_early_is_resumed_where_it_ended() -> Result<()> {
    check_once("once-reset", Fault::Reset(1000), 1000).await?;
    check_once("once-reset-at-once", Fault::Reset(0), 0).await?;
    check_once("once-closed", Fault::Close(1000), 1000).await?;
    check_once("once-closed-at-once", Fault::Close(0), 0).await?;
    check_once("once-short", Fault::Short(1000), 1000).await?;
    check_once("once-empty", Fault::Short(0), 0).await
}

#[tokio::test]
async fn a_connection_without_an_answer_is_not_waited_for_for_ever() -> Result<()> {
    check_once("once-hung-up", Fault::HangUp, 0).await?;
    for (name, fault, reached) in [("once-stalled", Fault::Stall(1000), 1000), ("once-silent", Fault::Silence, 0)] {
        let mut scene = Scene::new(name)?;
        scene.policy = RetryPolicy {
            answer_max: Duration::from_secs(2),
            stall_max: Duration::from_secs(2),
            ..scene.policy.clone()
        };
        scene.fill().await?;
        scene.proxy.plan(vec![Rule::once(reads(1), fault)]);
        scene.convert_all().await?;
        assert_eq!(scene.proxy.ranges(&part(1)), [0..scene.bytes(1), reached..scene.bytes(1)], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_always_ends_early_goes_forward_all_the_same() -> Result<()> {
    for (name, fault) in [("always-closed", Fault::Close(700)), ("always-short", Fault::Short(700))] {
        let mut scene = Scene::new(name)?;
        scene.fill().await?;
        scene.proxy.plan(vec![Rule::always(reads(1), fault)]);
        let receipt = scene.convert_all().await?;
        let to = scene.bytes(1);
        let wanted: Vec<_> = (0..to).step_by(700).map(|from| from..to).collect();
        assert_eq!(scene.proxy.ranges(&part(1)), wanted, "{name}");
        assert_eq!(receipt.bytes_received, receipt.bytes_listed, "{name}: no byte comes twice");
    }
    Ok(())
}

#[tokio::test]
async fn the_account_is_left_alone_for_as_long_as_it_asks() -> Result<()> {
    for status in [429, 500, 503] {
        let mut scene = Scene::new(&format!("after-{status}"))?;
        scene.fill().await?;
        let fault = Fault::status(status).with("retry-after", 1);
        scene.proxy.plan(vec![Rule::once(|request| request.lists(), fault.clone()), Rule::once(reads(1), fault)]);
        scene.convert_all().await?;
        let requests = scene.proxy.requests();
        for (index, failed) in requests.iter().enumerate().filter(|(_, it)| it.faulty) {
            let again = requests[index + 1..].iter().find(|it| (&it.path, &it.query) == (&failed.path, &failed.query));
            let again = again.map(|it| it.received_at);
            let until = failed.answered_at.map(|it| it + Duration::from_secs(1));
            assert!(again >= until && until.is_some(), "{status}: {failed:?}");
        }
        assert_eq!(requests.iter().filter(|it| it.faulty).count(), 2);
    }
    Ok(())
}

#[tokio::test]
async fn no_account_may_ask_for_hours() -> Result<()> {
    let mut scene = Scene::new("after-hours")?;
    scene.policy.retry_after_max = Duration::from_millis(200);
    scene.fill().await?;
    let began_at = Instant::now();
    scene.proxy.plan(vec![Rule::once(reads(1), Fault::status(503).with("retry-after", 3600))]);
    scene.convert_all().await?;
    assert!(began_at.elapsed() >= Duration::from_millis(200));
    Ok(())
}

/// A server without ranges: all of the blob, which does where its beginning was asked for.
#[tokio::test]
async fn a_whole_blob_does_for_its_beginning_up_to_the_listed_length() -> Result<()> {
    let mut scene = Scene::new("whole")?;
    scene.fill().await?;
    // As it was listed before its last line and a half.
    let (bytes, listed) = (scene.bytes(1), scene.bytes(1) - 130);
    let (old, new) = (format!("<Content-Length>{bytes}<"), format!("<Content-Length>{listed}<"));
    scene.proxy.plan(vec![
        Rule::always(|request| request.lists(), Fault::edit(move |xml| xml.replacen(&old, &new, 1))),
        Rule::always(reads(1), Fault::Whole),
    ]);
    let receipt = scene.convert().await?.finished()?;
    assert_eq!((receipt.failures.len(), receipt.rows), (0, 4 * 60 - 2), "{receipt:?}");
    assert_eq!(scene.proxy.ranges(&part(1)), [0..listed]);
    assert!(receipt.bytes_received <= receipt.bytes_listed, "no byte past the listed length is read");
    scene.proxy.plan(Vec::new());
    assert_eq!(scene.convert_all().await?.rows, 2);
    Ok(())
}
