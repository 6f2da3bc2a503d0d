//! Many requests and many faults: the client slows down instead of storming, and stops in the end.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use anyhow::Result;
use whocalled_tests::fault_proxy::{Fault, Request, Rule};

use super::Scene;

fn reads(request: &Request) -> bool {
    !request.lists()
}

#[tokio::test]
async fn an_account_that_is_busy_is_asked_less_at_a_time() -> Result<()> {
    let mut scene = Scene::new("busy")?;
    scene.policy.attempt_count_max = 8;
    for hour in 0..120 {
        scene.grow(hour, 1).await?;
    }
    let (in_flight_max, hold) = (4, Duration::from_millis(50));
    scene.proxy.plan(vec![Rule::always(reads, Fault::Busy { in_flight_max, hold })]);
    scene.convert_all().await?;
    let requests = scene.proxy.requests();
    assert!((5..=16).contains(&scene.proxy.in_flight_max()), "it begins with too many");
    // Then it stays about at what is borne, and tries one more now and then.
    let later = requests[requests.len() / 2..].iter();
    assert!(later.clone().all(|it| it.in_flight <= in_flight_max + 1), "{:?}", later.map(|it| it.in_flight).max());
    let refused = requests.iter().filter(|it| it.status == Some(503)).count();
    assert!((1..60).contains(&refused), "{refused} of {} were refused", requests.len());
    Ok(())
}

#[tokio::test]
async fn an_account_that_fails_throughout_is_left_alone() -> Result<()> {
    let mut scene = Scene::new("budget")?;
    scene.policy.budget = 10;
    for hour in 0..30 {
        scene.grow(hour, 1).await?;
    }
    scene.proxy.plan(vec![Rule::always(reads, Fault::status(500))]);
    let ran = scene.convert().await?;
    assert!(ran.receipt.rows == 0 && !ran.receipt.failures.is_empty());
    let error = ran.finished().err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("budget of repetitions"), "{error}");
    let asked = scene.proxy.requests().iter().filter(|it| reads(it)).count();
    assert!(asked <= 30 + 10, "{asked} requests for 30 blobs");
    scene.proxy.plan(Vec::new());
    scene.convert_all().await?;
    Ok(())
}

/// Every request fails with one chance in four, in one of many ways, run after run.
async fn check_chance(seed: u64) -> Result<()> {
    let mut scene = Scene::new(&format!("chance-{seed}"))?;
    let faults = || {
        [
            Fault::status(503),
            Fault::status(500),
            Fault::status(412),
            Fault::status(404),
            Fault::status(416).with("content-range", "bytes */1"),
            Fault::Reset(500),
            Fault::Close(500),
            Fault::Short(500),
            Fault::HangUp,
            Fault::Whole,
            Fault::Header("content-range", "bytes 0-99/100".to_owned()),
        ]
    };
    for round in 0..5 {
        for hour in 0..8 {
            if !(seed + hour + round).is_multiple_of(3) {
                scene.grow(u32::try_from(hour)?, 20).await?;
            }
        }
        let faults = faults();
        let one_in = 4 * faults.len() as u64;
        let rules = (0..).zip(faults).map(|(index, fault)| {
            let chance = move |request: &Request| {
                let mut hasher = DefaultHasher::new();
                (seed, request.number).hash(&mut hasher);
                hasher.finish() % one_in == index
            };
            Rule::always(chance, fault)
        });
        scene.proxy.plan(rules.collect());
        // May end well or not: what it must not do is checked there.
        drop(scene.convert().await?);
    }
    scene.proxy.plan(Vec::new());
    scene.convert_all().await?;
    Ok(())
}

#[tokio::test]
async fn whatever_fails_every_record_is_there_once_in_the_end() -> Result<()> {
    for seed in 1..=3 {
        check_chance(seed).await?;
    }
    Ok(())
}
