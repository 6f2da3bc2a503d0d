//! A server in front of Azurite that fails as it is told to, and remembers what it was asked.
//!
//! It passes reading requests on, one connection at a time to Azurite, and gives each answer whole
//! or as the first [`Rule`] that fits has it. A SAS stays valid on the way, since it signs the
//! account and not the host.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
};

use crate::http::{Answer, Head};

/// How long a reset waits, since one that overtakes the bytes before it would take them along.
const RESET_DELAY: Duration = Duration::from_millis(100);

/// How a request is made to fail.
#[derive(Clone)]
pub enum Fault {
    /// An error instead of an answer.
    Status {
        /// The HTTP status.
        status: u16,
        /// Azure's error code.
        code: &'static str,
        /// Headers besides.
        headers: Vec<(&'static str, String)>,
    },
    /// The connection is closed without an answer.
    HangUp,
    /// Nothing comes, and the connection stays open.
    Silence,
    /// The connection is reset after so many bytes of the body, of which the header tells all.
    Reset(usize),
    /// The connection is closed after so many bytes of the body, of which the header tells all.
    Close(usize),
    /// Nothing comes after so many bytes of the body, and the connection stays open.
    Stall(usize),
    /// The body is so many bytes, by its own header too, whatever range the answer claims to hold.
    Short(usize),
    /// The whole blob, whatever range was asked for.
    Whole,
    /// Another value for a header of the answer.
    Header(&'static str, String),
    /// The request is passed on with this added to its query.
    Query(&'static str),
    /// Another body.
    Edit(Arc<dyn Fn(String) -> String + Send + Sync>),
    /// The answer comes after `hold`; 503 where more than `in_flight_max` requests were under way when
    /// this one came.
    Busy {
        /// How many requests are borne at the same time.
        in_flight_max: usize,
        /// How long each takes.
        hold: Duration,
    },
}

impl Fault {
    /// An error with the code that Azure gives it.
    pub fn status(status: u16) -> Self {
        let code = match status {
            404 => "BlobNotFound",
            408 => "RequestTimeout",
            412 => "ConditionNotMet",
            416 => "InvalidRange",
            429 => "TooManyRequests",
            503 => "ServerBusy",
            _ => "InternalError",
        };
        Self::Status { status, code, headers: Vec::new() }
    }

    /// The same with a header more, where it is an error.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name, value.to_string()));
        }
        self
    }

    /// Another body than the one that came.
    pub fn edit(edit: impl Fn(String) -> String + Send + Sync + 'static) -> Self {
        Self::Edit(Arc::new(edit))
    }
}

/// A request as the proxy saw it.
#[derive(Debug, Clone)]
pub struct Request {
    /// How many came before it.
    pub number: usize,
    /// `GET`.
    pub method: String,
    /// Container and blob, decoded; a container alone where it is listed; empty for the account.
    pub path: String,
    /// Its query, without the signature.
    pub query: String,
    /// The bytes it asks for.
    pub range: Option<Range<u64>>,
    /// How many requests were under way, it included.
    pub in_flight: usize,
    /// Whether a rule took it.
    pub faulty: bool,
    /// When it came.
    pub received_at: Instant,
    /// When its answer began.
    pub answered_at: Option<Instant>,
    /// The answer's HTTP status.
    pub status: Option<u16>,
}

impl Request {
    /// Whether it reads a blob whose name holds `part`.
    pub fn reads(&self, part: &str) -> bool {
        !self.lists() && self.path.contains(part)
    }

    /// Whether it lists blobs or containers.
    pub fn lists(&self) -> bool {
        self.query.contains("comp=list")
    }

    fn of(head: &Head) -> Self {
        let mut words = head.line.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let (path, query) =
            words.next().map(|target| target.split_once('?').unwrap_or((target, ""))).unwrap_or_default();
        let path = percent_decode_str(path).decode_utf8_lossy();
        let path = path.trim_start_matches('/').split_once('/').map_or("", |(_account, rest)| rest);
        let query: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("sig=")).collect();
        let range = head.header("x-ms-range").or_else(|| head.header("range")).and_then(|range| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
        });
        Self {
            number: 0,
            method,
            path: path.to_owned(),
            query: query.join("&"),
            range,
            in_flight: 0,
            faulty: false,
            received_at: Instant::now(),
            answered_at: None,
            status: None,
        }
    }
}

/// Which requests fail, and how.
pub struct Rule {
    when: Box<dyn Fn(&Request) -> bool + Send>,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// Makes every request fail for which `when` holds.
    pub fn always(when: impl Fn(&Request) -> bool + Send + 'static, fault: Fault) -> Self {
        Self { when: Box::new(when), times: usize::MAX, fault }
    }

    /// Makes the first request fail for which `when` holds.
    pub fn once(when: impl Fn(&Request) -> bool + Send + 'static, fault: Fault) -> Self {
        Self { times: 1, ..Self::always(when, fault) }
    }
}

/// The running proxy. Dropping it ends it.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts a proxy on a free port, in a thread of its own, before the server at `upstream`:
    /// `HOST:PORT`. It passes everything on until it is given rules.
    ///
    /// # Errors
    /// Where there is no port, or no thread.
    pub fn start(upstream: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { upstream: upstream.to_owned(), state: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().spawn(move || {
            // Ends with the listener, which nothing but the machine can break.
            runtime.block_on(serve(listener, serving, stopped)).ok();
        })?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens: `HOST:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Replaces the rules. Of those that fit a request, the first that is not used up takes it.
    pub fn plan(&self, rules: Vec<Rule>) {
        self.shared.state().rules = rules;
    }

    /// What it was asked so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Forgets what it was asked so far.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.forgotten_count += state.requests.len();
        state.requests.clear();
    }

    /// The ranges that were asked for of the blobs whose names hold `part`, in order.
    pub fn ranges(&self, part: &str) -> Vec<Range<u64>> {
        self.requests().into_iter().filter(|it| it.reads(part)).filter_map(|it| it.range).collect()
    }

    /// How many requests were under way at the same time, at the most.
    pub fn in_flight_max(&self) -> usize {
        self.requests().iter().map(|it| it.in_flight).max().unwrap_or_default()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        self.stop.take().map(|stop| stop.send(()));
        self.thread.take().map(thread::JoinHandle::join);
    }
}

struct Shared {
    upstream: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<Request>,
    forgotten_count: usize,
    in_flight: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request, and finds what is to become of it.
    fn receive(&self, head: &Head) -> (Flight<'_>, Option<Fault>) {
        let mut state = self.state();
        state.in_flight += 1;
        let mut request = Request::of(head);
        request.number = state.forgotten_count + state.requests.len();
        request.in_flight = state.in_flight;
        let rule = state.rules.iter_mut().find(|rule| rule.times > 0 && (rule.when)(&request));
        let fault = rule.map(|rule| {
            rule.times -= 1;
            rule.fault.clone()
        });
        request.faulty = fault.is_some();
        let flight = Flight { shared: self, number: request.number, in_flight: request.in_flight, status: None };
        state.requests.push(request);
        (flight, fault)
    }
}

/// A request that is under way, until this is dropped.
struct Flight<'a> {
    shared: &'a Shared,
    number: usize,
    in_flight: usize,
    status: Option<u16>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.in_flight -= 1;
        let index = self.number.checked_sub(state.forgotten_count);
        if let Some(request) = index.and_then(|index| state.requests.get_mut(index)) {
            request.answered_at = Some(Instant::now());
            request.status = self.status;
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return Ok(()),
            // A connection ends as its client likes.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(head) = Head::read(&mut stream).await? {
        if !exchange(&mut stream, head, &shared).await? {
            break;
        }
    }
    Ok(())
}

/// How an answer ends.
enum End {
    Well,
    Reset(usize),
    Close(usize),
    Stall(usize),
}

/// Answers a request; gives whether the connection is good for another.
async fn exchange(stream: &mut BufReader<TcpStream>, mut head: Head, shared: &Shared) -> io::Result<bool> {
    let (mut flight, fault) = shared.receive(&head);
    let ask = async |head: &Head| Answer::ask(&shared.upstream, head).await;
    let mut end = End::Well;
    let mut answer = match fault {
        None => ask(&head).await?,
        Some(Fault::Status { status, code, headers }) => Answer::error(status, code, &headers),
        Some(Fault::HangUp) => return Ok(false),
        Some(Fault::Silence) => {
            closed(stream).await;
            return Ok(false);
        }
        Some(Fault::Reset(after_bytes)) => {
            end = End::Reset(after_bytes);
            ask(&head).await?
        }
        Some(Fault::Close(after_bytes)) => {
            end = End::Close(after_bytes);
            ask(&head).await?
        }
        Some(Fault::Stall(after_bytes)) => {
            end = End::Stall(after_bytes);
            ask(&head).await?
        }
        Some(Fault::Short(bytes)) => {
            let mut answer = ask(&head).await?;
            answer.body.truncate(bytes);
            answer
        }
        Some(Fault::Whole) => {
            head.remove("range");
            head.remove("x-ms-range");
            ask(&head).await?
        }
        Some(Fault::Query(addition)) => {
            head.line = head.line.replace(" HTTP/", &format!("&{addition} HTTP/"));
            ask(&head).await?
        }
        Some(Fault::Header(name, value)) => {
            let mut answer = ask(&head).await?;
            answer.head.set(name, &value);
            answer
        }
        Some(Fault::Edit(edit)) => {
            let mut answer = ask(&head).await?;
            answer.body = edit(String::from_utf8_lossy(&answer.body).into_owned()).into_bytes();
            answer
        }
        Some(Fault::Busy { in_flight_max, hold }) => {
            tokio::time::sleep(hold).await;
            if flight.in_flight > in_flight_max { Answer::error(503, "ServerBusy", &[]) } else { ask(&head).await? }
        }
    };
    flight.status = answer.head.status();
    answer.head.set("content-length", &answer.body.len().to_string());
    let sent_bytes = match end {
        End::Well => answer.body.len(),
        End::Reset(bytes) | End::Close(bytes) | End::Stall(bytes) => bytes.min(answer.body.len()),
    };
    let mut sent = answer.head.to_bytes();
    sent.extend_from_slice(&answer.body[..sent_bytes]);
    if matches!(end, End::Stall(_)) {
        stream.write_all(&sent).await?;
        closed(stream).await;
        return Ok(false);
    }
    // Its sender may go on as soon as it has the answer, and is not to find it under way still.
    drop(flight);
    stream.write_all(&sent).await?;
    if matches!(end, End::Reset(_)) {
        tokio::time::sleep(RESET_DELAY).await;
        stream.get_ref().set_zero_linger()?;
    }
    Ok(matches!(end, End::Well))
}

/// Waits until the client has closed the connection, whatever it sends until then.
async fn closed(stream: &mut BufReader<TcpStream>) {
    let mut bytes = [0; 64];
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}
