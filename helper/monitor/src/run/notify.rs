//! System calls of which the container's filter notifies, `lxc.seccomp.notify.*`: a
//! proxy decides about them, and without one they fail with ENOSYS, as with LXC.

use crate::failure::{At, Step};
use crate::log;
use crate::sys;
use gantry_core::settings::Seccomp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const STEP: &str = "reaching the seccomp proxy";
/// How long a proxy may take over a call: as with LXC.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of what goes before a call: a reserved number, the pids of monitor and init,
/// three sizes, and the length of the cookie.
const HEAD: usize = 32;
/// Bytes of an answer: a whole message but for the cookie.
const ANSWER: usize = HEAD + sys::NOTIFICATION + sys::RESPONSE;

/// Listens to the container's calls, and hands them to the proxy one by one.
pub(super) struct Notifier {
    address: Option<String>,
    cookie: Vec<u8>,
    /// Of init's filter, and those of sessions.
    listeners: Vec<OwnedFd>,
    proxy: Option<OwnedFd>,
    pending: Option<Call>,
}

/// A call that the proxy has.
struct Call {
    listener: OwnedFd,
    id: u64,
    deadline: Instant,
}

impl Notifier {
    pub(super) fn new(seccomp: &Seccomp) -> Self {
        let address = seccomp.notify_proxy.as_deref();
        Self {
            address: address
                .and_then(|address| address.strip_prefix("unix:"))
                .map(str::to_owned),
            cookie: seccomp
                .notify_cookie
                .clone()
                .unwrap_or_default()
                .into_bytes(),
            listeners: Vec::new(),
            proxy: None,
            pending: None,
        }
    }

    /// Connects to the proxy, if the config names one: without it nothing starts.
    pub(super) fn begin(&mut self) -> Step<()> {
        let Some(address) = self.address.clone().filter(|_| self.proxy.is_none()) else {
            return Ok(());
        };
        self.connect().at(STEP, || {
            format!("cannot connect to lxc.seccomp.notify.proxy = unix:{address}")
        })
    }

    fn connect(&mut self) -> io::Result<()> {
        let Some(address) = &self.address else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let address = match address.strip_prefix('@') {
            Some(name) => UnixAddr::new_abstract(name.as_bytes())?,
            None => UnixAddr::new(address.as_str())?,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let proxy = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        connect(proxy.as_raw_fd(), &address)?;
        self.proxy = Some(proxy);
        Ok(())
    }

    /// Listens to the calls of one filter more.
    pub(super) fn listen(&mut self, listener: OwnedFd) {
        self.listeners.push(listener);
    }

    /// The first listener, init's.
    pub(super) fn listener(&self) -> Option<&OwnedFd> {
        self.listeners.first()
    }

    /// Nobody of the container is left.
    pub(super) fn end(&mut self) {
        self.listeners.clear();
        self.pending = None;
    }

    /// What becomes readable when there is something to do.
    pub(super) fn awaited(&self) -> Vec<BorrowedFd<'_>> {
        match &self.pending {
            Some(_) => self.proxy.iter().map(AsFd::as_fd).collect(),
            None => self.listeners.iter().map(AsFd::as_fd).collect(),
        }
    }

    /// When the proxy has had its time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.as_ref().map(|call| call.deadline)
    }

    /// Does what there is to do with a descriptor; false if it is none of its own.
    pub(super) fn ready(&mut self, fd: i32, pids: [i32; 2]) -> bool {
        if self
            .proxy
            .as_ref()
            .is_some_and(|proxy| proxy.as_raw_fd() == fd)
        {
            self.take_answer();
            return true;
        }
        let Some(at) = self.listeners.iter().position(|l| l.as_raw_fd() == fd) else {
            return false;
        };
        if self.pending.is_none() && !self.take_call(at, pids) {
            self.listeners.remove(at);
        }
        true
    }

    /// Gives up on a proxy that has had its time: what it says later would be taken
    /// for the answer to another call.
    pub(super) fn expire(&mut self) {
        if self
            .deadline()
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            self.proxy = None;
            self.refuse("the proxy took too long");
        }
    }

    /// Takes the next call of a listener; false when nobody is left who could call.
    fn take_call(&mut self, at: usize, pids: [i32; 2]) -> bool {
        let Some(listener) = self.listeners.get(at) else {
            return false;
        };
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::ZERO).is_err() {
            return true;
        }
        let [waiting] = waiting;
        let events = waiting.revents().unwrap_or(PollFlags::empty());
        if !events.contains(PollFlags::POLLIN) {
            return !events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
        }
        let taken = listener.try_clone().and_then(|listener| {
            let call = sys::receive_call(&listener)?;
            Ok((listener, call))
        });
        let (listener, call) = match taken {
            Ok(taken) => taken,
            // Who called has ended meanwhile.
            Err(error) => {
                log::debug(format!("a system call is not heard: {error}"));
                return true;
            }
        };
        self.pending = Some(Call {
            listener,
            id: call.first_chunk().map_or(0, |id| u64::from_ne_bytes(*id)),
            deadline: Instant::now() + PATIENCE,
        });
        if let Err(error) = self.hand_on(&call, pids) {
            self.refuse(&error.to_string());
        }
        true
    }

    /// Sends a call to the proxy, with what gives access to its process.
    fn hand_on(&mut self, call: &[u8; sys::NOTIFICATION], pids: [i32; 2]) -> io::Result<()> {
        let Some(Call { listener, id, .. }) = &self.pending else {
            return Ok(());
        };
        let (listener, id) = (listener.try_clone()?, *id);
        let pid = call.get(8..12).and_then(|bytes| bytes.first_chunk());
        let pid = pid.map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = open(format!("/proc/{pid}"), flags, Mode::empty())?;
        let memory = open(
            format!("/proc/{pid}/mem"),
            OFlags::RDWR | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        // Else the number may be another's by now.
        sys::check_call(&listener, id)?;
        let sizes =
            [sys::NOTIFICATION, sys::RESPONSE, sys::DATA].map(|size| (size as u16).to_ne_bytes());
        let mut message = Vec::with_capacity(ANSWER + self.cookie.len());
        message.extend(0_u64.to_ne_bytes());
        message.extend(pids.map(i32::to_ne_bytes).as_flattened());
        message.extend(sizes.as_flattened());
        message.extend([0; 2]);
        message.extend((self.cookie.len() as u64).to_ne_bytes());
        message.extend(call);
        message.extend(id.to_ne_bytes());
        message.extend([0; sys::RESPONSE - size_of::<u64>()]);
        message.extend(&self.cookie);
        let fds = [&process, &memory, &listener];
        if let Some(proxy) = &self.proxy
            && sys::send(proxy, &message, &fds).is_ok()
        {
            return Ok(());
        }
        // It may have been started anew.
        self.proxy = None;
        self.connect()?;
        let proxy = self.proxy.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        sys::send(proxy, &message, &fds).map(drop)
    }

    fn take_answer(&mut self) {
        let Some(proxy) = &self.proxy else { return };
        let mut buffer = [0; ANSWER + 1];
        let length = match sys::receive(proxy, &mut buffer) {
            Ok(packet) => packet.length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        if length == 0 {
            self.proxy = None;
            return self.refuse("the proxy has closed the connection");
        }
        if length != ANSWER {
            return self.refuse("the proxy's answer has a wrong length");
        }
        let response = buffer
            .get(ANSWER - sys::RESPONSE..)
            .and_then(|rest| rest.first_chunk());
        if let Some(response) = response {
            self.answer(*response);
        }
    }

    /// Answers that there is no such call.
    fn refuse(&mut self, why: &str) {
        if self.address.is_some() {
            log::warn(format!(
                "a system call for lxc.seccomp.notify.proxy fails: {why}"
            ));
        }
        let mut response = [0; sys::RESPONSE];
        if let Some(error) = response.get_mut(16..20) {
            error.copy_from_slice(&(-libc::ENOSYS).to_ne_bytes());
        }
        self.answer(response);
    }

    /// Whatever it says whose answer this is: there is but one call.
    fn answer(&mut self, mut response: [u8; sys::RESPONSE]) {
        let Some(call) = self.pending.take() else {
            return;
        };
        if let Some(id) = response.first_chunk_mut() {
            *id = call.id.to_ne_bytes();
        }
        if let Err(error) = sys::answer_call(&call.listener, &response) {
            log::debug(format!("a system call is not answered: {error}"));
        }
    }
}
