//! The program before an archive that fails: its exit code, its receipt, and no secret anywhere.

use anyhow::{Context as _, Result};
use whocalled_tests::fault_proxy::{Fault, Rule};
use whocalled_tests::program::{Ran, run};

use super::{Scene, reads};

/// Runs `convert` with every log line there is.
fn convert(scene: &Scene) -> Result<Ran> {
    let location = scene.location()?;
    let ran = run(scene.scratch.path(), &["--log", "trace", "convert", &location, "--lake", "lake"]);
    let (_, signature) = location.split_once("sig=").context("a SAS has a signature")?;
    let encoded = signature.split('&').next().unwrap_or(signature);
    let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8()?;
    for output in [&ran.stdout, &ran.stderr] {
        assert!(!output.contains(encoded) && !output.contains(decoded.as_ref()), "the signature is shown");
    }
    Ok(ran)
}

#[tokio::test]
async fn faults_that_pass_are_no_failure_and_show_no_secret() -> Result<()> {
    let mut scene = Scene::new("program-passes")?;
    scene.fill().await?;
    scene.proxy.plan(vec![
        Rule::once(|request| request.lists(), Fault::Short(200)),
        Rule::once(reads(1), Fault::status(503)),
        Rule::once(reads(2), Fault::Reset(1000)),
        Rule::once(reads(3), Fault::Close(1000)),
        Rule::once(reads(4), Fault::HangUp),
    ]);
    let receipt = convert(&scene)?.success().json();
    assert_eq!(receipt["requests"], scene.proxy.requests().len());
    assert_eq!(scene.found().await?, scene.expected());
    Ok(())
}

#[tokio::test]
async fn a_blob_that_fails_is_named_and_makes_the_run_incomplete() -> Result<()> {
    let mut scene = Scene::new("program-incomplete")?;
    scene.fill().await?;
    scene.proxy.plan(vec![Rule::always(reads(1), Fault::status(412))]);
    let ran = convert(&scene)?;
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    let receipt = ran.json();
    assert_eq!(receipt["failures"][0]["blob"], scene.blob(1));
    assert_eq!((receipt["rows"].as_u64(), receipt["bytes_left"]["failed"].as_u64()), (Some(180), Some(scene.bytes(1))));
    assert!(ran.stderr.contains(&format!("failed: blob {} at byte 0", scene.blob(1))), "{}", ran.stderr);

    scene.proxy.plan(Vec::new());
    assert_eq!(convert(&scene)?.success().json()["rows"], 60);
    assert_eq!(scene.found().await?, scene.expected());
    Ok(())
}

#[tokio::test]
async fn an_archive_that_cannot_be_listed_or_denies_a_read_has_an_exit_code_of_its_own() -> Result<()> {
    let mut scene = Scene::new("program-archive")?;
    scene.fill().await?;
    let cut = Fault::edit(|xml| xml.replace("</EnumerationResults>", ""));
    let denied = Fault::Status { status: 403, code: "AuthorizationFailure", headers: Vec::new() };
    let looping = Fault::edit(|xml| {
        let end = xml.find("<NextMarker").unwrap_or(xml.len());
        format!("{}<NextMarker>x</NextMarker></EnumerationResults>", &xml[..end])
    });
    for rule in [
        Rule::always(|request| request.lists() && !request.query.contains("maxresults=1"), looping),
        Rule::always(reads(1), denied),
    ] {
        scene.proxy.plan(vec![rule]);
        let ran = convert(&scene)?;
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains("error: "), "{}", ran.stderr);
    }
    scene.proxy.plan(vec![Rule::once(|request| request.lists(), cut)]);
    convert(&scene)?.success();
    assert_eq!(scene.found().await?, scene.expected());
    Ok(())
}
