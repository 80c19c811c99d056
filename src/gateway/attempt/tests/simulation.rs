//! Many small random worlds, each from a seed: keys that fail and recover, concurrent requests, disconnects,
//! reloads that change no key. The invariants in each of them:
//!
//! 1. No key is tried too soon: after a 401, a 402 or a 429, the key (or the key with the model) cools down for
//!    as long as the table or the provider requires.
//! 2. The first request after that is alone until its response has arrived, or its caller has disconnected.
//! 3. A request tries a key once; twice if it is the only one, or after a wait.
//! 4. A request takes no longer than its attempts and its waits. A refusal has a `retry-after`.
//! 5. Attempts after a provider failure stay within the retry budget, over any span of time.
//! 6. While a working key is available, a single request succeeds, unless the retry budget is exhausted.
//! 7. When all keys work again, every request succeeds after the longest cooldown at most.
//! 8. Where keys have limits, none has more requests at once or in any 60 seconds than they allow, and at
//!    the end all permits are released.

use std::collections::HashMap;
use std::ops::Range;

use super::*;
use crate::keys::KeyState;

/// Random numbers from a seed (xorshift64*: Marsaglia 2003, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn place(&mut self, of: usize) -> usize {
        usize::try_from(self.roll(u64::try_from(of).expect("few"))).expect("few")
    }
}

const MODELS: [&str; 2] = ["m", "n"];
const STATUSES: [u16; 9] = [200, 200, 200, 200, 401, 402, 429, 500, 503];
/// The keys of each shape, with their weights.
const SHAPES: [&[&str]; 5] =
    [&["a"], &["a", "b"], &["a=3", "b=0"], &["a=2", "b", "c=0"], &["a", "b", "c=5", "d"]];
const FLOOR: u32 = 3;
/// The limits of each key in worlds that have them.
const AT_ONCE: u32 = 2;
const RPM: u32 = 10;
/// The longest time of a response.
const SLOW: u64 = 900;

/// The behaviour of a key with a model.
#[derive(Clone, Copy)]
struct Behaviour {
    status: u16,
    millis: u64,
    /// Milliseconds of its `retry-after-ms`; 0: it has none.
    hint: u64,
}

const WELL: Behaviour = Behaviour { status: 200, millis: 0, hint: 0 };

/// By key and model.
type Behaviours = Arc<Mutex<HashMap<(String, String), Behaviour>>>;

/// The kind of a world: the index in [`SHAPES`], and true if its keys have limits.
type Shape = (usize, bool);

/// Unused configurations of each shape, for reuse: loading one takes longer than a world.
#[derive(Default)]
struct Shelf(HashMap<Shape, Vec<Config>>);

impl Shelf {
    fn take(&mut self, shape: Shape) -> Config {
        self.0.entry(shape).or_default().pop().unwrap_or_else(|| {
            let keys = provider("p", "", SHAPES[shape.0]);
            let mut config = load(&format!("[retry]\nfloor_per_second = {FLOOR}\n{keys}"));
            for key in config.providers[0].keys.iter_mut().filter(|_| shape.1) {
                let key = Arc::get_mut(key).expect("nobody else has it yet");
                (key.max_concurrent, key.rpm) = (Some(AT_ONCE), Some(RPM));
            }
            config
        })
    }

    fn put(&mut self, shape: Shape, config: Option<Config>) {
        self.0.entry(shape).or_default().extend(config);
    }
}

struct Simulation<'s> {
    shelf: &'s mut Shelf,
    shape: Shape,
    world: World,
    behaviours: Behaviours,
    dice: Dice,
    /// The times of the requests.
    came: Vec<Instant>,
}

impl<'s> Simulation<'s> {
    fn new(seed: u64, shelf: &'s mut Shelf) -> Self {
        let mut dice = Dice::new(seed);
        let shape = (dice.place(SHAPES.len()), dice.roll(2) == 0);
        let behaviours = Behaviours::default();
        let shared = behaviours.clone();
        let world = World::with_config(shelf.take(shape), move |received| {
            let behaviour = behaviour(&shared, &received.key, &received.model);
            later(
                behaviour.millis,
                match behaviour {
                    Behaviour { status: 200, .. } => succeeds(),
                    Behaviour { status: 429, hint: 1.., .. } => throttles(behaviour.hint),
                    Behaviour { status, .. } => fails(status),
                },
            )
        });
        Self { shelf, shape, world, behaviours, dice, came: Vec::new() }
    }

    async fn run(mut self) {
        for _ in 0..40 {
            match self.dice.roll(10) {
                0 | 1 => self.change(),
                2 => self.reload(),
                3 => sleep(Duration::from_millis(self.dice.roll(2000))).await,
                4 => sleep(Duration::from_millis(self.dice.roll(30_000))).await,
                5 => sleep(Duration::from_secs(self.dice.roll(900))).await,
                6 => self.leaves().await,
                7 | 8 => self.one().await,
                _ => self.storm().await,
            }
        }
        let received = self.world.received();
        rests_are_kept(&received);
        budget_is_kept(&received, &self.came);
        if self.shape.1 {
            limits_are_kept(&received);
        }
        self.recovers().await;
        assert!(self.world.live.gateway().keys().all(|each| each.concurrency.in_use() == 0), "8");
        let gateway = Arc::into_inner(self.world.live).map(|live| live.current.into_inner());
        let gateway = gateway.and_then(Arc::into_inner);
        self.shelf.put(self.shape, gateway.map(|gateway| gateway.config));
    }

    /// Changes the behaviour of some keys.
    fn change(&mut self) {
        let mut behaviours = self.behaviours.lock().expect("behaviours");
        for key in SHAPES[self.shape.0] {
            for model in MODELS {
                let status = STATUSES[self.dice.place(STATUSES.len())];
                let hint = self.dice.roll(2) * (100 + self.dice.roll(5000));
                let behaviour = Behaviour { status, millis: self.dice.roll(SLOW), hint };
                let name = key.split('=').next().unwrap_or_default().to_owned();
                behaviours.insert((name, model.to_owned()), behaviour);
            }
        }
    }

    /// Reloads the same keys in another order.
    fn reload(&mut self) {
        let mut config = self.shelf.take(self.shape);
        let keys = &mut config.providers[0].keys;
        let by = self.dice.place(keys.len());
        keys.rotate_left(by);
        let before = self.world.apply(config);
        self.shelf.put(self.shape, before);
    }

    fn model(&mut self) -> &'static str {
        MODELS[self.dice.place(MODELS.len())]
    }

    /// A caller that disconnects.
    async fn leaves(&mut self) {
        let model = format!("p/{}", self.model());
        let patience = Duration::from_millis(self.dice.roll(SLOW));
        self.came.push(Instant::now());
        let _ = tokio::time::timeout(patience, self.world.request(&model)).await;
    }

    /// Many concurrent requests.
    async fn storm(&mut self) {
        let model = self.model();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..2 + self.dice.roll(10) {
            self.came.push(Instant::now());
            let (world, model) = (self.world.clone(), format!("p/{model}"));
            tasks.spawn(async move { world.request(&model).await });
        }
        for reply in tasks.join_all().await {
            is_refused_well(&reply);
        }
    }

    /// A single request.
    async fn one(&mut self) {
        let model = self.model();
        let before = self.key_states(model);
        let from = self.world.received().len();
        self.came.push(Instant::now());
        let reply = self.world.request(&format!("p/{model}")).await;
        let received = self.world.received().split_off(from);
        is_refused_well(&reply);

        let spans = received.iter().map(|each| each.ended.expect("over") - each.at);
        let waited = reply.took.saturating_sub(spans.sum());
        assert!(waited <= Duration::from_secs(2), "4: {waited:?} {received:?}");
        let mut keys: Vec<&str> = received.iter().map(|each| &*each.key).collect();
        if keys.len() > 1 && keys[0] == keys[1] && is_trouble(&received[0]) {
            keys.remove(0);
        }
        keys.sort_unstable();
        let repeated = keys.windows(2).any(|pair| pair[0] == pair[1]);
        assert!(!repeated || waited > Duration::ZERO, "3: {received:?}");

        let spent = reply.status >= 500 && received.last().is_some_and(is_trouble);
        let well = |key: &str| behaviour(&self.behaviours, key, model).status == 200;
        if before.iter().any(|(key, state)| state.is_usable() && well(key)) && !spent {
            assert_eq!(reply.status, 200, "6: {before:?} {received:?}");
        }
    }

    /// Returns the state of each key with a model.
    fn key_states(&self, model: &str) -> Vec<(String, KeyState)> {
        let (gateway, now) = (self.world.live.gateway(), Instant::now().into_std());
        let states =
            gateway.keys().map(|each| (each.key.name.to_string(), each.state(model, 1, now)));
        states.collect()
    }

    async fn recovers(&self) {
        self.behaviours.lock().expect("behaviours").clear();
        sleep(Duration::from_secs(3600)).await;
        for _ in 0..4 {
            for model in MODELS {
                let reply = self.world.request(&format!("p/{model}")).await;
                assert_eq!((reply.status, reply.took), (200, Duration::ZERO), "7: {reply:?}");
            }
        }
    }
}

fn behaviour(behaviours: &Behaviours, key: &str, model: &str) -> Behaviour {
    let behaviours = behaviours.lock().expect("behaviours");
    behaviours.get(&(key.to_owned(), model.to_owned())).copied().unwrap_or(WELL)
}

fn status(received: &Received) -> Option<u16> {
    received.response.map(|(status, _)| status)
}

fn is_trouble(received: &Received) -> bool {
    status(received).is_some_and(|status| status >= 500)
}

/// Checks invariant 4.
fn is_refused_well(reply: &Reply) {
    if reply.refusal.is_some() {
        assert!(matches!(reply.status, 429 | 503), "4: {reply:?}");
        let after: u64 = reply.header("retry-after").expect("when").parse().expect("seconds");
        assert!((1..=60).contains(&after), "4: {reply:?}");
    }
}

/// Checks invariants 1 and 2.
fn rests_are_kept(received: &[Received]) {
    for (place, failed) in received.iter().enumerate() {
        let Some((code, hint)) = failed.response else { continue };
        let (whole_key, rest) = match code {
            401 => (true, Duration::from_secs(300)),
            402 => (true, Duration::from_secs(600)),
            429 => (false, hint.unwrap_or(Duration::from_secs(10))),
            _ => continue,
        };
        let over = failed.ended.expect("over");
        let same = |other: &&Received| {
            other.key == failed.key && (whole_key || other.model == failed.model)
        };
        // A successful probe that was in flight ends the cooldown.
        let cleared = received.iter().enumerate().filter(|(at, _)| *at != place).any(|(_, own)| {
            let says_well =
                matches!(status(own), Some(200)) || whole_key && status(own) == Some(429);
            own.key == failed.key && own.at <= over && own.ended >= Some(over) && says_well
        });
        let mut later = received.iter().filter(same).filter(|each| each.at > over);
        let Some(probe) = later.next().filter(|_| !cleared) else { continue };
        assert!(probe.at >= over + rest, "1: {probe:?} after {failed:?}");
        // A state that was not used for an hour is forgotten, and needs no probe.
        let forgotten = probe.at - over > rest + Duration::from_secs(3600);
        if let Some(next) = later.next().filter(|_| !forgotten) {
            assert!(Some(next.at) >= probe.ended, "2: {next:?} beside {probe:?}");
        }
    }
}

/// Checks invariant 5.
fn budget_is_kept(received: &[Received], came: &[Instant]) {
    let mut latest: HashMap<&str, &Received> = HashMap::new();
    let mut paid = Vec::new();
    for own in received {
        if latest.insert(&own.request, own).is_some_and(is_trouble) {
            paid.push(own.at);
        }
    }
    for (from, first) in paid.iter().enumerate() {
        for (count, last) in paid[from..].iter().enumerate() {
            let requests = came.iter().filter(|at| (first..=last).contains(at)).count();
            let requests = f64::from(u32::try_from(requests).expect("few"));
            let floor = f64::from(FLOOR);
            let most = floor * (1.0 + (*last - *first).as_secs_f64()) + 0.2 * requests;
            let count = f64::from(u32::try_from(count).expect("few")) + 1.0;
            assert!(count <= most + 0.01, "5: {count} of {most}");
        }
    }
}

/// Checks invariant 8.
fn limits_are_kept(received: &[Received]) {
    for key in ["a", "b", "c", "d"] {
        let own: Vec<&Received> = received.iter().filter(|each| each.key == key).collect();
        for one in &own {
            let under_way = |other: &&&Received| other.at <= one.at && other.ended > Some(one.at);
            let at_once = own.iter().filter(under_way).count();
            assert!(at_once <= AT_ONCE as usize, "8: {at_once} beside {one:?}");
        }
        for few in own.windows(RPM as usize + 1) {
            let within = few[RPM as usize].at - few[0].at;
            assert!(within > Duration::from_secs(60), "8: {} in {within:?}", few.len());
        }
    }
}

fn simulate(seeds: Range<u64>) {
    let mut shelf = Shelf::default();
    for seed in seeds {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        let world = std::panic::AssertUnwindSafe(|| {
            runtime.block_on(Simulation::new(seed, &mut shelf).run());
        });
        if let Err(panic) = std::panic::catch_unwind(world) {
            println!("it was seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// `KEYMUX_SEEDS` sets the number, for a longer run by hand.
#[test]
fn invariants_hold_in_thousands_of_random_worlds() {
    let seeds = std::env::var("KEYMUX_SEEDS").ok().and_then(|text| text.parse().ok());
    let half = seeds.unwrap_or(2000) / 2;
    std::thread::scope(|scope| {
        scope.spawn(|| simulate(0..half));
        scope.spawn(|| simulate(half..2 * half));
    });
}
