//! Nothing leaves this machine, and the kernel sees to it.
//!
//! Every command but a `models pull` that may connect starts with [`install`]: a seccomp filter under which this process,
//! its threads and its children cannot make a socket of any family but `AF_UNIX`. That family reaches
//! programs on this machine only; all others (Internet, netlink, packet, vsock and whatever comes) are refused
//! with `EAFNOSUPPORT`, as on a machine that has no network. `io_uring_setup` is refused with `ENOSYS`,
//! since a ring can make sockets past the filter. Nothing is ever killed for asking: a GPU driver that
//! looks for netlink goes on without it. Only the calls of a foreign architecture, which no library
//! here makes, end the process, because their numbers could not be told apart.
//!
//! The filter cannot be taken off again, not even by a parser that a hostile file has taken over.
//!
//! What it does not cover: a local socket may belong to a program that has the network, such as a proxy,
//! an ssh agent or the Docker daemon, and whatever ran in this process could ask that one to pass
//! something on; and a socket that the parent handed down (an inherited descriptor) stays as open as it
//! was. `promptmix` connects to no local socket and uses no inherited one, but the kernel is not told
//! to see to that. Where it matters, run it in a container or namespace in which neither is there.
//!
//! Linux on x86_64 and aarch64 only; elsewhere, and where a container forbids filters, the program
//! works without and `promptmix doctor` says so.

use std::{fmt, sync::OnceLock};

/// Whether the kernel refuses sockets to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// The filter stands.
    Refused,
    /// This command opens connections, or has not asked for the filter.
    Open,
    /// There is no filter, and why.
    NotEnforced(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused by the kernel"),
            Self::Open => f.write_str("open: this command may connect"),
            Self::NotEnforced(reason) => write!(f, "not enforced: {reason}"),
        }
    }
}

static STATE: OnceLock<State> = OnceLock::new();

/// Takes the network away from this process, for good. Called once, before there are other threads:
/// those inherit it.
pub(crate) fn install() -> &'static State {
    STATE.get_or_init(|| match filter::apply() {
        Ok(()) => State::Refused,
        Err(reason) => State::NotEnforced(reason),
    })
}

/// Takes the network away from the calling thread and all that it starts; other threads keep it. For
/// tests: [`install`] is called before there are others.
///
/// # Errors
/// Why there is no filter here.
pub fn install_here() -> Result<(), String> {
    filter::apply()
}

/// What this process writes from here on is for its user alone: folders 0700, files 0600, whatever the
/// umask was.
pub(crate) fn keep_private() {
    #[cfg(unix)]
    // SAFETY: it takes a number and cannot fail.
    unsafe {
        libc::umask(0o077);
    }
}

/// A process that ends in a crash shall not write its memory, with all the texts in it, to a file.
pub(crate) fn leave_no_core() {
    #[cfg(unix)]
    {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `none` is a valid limit and outlives the call; a failure leaves things as they were.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &none);
        }
    }
}

/// What [`install`] came to; [`State::Open`] where it was not called.
pub(crate) fn state() -> &'static State {
    STATE.get().unwrap_or(&State::Open)
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod filter {
    use std::collections::BTreeMap;

    use seccompiler::{
        BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
        SeccompFilter, SeccompRule,
    };

    /// Set in the numbers of x32, a second set of calls of x86_64 under the same architecture.
    const X32: i64 = 0x4000_0000;

    /// Puts the filters on the calling thread and on all that it starts from here on.
    pub(super) fn apply() -> Result<(), String> {
        let programs = programs().map_err(|error| error.to_string())?;
        for program in &programs {
            seccompiler::apply_filter(program)
                .map_err(|error| format!("the kernel takes no filter here ({error})"))?;
        }
        Ok(())
    }

    /// One program for each errno: sockets, rings.
    fn programs() -> Result<[BpfProgram; 2], Error> {
        let foreign = SeccompCondition::new(
            0,
            // The family is an int: the kernel does not look at the upper half either.
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Ne,
            libc::AF_UNIX as u64,
        )?;
        let socket = vec![SeccompRule::new(vec![foreign])?];
        Ok([
            program(
                &[(libc::SYS_socket, socket.clone()), (libc::SYS_socketpair, socket)],
                libc::EAFNOSUPPORT,
            )?,
            // Without a rule a call matches as such.
            program(&[(libc::SYS_io_uring_setup, Vec::new())], libc::ENOSYS)?,
        ])
    }

    /// Refuses `calls` with `errno` and allows all others.
    fn program(calls: &[(i64, Vec<SeccompRule>)], errno: i32) -> Result<BpfProgram, Error> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls.iter().cloned().collect();
        if cfg!(target_arch = "x86_64") {
            rules.extend(calls.iter().map(|(number, rule)| (number | X32, rule.clone())));
        }
        let arch = std::env::consts::ARCH.try_into()?;
        let refuse = SeccompAction::Errno(errno as u32);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
        Ok(filter.try_into()?)
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod filter {
    pub(super) fn apply() -> Result<(), String> {
        Err("filters are for Linux on x86_64 and aarch64".to_owned())
    }
}

#[cfg(all(test, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::{
        io,
        net::{TcpListener, UdpSocket},
        os::unix::net::{UnixListener, UnixStream},
        process::Command,
        thread,
    };

    use super::filter;

    /// Runs `check` in a thread of its own under the filter: it holds for the thread and its children
    /// and ends with it.
    fn filtered(check: impl FnOnce() + Send + 'static) {
        thread::spawn(|| {
            filter::apply().expect("a kernel with seccomp");
            check();
        })
        .join()
        .expect("the check holds");
    }

    fn errno<T>(outcome: io::Result<T>) -> Option<i32> {
        outcome.err().and_then(|error| error.raw_os_error())
    }

    /// `socket(family, …)`, or what else is asked by number.
    fn call(number: i64, arguments: [i64; 4]) -> io::Result<i64> {
        let [a, b, c, d] = arguments;
        // SAFETY: no call made here takes a pointer but `socketpair`, which is refused or gets room.
        let result = unsafe { libc::syscall(number, a, b, c, d) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    #[test]
    fn local_sockets_alone_can_be_made() {
        // A control: without the filter this machine makes them all.
        drop(UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        filtered(|| {
            let refused = Some(libc::EAFNOSUPPORT);
            assert_eq!(errno(TcpListener::bind("127.0.0.1:0")), refused);
            assert_eq!(errno(UdpSocket::bind("[::1]:0")), refused);
            for family in 2..=46 {
                assert_eq!(errno(call(libc::SYS_socket, [family, 1, 0, 0])), refused, "{family}");
            }
            // The upper half of the register does not count.
            let disguised = (1 << 32) | i64::from(libc::AF_INET);
            assert_eq!(errno(call(libc::SYS_socket, [disguised, 1, 0, 0])), refused);
            let mut pair = [0i32; 2];
            let room = pair.as_mut_ptr() as i64;
            assert_eq!(errno(call(libc::SYS_socketpair, [2, 1, 0, room])), refused);
            assert_eq!(errno(call(libc::SYS_io_uring_setup, [8, 0, 0, 0])), Some(libc::ENOSYS));

            let folder = tempfile::tempdir().expect("a folder");
            UnixListener::bind(folder.path().join("socket")).expect("a local socket");
            UnixStream::pair().expect("two of them");
        });
    }

    /// x32 has numbers of its own for the same calls.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_second_set_of_numbers_is_refused_as_well() {
        let x32 = || call(libc::SYS_socket | 0x4000_0000, [i64::from(libc::AF_INET), 1, 0, 0]);
        let without = x32();
        let known = errno(without) != Some(libc::ENOSYS);
        if !known {
            eprintln!("this kernel has no x32 calls: only that they stay refused is tested");
        }
        filtered(move || {
            let refused = errno(x32());
            // Filters are asked before the kernel looks whether it has the call; a kernel that looks
            // first gives the same answer as without them.
            let unknown = !known && refused == Some(libc::ENOSYS);
            assert!(refused == Some(libc::EAFNOSUPPORT) || unknown, "{refused:?}");
        });
    }

    #[test]
    fn children_inherit_it() {
        let connect = "exec 3<>/dev/tcp/127.0.0.1/9";
        filtered(move || {
            let Ok(output) = Command::new("bash").args(["-c", connect]).output() else { return };
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success());
            assert!(told.contains("family not supported"), "{told}");
        });
    }

    #[test]
    fn threads_that_are_there_already_go_on_without() {
        filtered(|| {});
        drop(UdpSocket::bind("127.0.0.1:0").expect("only that thread was filtered"));
    }
}
