//! What a single call looks like: operation, model, size, duration and outcome.

use crate::{
    dice::Dice,
    records::call::Call,
    tenant::{Account, Deployment, Work},
    text::{Address, MILLISECOND, SECOND, Ticks},
};

/// Operations that are about no model, and whether they log how the answer is streamed.
const MANAGEMENT: [(&str, bool); 14] = [
    ("Models_List", true),
    ("Files_Upload", true),
    ("Files_List", true),
    ("Files_Delete", true),
    ("FineTuning_CreateJob", true),
    ("Deployments_Create", true),
    ("Deployments_Delete", true),
    ("Batch_Create", true),
    ("Create_Assistant", false),
    ("Delete_Assistant", false),
    ("Create_Thread", false),
    ("Create_Vector_Store", false),
    ("Get_Run", false),
    ("List_Messages", false),
];

const API_NAMES: [&str; 4] = [
    "Azure OpenAI API version 2024-10-21",
    "Azure OpenAI API version 2024-08-01-preview",
    "Azure OpenAI API version 2025-04-01-preview",
    "Azure OpenAI API version 2024-06-01",
];

/// Calls of operations that are about no model.
const MANAGEMENT_SHARE: f64 = 0.004;
/// Calls that are logged with an empty correlation id.
const UNCORRELATED_SHARE: f64 = 0.000_5;
const STREAMING_SHARE: f64 = 0.4;

/// Who a call is by, as far as its record depends on it.
pub(crate) struct Origin<'t> {
    /// Empty for a call with a key.
    pub(crate) object_id: &'t str,
    pub(crate) address: Option<Address>,
    pub(crate) is_authenticated: bool,
    /// Whether calls without a correlation id may occur; they cannot be put together again.
    pub(crate) may_lack_correlation: bool,
    /// The principal, if it keeps to deployments of its own.
    pub(crate) keeps_to: Option<usize>,
}

/// What is asked for and answered.
struct Exchange {
    operation: &'static str,
    deployment: Option<&'static Deployment>,
    streaming: Option<bool>,
    request_bytes: u64,
    response_bytes: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    milliseconds: u64,
}

/// Draws a call that begins at an instant.
pub(crate) fn draw_call<'t>(dice: &mut Dice, account: &Account, origin: &Origin<'t>, at: Ticks) -> Call<'t> {
    let status = if origin.is_authenticated { draw_status(dice) } else { 401 };
    let mut exchange = if dice.chance(MANAGEMENT_SHARE) {
        draw_management(dice)
    } else {
        draw_inference(dice, account, origin.keeps_to)
    };
    if status >= 400 {
        fail(dice, &mut exchange, status);
    }
    let fraction = dice.between(100, MILLISECOND - 100);
    let response_at = at + exchange.milliseconds.cast_signed() * MILLISECOND + fraction;
    let logged_at = (response_at + dice.between(280 * MILLISECOND, 2_900 * MILLISECOND)).floor(MILLISECOND);
    let correlation = dice.guid();
    Call {
        correlation: Some(correlation).filter(|_| !origin.may_lack_correlation || !dice.chance(UNCORRELATED_SHARE)),
        request_at: at,
        response_at,
        enqueued_at: logged_at + -MILLISECOND * dice.between(13, 103),
        logged_at,
        address: origin.address,
        object_id: origin.object_id,
        operation: exchange.operation,
        api_name: API_NAMES[dice.index(API_NAMES.len()).min(dice.index(API_NAMES.len()))],
        deployment: exchange.deployment,
        streaming: exchange.streaming,
        status,
        request_bytes: exchange.request_bytes.cast_signed(),
        response_bytes: exchange.response_bytes.cast_signed(),
        prompt_tokens: exchange.prompt_tokens.cast_signed(),
        completion_tokens: exchange.completion_tokens.cast_signed(),
    }
}

/// The record of a call as it is delivered again: the same call, emitted at another time.
pub(crate) fn deliver_again<'t>(dice: &mut Dice, call: &Call<'t>) -> Call<'t> {
    let delay = dice.between(5_000, 60_000) * MILLISECOND;
    Call { logged_at: call.logged_at + delay, enqueued_at: call.enqueued_at + delay, ..*call }
}

/// The status of a call that was let in.
fn draw_status(dice: &mut Dice) -> u16 {
    match dice.below(1_000) {
        0..955 => 200,
        955..975 => 429,
        975..990 => 400,
        990..995 => 404,
        995..998 => 500,
        _ => 503,
    }
}

fn draw_inference(dice: &mut Dice, account: &Account, keeps_to: Option<usize>) -> Exchange {
    let deployment = account.draw_deployment(keeps_to, dice);
    let request_bytes = dice.skewed(600, 8);
    let prompt_tokens = request_bytes / 5 + 8;
    let exchange = Exchange {
        operation: "ChatCompletions_Create",
        deployment: Some(deployment),
        streaming: Some(dice.chance(STREAMING_SHARE)),
        request_bytes,
        response_bytes: 0,
        prompt_tokens,
        completion_tokens: 0,
        milliseconds: 0,
    };
    let answer = |dice: &mut Dice, least: u64, milliseconds_each: u64| {
        let tokens = dice.skewed(least, 5);
        (tokens, 560 + tokens * 5, dice.skewed(120, 3) + tokens * milliseconds_each)
    };
    match deployment.work {
        Work::Embedding => Exchange {
            operation: "Embeddings_Create",
            streaming: Some(false),
            response_bytes: 16_000 + dice.below(20_000),
            milliseconds: dice.skewed(15, 4),
            ..exchange
        },
        work => {
            let (least, milliseconds_each, operation) = match work {
                Work::Reasoning => (200, 18, "ChatCompletions_Create"),
                Work::Completion => (30, 8, "Completions_Create"),
                Work::Chat | Work::Embedding => (40, 11, "ChatCompletions_Create"),
            };
            let (completion_tokens, bytes, milliseconds) = answer(dice, least, milliseconds_each);
            // The length of a stream is logged as nothing.
            let response_bytes = if exchange.streaming == Some(true) { 0 } else { bytes };
            Exchange { operation, completion_tokens, response_bytes, milliseconds, ..exchange }
        }
    }
}

fn draw_management(dice: &mut Dice) -> Exchange {
    let (operation, logs_streaming) = *dice.pick(&MANAGEMENT);
    Exchange {
        operation,
        deployment: None,
        streaming: logs_streaming.then_some(false),
        request_bytes: if operation == "Files_Upload" { dice.skewed(20_000, 8) } else { dice.below(900) },
        response_bytes: dice.skewed(180, 4),
        prompt_tokens: 0,
        completion_tokens: 0,
        milliseconds: dice.skewed(30, 4),
    }
}

/// An error is answered soon and shortly, streamed or not.
fn fail(dice: &mut Dice, exchange: &mut Exchange, status: u16) {
    exchange.response_bytes = match (status, exchange.streaming) {
        (400, Some(true)) => 259,
        _ => 140 + dice.below(220),
    };
    exchange.prompt_tokens = 0;
    exchange.completion_tokens = 0;
    exchange.milliseconds = dice.skewed(2, 5);
}

/// When each of the calls of an hour begins: in order, evenly, and out of order by some seconds.
pub(crate) fn draw_instant(dice: &mut Dice, hour: Ticks, length: i64, index: u64, count: u64) -> Ticks {
    let even = (u128::from(index) * u128::from(length.unsigned_abs()) + u128::from(dice.below(length.unsigned_abs())))
        / u128::from(count.max(1));
    let even = i64::try_from(even).unwrap_or_default();
    let jitter = dice.between(-20 * SECOND, 20 * SECOND);
    hour + (even + jitter).clamp(0, length - 1)
}
