//! Nothing leaves this machine, and the kernel enforces it.
//!
//! Every command except a `models pull` that may connect starts with [`install`]: a seccomp filter
//! under which this process, its threads and its children cannot create a socket of any family but
//! `AF_UNIX`. That family only reaches programs on this machine; all others (Internet, netlink,
//! packet, vsock and any future one) fail with `EAFNOSUPPORT`, as on a machine without a network.
//! `io_uring_setup` fails with `ENOSYS`, since a ring can create sockets without passing the
//! filter. No such call ends the process: a GPU driver that tries netlink continues without it.
//! `ptrace`, `process_vm_readv`, `process_vm_writev` and `pidfd_getfd` fail with `EPERM`: another
//! process could be made to create the socket, or its open one be taken.
//! Only system calls of a foreign architecture, which no library here makes, end the process,
//! because their numbers mean other calls.
//!
//! A command that shows a page ([`install_without_sockets`]) has opened its only socket by then,
//! and may create none at all, local ones included, and connect none.
//!
//! The filter cannot be removed, not even by code that a malicious file injects through a parser.
//!
//! What it does not cover: a local socket may belong to a program with network access, such as a
//! proxy, an ssh agent or the Docker daemon, and code in this process could ask that program to
//! forward data; and a socket inherited from the parent process stays open. `promptmix` connects to
//! no local socket and uses no inherited one, but the kernel does not enforce that. Where it
//! matters, run it in a container or namespace that has neither.
//!
//! Linux on x86_64 and aarch64 only. Elsewhere, and where a container forbids filters, the program
//! runs without one, and `promptmix doctor` says so.

use std::{fmt, sync::OnceLock};

/// Whether the kernel denies this process sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// The filter is installed.
    Refused,
    /// No filter was installed: this command may open connections.
    Open,
    /// The filter could not be installed, for this reason.
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

/// Takes the network away from this process, permanently. Call it before other threads start, so
/// that they inherit the filter.
pub(crate) fn install() -> &'static State {
    STATE.get_or_init(|| match filter::apply() {
        Ok(()) => State::Refused,
        Err(reason) => State::NotEnforced(reason),
    })
}

/// As [`install`], and takes local sockets away as well: what listens by now can still accept
/// connections, and nothing can be connected from here.
pub(crate) fn install_without_sockets() -> &'static State {
    STATE.get_or_init(|| match filter::apply().and_then(|()| filter::apply_without_sockets()) {
        Ok(()) => State::Refused,
        Err(reason) => State::NotEnforced(reason),
    })
}

/// Takes the network away from the calling thread and from all threads and processes that it
/// starts. Other threads keep it. For tests.
///
/// # Errors
/// The reason why the filter could not be installed.
pub fn install_here() -> Result<(), String> {
    filter::apply()
}

/// Makes everything that this process creates from here on private to its user: folders 0700, files
/// 0600, whatever the umask was.
pub(crate) fn keep_private() {
    #[cfg(unix)]
    // SAFETY: it takes a number and cannot fail.
    unsafe {
        libc::umask(0o077);
    }
}

/// Disables core dumps: a crash must not write the memory, and the texts in it, to a file. On Linux
/// other processes of the same user cannot read the memory either.
pub(crate) fn leave_no_core() {
    set_dumpable(false);
    #[cfg(unix)]
    {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `none` is a valid limit and outlives the call; a failure leaves things as they
        // were.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &none);
        }
    }
}

/// Whether debuggers of the same user may attach, and the files of `/proc/self` belong to it.
pub(crate) fn set_dumpable(dumpable: bool) {
    #[cfg(target_os = "linux")]
    // SAFETY: it takes numbers only; a failure leaves things as they were.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0, 0, 0);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = dumpable;
}

/// The outcome of [`install`]; [`State::Open`] if it was not called.
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

    /// Set in the call numbers of x32, a second ABI of x86_64 with the same architecture value.
    const X32: i64 = 0x4000_0000;

    /// Installs the filters on the calling thread and on everything that it starts from here on.
    pub(super) fn apply() -> Result<(), String> {
        let programs = programs().map_err(|error| error.to_string())?;
        for program in &programs {
            seccompiler::apply_filter(program)
                .map_err(|error| format!("the kernel accepts no filter here ({error})"))?;
        }
        Ok(())
    }

    /// Refuses every socket and every connection, on top of [`apply`].
    pub(super) fn apply_without_sockets() -> Result<(), String> {
        let calls = [libc::SYS_socket, libc::SYS_socketpair, libc::SYS_connect];
        let program = program(&calls.map(|number| (number, Vec::new())), libc::EAFNOSUPPORT);
        let program = program.map_err(|error| error.to_string())?;
        seccompiler::apply_filter(&program)
            .map_err(|error| format!("the kernel accepts no filter here ({error})"))
    }

    /// Calls that reach into other processes.
    const FOREIGN_PROCESSES: [i64; 4] = [
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
    ];

    /// One program per errno: sockets, rings, other processes.
    fn programs() -> Result<[BpfProgram; 3], Error> {
        let not_local = SeccompCondition::new(
            0,
            // The family is an int: the kernel ignores the upper half of the register as well.
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Ne,
            libc::AF_UNIX as u64,
        )?;
        let socket = vec![SeccompRule::new(vec![not_local])?];
        Ok([
            program(
                &[(libc::SYS_socket, socket.clone()), (libc::SYS_socketpair, socket)],
                libc::EAFNOSUPPORT,
            )?,
            // Without conditions every call matches.
            program(&[(libc::SYS_io_uring_setup, Vec::new())], libc::ENOSYS)?,
            program(&FOREIGN_PROCESSES.map(|number| (number, Vec::new())), libc::EPERM)?,
        ])
    }

    /// A program that fails `calls` with `errno` and allows all others.
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
        Err("only Linux on x86_64 and aarch64 has the filter".to_owned())
    }

    pub(super) fn apply_without_sockets() -> Result<(), String> {
        apply()
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

    /// Runs `check` under the filter in a new thread: the filter applies to that thread and its
    /// children and ends with them.
    fn filtered(check: impl FnOnce() + Send + 'static) {
        thread::spawn(|| {
            filter::apply().expect("a kernel with seccomp");
            check();
        })
        .join()
        .expect("the check succeeds");
    }

    fn errno<T>(outcome: io::Result<T>) -> Option<i32> {
        outcome.err().and_then(|error| error.raw_os_error())
    }

    /// Makes a system call by number.
    fn call(number: i64, arguments: [i64; 4]) -> io::Result<i64> {
        let [a, b, c, d] = arguments;
        // SAFETY: of the calls made here only `socketpair` takes a pointer, and it gets a valid
        // one.
        let result = unsafe { libc::syscall(number, a, b, c, d) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    #[test]
    fn what_listens_goes_on_without_any_new_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let address = listener.local_addr().expect("it is bound");
        let client = thread::spawn(move || std::net::TcpStream::connect(address));
        let old = UnixListener::bind(tempfile::tempdir().unwrap().path().join("s")).unwrap();
        filtered(move || {
            filter::apply_without_sockets().expect("a kernel with seccomp");
            listener.accept().expect("a connection from outside of the filter");
            drop(old);
            let denied = Some(libc::EAFNOSUPPORT);
            assert_eq!(errno(TcpListener::bind("127.0.0.1:0")), denied);
            assert_eq!(errno(UnixStream::pair()), denied);
            assert_eq!(errno(UnixStream::connect("/nowhere")), denied);
            assert_eq!(errno(call(libc::SYS_connect, [0, 0, 0, 0])), denied);
        });
        client.join().unwrap().expect("it was accepted");
    }

    #[test]
    fn only_local_sockets_can_be_created() {
        // The control: without the filter this machine creates others.
        drop(UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        filtered(|| {
            let denied = Some(libc::EAFNOSUPPORT);
            assert_eq!(errno(TcpListener::bind("127.0.0.1:0")), denied);
            assert_eq!(errno(UdpSocket::bind("[::1]:0")), denied);
            for family in 2..=46 {
                assert_eq!(errno(call(libc::SYS_socket, [family, 1, 0, 0])), denied, "{family}");
            }
            // The upper half of the register does not matter.
            let disguised = (1 << 32) | i64::from(libc::AF_INET);
            assert_eq!(errno(call(libc::SYS_socket, [disguised, 1, 0, 0])), denied);
            let mut pair = [0i32; 2];
            let room = pair.as_mut_ptr() as i64;
            assert_eq!(errno(call(libc::SYS_socketpair, [2, 1, 0, room])), denied);
            assert_eq!(errno(call(libc::SYS_io_uring_setup, [8, 0, 0, 0])), Some(libc::ENOSYS));

            let folder = tempfile::tempdir().expect("a folder");
            UnixListener::bind(folder.path().join("socket")).expect("a local socket");
            UnixStream::pair().expect("two of them");
        });
    }

    #[test]
    fn other_processes_are_out_of_reach() {
        filtered(|| {
            for number in [
                libc::SYS_ptrace,
                libc::SYS_process_vm_readv,
                libc::SYS_process_vm_writev,
                libc::SYS_pidfd_getfd,
            ] {
                // Without the filter these arguments give ESRCH, EINVAL, EBADF or no error.
                assert_eq!(errno(call(number, [-1, -1, 0, 0])), Some(libc::EPERM), "{number}");
            }
        });
    }

    /// x32 has other numbers for the same calls.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn x32_calls_are_denied_as_well() {
        let x32 = || call(libc::SYS_socket | 0x4000_0000, [i64::from(libc::AF_INET), 1, 0, 0]);
        let without = x32();
        let known = errno(without) != Some(libc::ENOSYS);
        if !known {
            eprintln!("this kernel has no x32 calls: this only tests that they keep failing");
        }
        filtered(move || {
            let error = errno(x32());
            // Filters usually run before the kernel looks the call up; a kernel that looks it up
            // first gives the same error as without a filter.
            let unknown = !known && error == Some(libc::ENOSYS);
            assert!(error == Some(libc::EAFNOSUPPORT) || unknown, "{error:?}");
        });
    }

    #[test]
    fn children_inherit_it() {
        let connect = "exec 3<>/dev/tcp/127.0.0.1/9";
        filtered(move || {
            let Ok(output) = Command::new("bash").args(["-c", connect]).output() else { return };
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success());
            assert!(errors.contains("family not supported"), "{errors}");
        });
    }

    #[test]
    fn threads_that_exist_already_keep_the_network() {
        filtered(|| {});
        drop(UdpSocket::bind("127.0.0.1:0").expect("only that thread was filtered"));
    }
}
