//! The NVMe driver task: the driver bound to the kernel's calls.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use abi::Error;
use heapless::Vec;
use nvme::io::QUEUES_MAX;
use nvme::machine::{Granted, Machine};
use nvme::transfers::TRANSFERS_MAX;
use nvme::{AnswerRoom, Driver, Interrupts, Settings, State};
use protocol::nvme::{Answer, BatchRoom, Failure, Request};
use task::abi::start::CLIENTS_MAX;
use task::{
    Deadline, Encoded, Environment, Event, Heartbeat, Inbox, Instant, Interrupt, Message, Once, Reply, Started, Stop,
};

task::needs! {
    registers: registers,
    admin: interrupt,
    completion: interrupt,
    optional completion2: interrupt,
    data: dma,
    requests: receive,
    optional client: signal,
    log: log,
}
task::main!(run);
task::stack!(33_112);

/// How long a command may take if the charter does not say: on Azure the host itself tries for 120 s, and guests are
/// told to wait as long as this.
const TIMEOUT_SECONDS: u64 = 240;
/// The longest timeout that the charter may set: a day.
const TIMEOUT_SECONDS_MAX: u64 = 86_400;

/// Not on the stack: it is large.
static DRIVER: Once<Driver> = Once::new(Driver::new());

/// Which clients may exchange transfers.
struct Clients {
    /// Their badges.
    transfer: Vec<u32, CLIENTS_MAX>,
}

impl Clients {
    /// Those whose tasks the setting `transfers` names; all, if it is not given.
    fn new(environment: &Environment) -> Self {
        let names = environment.setting("transfers");
        let may = |task: &str| names.is_none_or(|names| names.split_whitespace().any(|name| name == task));
        let clients = environment.clients().iter().filter(|client| may(client.task));
        Self { transfer: clients.map(|client| client.badge).collect() }
    }

    /// Transfers of each that there is always room for: of one alone, all; several may be in each other's way.
    fn room(&self) -> u8 {
        if self.transfer.len() == 1 { TRANSFERS_MAX as u8 } else { 0 }
    }

    #[inline]
    fn may_transfer(&self, badge: u32) -> bool {
        #[expect(clippy::manual_contains, reason = "there are few: `contains` looks at sixteen at a time")]
        self.transfer.iter().any(|own| *own == badge)
    }
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let clients = Clients::new(&environment);
    let settings = Settings {
        region: grants.data.region,
        region_bytes: grants.data.window.bytes(),
        vectors: vectors(&grants, queues(&environment, &grants)?),
        timeout: timeout(&environment)?,
        room: clients.room(),
    };
    let Some(driver) = DRIVER.take() else { return Err(Stop::new(format_args!("started twice"))) };
    let vectors = core::iter::once(grants.admin).chain(completions(&grants)).map(|interrupt| interrupt.vector);
    let mut machine = Machine::new(Granted {
        registers: grants.registers,
        data: grants.data,
        vectors: vectors.collect(),
        log: grants.log,
    });
    let machine = &mut machine;
    driver.start(machine, settings);
    let raises = Raises::new(&grants);
    let mut heart = Heartbeat::begin();
    // Clients wait until there is something to answer.
    while driver.state() == State::Starting {
        let ended = task::wait(heart.deadline(Deadline::at(Instant::at(driver.deadline()))));
        heart.turn(ended == Err(Error::TimedOut));
        let bits = match ended {
            Ok(bits) => bits,
            Err(Error::TimedOut) => 0,
            Err(error) => return Err(error.into()),
        };
        driver.wake(machine, raises.interrupts(bits));
    }
    task::ready(if driver.state() == State::Gone { Started::Failed } else { Started::Well });
    if let Some(client) = grants.client {
        // It may wait for this, if the driver was restarted.
        let _ = client.send();
    }
    let waiting = Vec::new();
    Server { grants: &grants, clients: &clients, machine, driver, heart, waiting }.serve()
}

/// The driver and its clients.
struct Server<'a> {
    grants: &'a Grants,
    clients: &'a Clients,
    machine: &'a mut Machine,
    driver: &'a mut Driver,
    heart: Heartbeat,
    /// Those who asked for a shutdown and wait for its end.
    waiting: Vec<Reply, CLIENTS_MAX>,
}

impl Server<'_> {
    fn serve(&mut self) -> Result<(), Stop> {
        let (mut inbox, mut room, mut ended) = (Inbox::new(), AnswerRoom::new(), BatchRoom::new());
        let raises = Raises::new(self.grants);
        // There may be something to signal already.
        let mut event = Ok(Event::Notification(0));
        loop {
            self.heart.turn(matches!(event, Err(Error::TimedOut)));
            match event {
                Ok(Event::Notification(bits) | Event::Told { bits, .. }) => {
                    self.driver.wake(self.machine, raises.interrupts(bits));
                }
                Ok(Event::Message(message)) => match Request::read(message.bytes) {
                    Some(Request::Exchange(transfers))
                        if !message.reply.is_awaited() && self.clients.may_transfer(message.badge) =>
                    {
                        self.driver.post(self.machine, message.badge, transfers);
                    }
                    request => {
                        let Message { reply, badge, .. } = message;
                        if let Some((reply, answer)) = self.respond(reply, badge, request, &mut room) {
                            event = self.reply_and_wait(reply, &answer, &mut inbox);
                            continue;
                        }
                    }
                },
                Err(Error::TimedOut) => self.driver.wake(self.machine, Interrupts::default()),
                Err(error) => return Err(error.into()),
            }
            if self.driver.has_news()
                && let Some(client) = self.grants.client
                && let Some(badge) = client.badge()
                && let Some(notice) = self.driver.notice(badge, &mut ended)
                && let message = Encoded::new(notice.bytes(), notice.len())
                && let deadline = self.before_wait()
                && let Ok(next) = self.grants.requests.signal_receive(client, &message, deadline, &mut inbox)
            {
                // The client waited, and was told at once what has ended.
                self.driver.told(badge, ended.len());
                event = next;
                continue;
            }
            event = self.wait(&mut inbox);
        }
    }

    /// Before a wait: tells those who wait for a shutdown, if there is something to tell. Returns when the wait must end.
    #[inline]
    fn before_wait(&mut self) -> Deadline {
        if !self.waiting.is_empty() {
            self.tell_outcome();
        }
        self.heart.deadline(Deadline::at(Instant::at(self.driver.deadline())))
    }

    /// Signals the client if there is news.
    #[inline]
    fn signal(&mut self) {
        if self.driver.take_news()
            && let Some(client) = self.grants.client
        {
            // A client that has stopped takes nothing any more.
            let _ = client.send();
        }
    }

    /// Waits for the next event, with nobody to be answered.
    #[inline(always)]
    fn wait<'i>(&mut self, inbox: &'i mut Inbox) -> Result<Event<'i>, Error> {
        let deadline = self.before_wait();
        self.signal();
        self.grants.requests.receive(deadline, inbox)
    }

    /// Answers, and waits for the next event.
    #[inline(never)]
    fn reply_and_wait<'i>(
        &mut self,
        reply: Reply,
        answer: &Answer<'_>,
        inbox: &'i mut Inbox,
    ) -> Result<Event<'i>, Error> {
        let deadline = self.before_wait();
        self.signal();
        self.grants.requests.reply_receive(reply, answer, deadline, inbox)
    }

    /// What to answer to a request, if that is to be answered now.
    #[inline(never)]
    fn respond<'r>(
        &mut self,
        reply: Reply,
        badge: u32,
        request: Option<Request<'_>>,
        room: &'r mut AnswerRoom,
    ) -> Option<(Reply, Answer<'r>)> {
        let may_transfer = self.clients.may_transfer(badge);
        let answer = match request {
            None => {
                // An empty answer is none that a client expects: it learns that its request was malformed.
                let _ = reply.send(&());
                return None;
            }
            Some(Request::Exchange(transfers)) if !may_transfer => room.deny(transfers),
            Some(Request::Shutdown) if !may_transfer => Answer::Shutdown(Err(Failure::Denied)),
            Some(Request::Shutdown) => match self.driver.shutdown(self.machine) {
                Some(outcome) => Answer::Shutdown(outcome),
                None => {
                    // There is room for every client's; one that asks anew has stopped waiting.
                    let _ = self.waiting.push(reply);
                    return None;
                }
            },
            Some(request) => self.driver.answer(self.machine, badge, &request, room),
        };
        Some((reply, answer))
    }

    /// Tells those who wait for it what came of the shutdown, if that is known.
    #[cold]
    fn tell_outcome(&mut self) {
        let Some(outcome) = self.driver.shutdown_outcome() else { return };
        for reply in self.waiting.drain(..) {
            // One that has stopped waiting needs no answer.
            let _ = reply.send(&Answer::Shutdown(outcome));
        }
    }
}

/// The interrupts granted for I/O queues.
fn completions(grants: &Grants) -> impl Iterator<Item = Interrupt> + Clone {
    [Some(grants.completion), grants.completion2].into_iter().flatten()
}

/// The vector of each queue: those granted in turn.
fn vectors(grants: &Grants, queues: usize) -> Vec<u16, QUEUES_MAX> {
    completions(grants).cycle().map(|interrupt| interrupt.vector).take(queues).collect()
}

/// Which notification bits raise which interrupt.
struct Raises {
    admin: u64,
    io: [u64; QUEUES_MAX],
}

impl Raises {
    fn new(grants: &Grants) -> Self {
        let mut io = [0; QUEUES_MAX];
        for (bits, interrupt) in io.iter_mut().zip(completions(grants).cycle()) {
            *bits = interrupt.bits;
        }
        Self { admin: grants.admin.bits, io }
    }

    fn interrupts(&self, bits: u64) -> Interrupts {
        Interrupts { admin: bits & self.admin != 0, io: self.io.map(|raises| bits & raises != 0) }
    }
}

/// How many I/O queues to ask for: as many as there are interrupts for, if the charter does not say.
fn queues(environment: &Environment, grants: &Grants) -> Result<usize, Stop> {
    let Some(setting) = environment.setting("queues") else { return Ok(completions(grants).count()) };
    match setting.parse() {
        Ok(queues @ 1..=QUEUES_MAX) => Ok(queues),
        _ => Err(Stop::new(format_args!("queues is \"{setting}\", not 1 to {QUEUES_MAX}"))),
    }
}

/// Nanoseconds that a command may take.
fn timeout(environment: &Environment) -> Result<u64, Stop> {
    let Some(setting) = environment.setting("timeout_seconds") else {
        return Ok(Duration::from_secs(TIMEOUT_SECONDS).as_nanos() as u64);
    };
    match setting.parse() {
        Ok(seconds @ 1..=TIMEOUT_SECONDS_MAX) => Ok(Duration::from_secs(seconds).as_nanos() as u64),
        _ => Err(Stop::new(format_args!("timeout_seconds is \"{setting}\", not 1 to {TIMEOUT_SECONDS_MAX}"))),
    }
}
