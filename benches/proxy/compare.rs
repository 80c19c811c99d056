//! The comparison: rounds in which both proxies do the same work one after the other, and the table.

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::Result;
use crate::children::Server;
use crate::load::Callers;
use crate::measure::{Cores, Figures, cpu_time, memory};

/// Connections that send plain requests, each as soon as it can.
const CONNECTIONS: usize = 32;
/// Streams at once.
const STREAMS: usize = 64;
/// Between two chunks of a stream.
const PAUSE: Duration = Duration::from_millis(10);
/// For a process to come to rest before its CPU time is read.
const REST: Duration = Duration::from_millis(30);

const NAMES: [&str; 2] = ["floor", "keymux"];

/// How often, and for how long each time, plain requests are sent. A round's streams take a second.
struct Length {
    rounds: usize,
    span: Duration,
}

const WHOLE: Length = Length { rounds: 16, span: Duration::from_millis(700) };
const QUICK: Length = Length { rounds: 3, span: Duration::from_millis(500) };

/// Compares and prints.
#[expect(clippy::print_stdout, reason = "the table")]
pub(crate) fn run(quick: bool) -> Result<()> {
    let length = if quick { QUICK } else { WHOLE };
    let cores = Cores::divide()?;
    if !cores.are_split() {
        println!("one core only: the load takes time from the proxies; trust the ratios alone");
    }
    cores.use_the_rest()?;
    let mock = Server::role("mock", &PAUSE.as_millis().to_string())?;
    cores.use_that_of_proxies()?;
    let floor = Server::role("floor", &mock.address.to_string())?;
    let keymux = Server::keymux(mock.address)?;
    cores.use_the_rest()?;

    // Made here, so that its threads are on the right cores.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let proxies = [floor, keymux];
    let idle = [memory(proxies[0].id(), "VmRSS")?, memory(proxies[1].id(), "VmRSS")?];
    let rounds = runtime.block_on(rounds(&proxies, &length))?;
    let peak = [memory(proxies[0].id(), "VmHWM")?, memory(proxies[1].id(), "VmHWM")?];
    println!("{}", table(&rounds, idle, peak));
    Ok(())
}

/// What one proxy did in one round.
#[derive(Clone, Copy)]
struct Turn {
    plain: Work,
    stream: Work,
}

#[derive(Clone, Copy)]
struct Work {
    /// CPU time of one request or chunk, in microseconds.
    each: f64,
    /// Requests or chunks a second.
    rate: f64,
    /// The share of its core that the proxy used.
    busy: f64,
}

/// Floor and keymux, round by round. Who begins changes, so that neither always comes second.
async fn rounds(proxies: &[Server; 2], length: &Length) -> Result<Vec<[Turn; 2]>> {
    // Not counted: caches, pools and the clock of the cores come up.
    let warm_up = length.span.div_f64(3.0);
    for proxy in proxies {
        plain(proxy, warm_up).await?;
    }
    let mut rounds = Vec::with_capacity(length.rounds);
    for round in 0..length.rounds {
        let swap = round % 2 == 1;
        let plain = both(proxies, swap, |proxy| plain(proxy, length.span)).await?;
        let stream = both(proxies, swap, streams).await?;
        rounds.push([0, 1].map(|proxy| Turn { plain: plain[proxy], stream: stream[proxy] }));
    }
    Ok(rounds)
}

/// The same work by both, one right after the other: the closer they are, the more of what else the
/// machine does falls out of their ratio.
async fn both<'p, F>(
    [floor, keymux]: &'p [Server; 2],
    swap: bool,
    work: impl Fn(&'p Server) -> F,
) -> Result<[Work; 2]>
where
    F: Future<Output = Result<Work>>,
{
    if swap {
        let keymux = work(keymux).await?;
        return Ok([work(floor).await?, keymux]);
    }
    Ok([work(floor).await?, work(keymux).await?])
}

async fn plain(proxy: &Server, span: Duration) -> Result<Work> {
    let callers = Callers::connect(proxy.address, CONNECTIONS).await?;
    work(proxy, callers.plain(span)).await
}

async fn streams(proxy: &Server) -> Result<Work> {
    let callers = Callers::connect(proxy.address, STREAMS).await?;
    work(proxy, callers.streams(PAUSE)).await
}

/// Does the work and reads what it took the proxy.
async fn work(proxy: &Server, doing: impl Future<Output = Result<u32>>) -> Result<Work> {
    sleep(REST).await;
    let (before, start) = (cpu_time(proxy.id())?, Instant::now());
    let done = f64::from(doing.await?);
    let took = start.elapsed().as_secs_f64();
    sleep(REST).await;
    let used = cpu_time(proxy.id())?.saturating_sub(before).as_secs_f64();
    Ok(Work { each: used * 1e6 / done, rate: done / took, busy: used / took })
}

fn table(rounds: &[[Turn; 2]], idle: [f64; 2], peak: [f64; 2]) -> String {
    let [floor, keymux] = NAMES;
    let count = rounds.len();
    let row = |said: &str, shown: [String; 2], ratio: &str| {
        format!("{said:<38}{:>10}{:>10}   {ratio}\n", shown[0], shown[1])
    };
    let medians = |figure: &dyn Fn(&Turn) -> f64, digits: usize| {
        [0, 1].map(|proxy| {
            let median = rounds.iter().map(|turns| figure(&turns[proxy])).collect::<Figures>();
            format!("{:.digits$}", median.median())
        })
    };
    let ratio = |figure: &dyn Fn(&Turn) -> f64| {
        let ratios: Figures =
            rounds.iter().map(|[floor, keymux]| figure(keymux) / figure(floor)).collect();
        let (least, most) = ratios.range();
        format!("{:.2} ({least:.2} to {most:.2})", ratios.median())
    };
    let memory = |sizes: [f64; 2]| sizes.map(|size| format!("{size:.1}"));
    let [plain, chunk, rate, busy]: [&dyn Fn(&Turn) -> f64; 4] =
        [&|turn| turn.plain.each, &|turn| turn.stream.each, &|turn| turn.plain.rate, &|turn| {
            turn.plain.busy * 100.0
        }];
    [
        row(
            &format!("medians of {count} rounds"),
            [floor, keymux].map(str::to_owned),
            "keymux / floor (range)",
        ),
        row("CPU us a plain request", medians(plain, 1), &ratio(plain)),
        row("CPU us a chunk of a paced stream", medians(chunk, 2), &ratio(chunk)),
        row("plain requests/s, one core", medians(rate, 0), &ratio(rate)),
        row("  % of the core used meanwhile", medians(busy, 0), ""),
        row("resident MiB before the first request", memory(idle), ""),
        row("resident MiB at the most", memory(peak), ""),
    ]
    .concat()
}
