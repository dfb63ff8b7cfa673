//! A wire to PostgreSQL that reads along: it tells which statements a step sends, and cuts where a test says so, before
//! a statement reaches the server, after it took effect and before its answer comes back, or within a flow of bytes.

use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use crate::statements::reads;

mod protocol;
use protocol::{Backend, Frontend, Said};

/// No recovery takes so long.
const PATIENCE: Duration = Duration::from_mins(2);

/// So many may wait to be let in.
const BACKLOG: u32 = 1024;

/// A port of the test's own, which refuses whoever comes until a wire listens there, and is nobody else's meanwhile.
pub(crate) struct Port(TcpSocket);

impl Port {
    pub(crate) fn hold() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        Ok(Self(socket))
    }

    pub(crate) fn number(&self) -> Result<u16> {
        Ok(self.0.local_addr()?.port())
    }
}

/// A statement that went over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// The name of its session, such as `jm/RUN/STEP`.
    pub(crate) session: String,
    /// Its text.
    pub(crate) text: String,
}

/// Where a wire is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// When this statement of the step is on its way: the server never gets it.
    Before(usize),
    /// When the server has done this statement of the step: nobody learns of it.
    After(usize),
    /// When the sessions of the step have sent so many bytes.
    Bytes(u64),
}

/// What a cut does to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing goes through any more: time for the test to kill who waits.
    Hold,
    /// It is closed at both ends.
    Close,
}

/// One cut of one step's sessions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) step: &'static str,
    pub(crate) place: Place,
    pub(crate) how: How,
}

/// A wire on a port of its own. Ends with the value.
pub(crate) struct Wire {
    port: u16,
    state: Shared,
    released: Arc<Notify>,
    _runtime: tokio::runtime::Runtime,
}

type Shared = Arc<Mutex<State>>;

#[derive(Default)]
struct State {
    statements: Vec<Statement>,
    /// Bytes that each session sent.
    bytes: Vec<(String, u64)>,
    cut: Option<Cut>,
    hit: bool,
}

impl Wire {
    /// Stands before `127.0.0.1:target`, and lets everything through.
    pub(crate) fn to(target: u16) -> Result<Self> {
        Self::at(Port::hold()?, target)
    }

    /// The same on a port that refused everybody until now.
    pub(crate) fn at(port: Port, target: u16) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let number = port.number()?;
        let listener = runtime.block_on(async { port.0.listen(BACKLOG) })?;
        let (state, released) = (Shared::default(), Arc::new(Notify::new()));
        runtime.spawn(accept(listener, target, state.clone(), released.clone()));
        Ok(Self {
            port: number,
            state,
            released,
            _runtime: runtime,
        })
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Forgets what was said, and makes one cut from now on, or none.
    pub(crate) fn arm(&self, cut: Option<Cut>) {
        *lock(&self.state) = State {
            cut,
            ..State::default()
        };
    }

    /// Whether the cut was made: proof that a test hit what it meant to.
    pub(crate) fn hit(&self) -> bool {
        lock(&self.state).hit
    }

    /// Waits until the cut was made, as long as the process lives whose step it cuts.
    pub(crate) fn await_hit(&self, child: &mut Child) -> Result<()> {
        let began = Instant::now();
        while !self.hit() {
            let ended = child.try_wait()?;
            ensure!(ended.is_none(), "it ended before the cut: {ended:?}");
            ensure!(began.elapsed() < PATIENCE, "the cut was not made");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Closes what is held.
    pub(crate) fn release(&self) {
        self.released.notify_waiters();
    }

    /// What the sessions of a step said that changes something, as numbers for [`Place`] with their texts.
    pub(crate) fn changes_of(&self, step: &str) -> Vec<(usize, String)> {
        let state = lock(&self.state);
        let of_step = state.statements.iter().filter(|said| is_of(&said.session, step));
        of_step
            .enumerate()
            // A cut at what only looks is like one at the next change.
            .filter(|(_, said)| !reads(&said.text))
            .map(|(number, said)| (number, said.text.clone()))
            .collect()
    }

    /// How many bytes the sessions of a step sent.
    pub(crate) fn bytes_of(&self, step: &str) -> u64 {
        let state = lock(&self.state);
        let of_step = state.bytes.iter().filter(|(session, _)| is_of(session, step));
        of_step.map(|(_, bytes)| bytes).sum()
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_of(session: &str, step: &str) -> bool {
    session.rsplit_once('/').is_some_and(|(_, name)| name == step)
}

impl State {
    /// Notes a statement, and tells where it is to be cut.
    fn said(&mut self, session: &str, text: String) -> Option<(Place, How)> {
        let cut = self.cut.filter(|cut| is_of(session, cut.step));
        let number = |step| self.statements.iter().filter(|said| is_of(&said.session, step)).count();
        let found = cut.filter(|cut| match cut.place {
            Place::Before(at) | Place::After(at) => number(cut.step) == at,
            Place::Bytes(_) => false,
        });
        self.statements.push(Statement {
            session: session.to_owned(),
            text,
        });
        found.map(|cut| (cut.place, cut.how))
    }

    /// Notes bytes, and tells whether they are to be cut.
    fn sent(&mut self, session: &str, bytes: u64) -> Option<How> {
        match self.bytes.iter_mut().find(|(known, _)| known == session) {
            Some((_, sum)) => *sum += bytes,
            None => self.bytes.push((session.to_owned(), bytes)),
        }
        let cut = self.cut.filter(|cut| is_of(session, cut.step))?;
        let Place::Bytes(limit) = cut.place else { return None };
        let sum: u64 = self
            .bytes
            .iter()
            .filter(|(session, _)| is_of(session, cut.step))
            .map(|(_, bytes)| bytes)
            .sum();
        (sum >= limit).then_some(cut.how)
    }

    fn made(&mut self) {
        self.cut = None;
        self.hit = true;
    }
}

async fn accept(listener: TcpListener, target: u16, state: Shared, released: Arc<Notify>) {
    while let Ok((client, _)) = listener.accept().await {
        let (state, released) = (state.clone(), released.clone());
        tokio::spawn(async move {
            if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
                Box::pin(carry(client, server, &state, &released)).await;
            }
        });
    }
}

/// Carries bytes both ways until either side closes or a cut falls.
async fn carry(mut client: TcpStream, mut server: TcpStream, state: &Shared, released: &Notify) {
    let (mut frontend, mut backend) = (Frontend::default(), Backend::default());
    // What is to happen once the server has answered.
    let mut armed: Option<How> = None;
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let mut through = Vec::new();
                for (message, said) in frontend.take(&up[..count]) {
                    let place = heard(state, &frontend, &message, said);
                    match place {
                        Some((Place::After(_), how)) => armed = Some(how),
                        Some((_, how)) => {
                            // What came before it arrives.
                            drop(server.write_all(&through).await);
                            return end(client, state, how, released).await;
                        }
                        None => {}
                    }
                    through.extend(message);
                }
                if server.write_all(&through).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                let answered = backend.take(&down[..count], frontend.asked_for_encryption());
                match armed {
                    Some(how) if answered => return end(client, state, how, released).await,
                    Some(_) => {}
                    None => if client.write_all(&down[..count]).await.is_err() { return },
                }
            }
        }
    }
}

fn heard(state: &Shared, frontend: &Frontend, message: &[u8], said: Said) -> Option<(Place, How)> {
    let mut state = lock(state);
    let sent = state.sent(frontend.session(), message.len() as u64);
    let said = match said {
        Said::Statement(text) => state.said(frontend.session(), text),
        Said::Other => None,
    };
    let place = said.or(sent.map(|how| (Place::Bytes(0), how)));
    if matches!(place, Some((Place::Bytes(_) | Place::Before(_), _))) {
        state.cut = None;
    }
    place
}

/// The cut: noted, and held until the client gives up or the test lets go where it is to be held.
async fn end(mut client: TcpStream, state: &Shared, how: How, released: &Notify) {
    let mut release = std::pin::pin!(released.notified());
    // Heard from here on, so that nobody lets go unheard once the cut is known.
    release.as_mut().enable();
    lock(state).made();
    if how == How::Close {
        return;
    }
    let mut rest = [0; 4096];
    loop {
        tokio::select! {
            () = &mut release => return,
            read = client.read(&mut rest) => {
                if !matches!(read, Ok(1..)) { return }
            }
        }
    }
}
