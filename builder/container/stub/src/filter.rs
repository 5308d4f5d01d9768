//! The system calls that no build step needs, as seccomp programs: what goes in is nothing, what comes out is BPF.
//!
//! Everything else is allowed: compilers of all ages must run unchanged. The namespaces already keep a step in; the
//! filter takes away the kernel interfaces that broke out of namespaces before.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Refused with `EPERM` whatever the arguments are.
pub const FORBIDDEN: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
];

/// Answered with `ENOSYS`, so that programs fall back to older calls: `clone3` hides its flags in memory, where no
/// filter can see them, and rings carry calls past the filter.
pub const UNKNOWN: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// The flags of `clone` that make a namespace. `CLONE_NEWTIME` is missing: `clone` reads that bit as part of a signal.
pub const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Programs that only ask `personality` what it is pass this.
const PERSONALITY_QUERY: u64 = 0xffff_ffff;

/// `ioctl`s that put characters into a terminal's input.
const TERMINAL_INJECTION: [u64; 2] = [libc::TIOCSTI, 0x541c /* TIOCLINUX */];

/// System call numbers from here on belong to the x32 ABI, a second door to the same kernel.
#[cfg(target_arch = "x86_64")]
pub const X32_BIT: u32 = 0x4000_0000;

/// Builds the programs, to be applied in order. All of them judge each call; the strictest answer wins.
pub fn programs() -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let mut forbidden: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().map(|&call| (call, Vec::new())).collect();
    forbidden.insert(libc::SYS_clone, flag_rules()?);
    forbidden
        .insert(libc::SYS_socket, vec![differs_from(0, &[libc::AF_UNIX.unsigned_abs().into()])?]);
    forbidden.insert(libc::SYS_personality, vec![differs_from(0, &[0, PERSONALITY_QUERY])?]);
    forbidden.insert(
        libc::SYS_ioctl,
        TERMINAL_INJECTION.iter().map(|&code| equals(1, code)).collect::<Result<_, _>>()?,
    );
    let unknown = UNKNOWN.iter().map(|&call| (call, Vec::new())).collect();
    Ok(vec![
        program(forbidden, libc::EPERM)?,
        program(unknown, libc::ENOSYS)?,
        #[cfg(target_arch = "x86_64")]
        x32(),
    ])
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: libc::c_int,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let answer = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, ARCHITECTURE)?.try_into()
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

fn flag_rules() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let one = |flag: libc::c_int| {
        let bit = u64::from(flag.unsigned_abs());
        SeccompRule::new(vec![SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(bit),
            bit,
        )?])
    };
    NAMESPACE_FLAGS.into_iter().map(one).collect()
}

fn differs_from(argument: u8, allowed: &[u64]) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = |&value: &u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
    };
    SeccompRule::new(allowed.iter().map(condition).collect::<Result<_, _>>()?)
}

fn equals(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        value,
    )?])
}

/// Answers every x32 call with `ENOSYS`, as a kernel built without that ABI does. The library above compares for equal
/// numbers only, so this one is written out.
#[cfg(target_arch = "x86_64")]
fn x32() -> BpfProgram {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let line = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    vec![
        line(LOAD_WORD, 0, 0, 0),
        line(JUMP_IF_AT_LEAST, 0, 1, X32_BIT),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        line(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[cfg(test)]
mod tests {
    use seccompiler::sock_filter;

    use super::*;

    #[cfg(target_arch = "x86_64")]
    const ARCHITECTURE_NUMBER: u32 = 0xc000_003e;
    #[cfg(target_arch = "aarch64")]
    const ARCHITECTURE_NUMBER: u32 = 0xc000_00b7;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    /// What a kernel of our architecture answers to a call.
    fn answer(call: i64, arguments: &[u64]) -> u32 {
        answer_on(ARCHITECTURE_NUMBER, u32::try_from(call).unwrap(), arguments)
    }

    fn answer_on(architecture: u32, call: u32, arguments: &[u64]) -> u32 {
        let mut words = vec![call, architecture, 0, 0];
        for number in 0..6 {
            let value = arguments.get(number).copied().unwrap_or(0);
            let half = |half: u64| u32::try_from(half & 0xffff_ffff).unwrap();
            words.extend([half(value), half(value >> 32)]);
        }
        // Actions are numbered so that the strictest is the lowest, but for the highest bit of the two that kill.
        programs()
            .unwrap()
            .iter()
            .map(|program| execute(program, &words))
            .min_by_key(|answer| answer.cast_signed())
            .unwrap()
    }

    /// A classic BPF machine with the instructions that filters use, as the kernel documents them.
    fn execute(program: &[sock_filter], words: &[u32]) -> u32 {
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let line = &program[at];
            at += 1;
            let branch = |is_taken: bool| usize::from(if is_taken { line.jt } else { line.jf });
            match line.code {
                0x20 => accumulator = words[line.k as usize / 4],
                0x54 => accumulator &= line.k,
                0x05 => at += line.k as usize,
                0x15 => at += branch(accumulator == line.k),
                0x25 => at += branch(accumulator > line.k),
                0x35 => at += branch(accumulator >= line.k),
                0x06 => return line.k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    fn errno(number: libc::c_int) -> u32 {
        libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
    }

    #[test]
    fn refuses_what_no_build_needs() {
        for &call in FORBIDDEN {
            assert_eq!(answer(call, &[]), errno(libc::EPERM), "call {call}");
        }
        for &call in UNKNOWN {
            assert_eq!(answer(call, &[]), errno(libc::ENOSYS), "call {call}");
        }
    }

    #[test]
    fn allows_what_programs_do() {
        for call in [
            libc::SYS_read,
            libc::SYS_openat,
            libc::SYS_execve,
            libc::SYS_exit_group,
            libc::SYS_mmap,
            libc::SYS_futex,
            libc::SYS_clone,
        ] {
            assert_eq!(answer(call, &[]), ALLOW, "call {call}");
        }
    }

    #[test]
    fn a_clone_makes_processes_and_threads_but_no_namespaces() {
        // What Go passes for a thread, and what fork passes.
        let thread = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_SYSVSEM
            | libc::CLONE_THREAD;
        for flags in [
            thread,
            libc::SIGCHLD,
            libc::CLONE_VFORK | libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD,
        ] {
            assert_eq!(
                answer(libc::SYS_clone, &[u64::from(flags.cast_unsigned())]),
                ALLOW,
                "{flags:#x}"
            );
        }
        for flag in NAMESPACE_FLAGS {
            let flags = u64::from((flag | libc::SIGCHLD).cast_unsigned());
            assert_eq!(answer(libc::SYS_clone, &[flags]), errno(libc::EPERM), "{flag:#x}");
        }
    }

    #[test]
    fn only_local_sockets_can_be_made() {
        assert_eq!(answer(libc::SYS_socket, &[u64::from(libc::AF_UNIX.cast_unsigned())]), ALLOW);
        for family in [
            libc::AF_INET,
            libc::AF_INET6,
            libc::AF_NETLINK,
            libc::AF_PACKET,
            libc::AF_ALG,
            libc::AF_VSOCK,
        ] {
            assert_eq!(
                answer(libc::SYS_socket, &[u64::from(family.cast_unsigned())]),
                errno(libc::EPERM),
                "family {family}"
            );
        }
        // The kernel reads 32 bits of this argument; the rest must not hide the family.
        assert_eq!(
            answer(libc::SYS_socket, &[(1 << 32) | u64::from(libc::AF_INET.cast_unsigned())]),
            errno(libc::EPERM)
        );
    }

    #[test]
    fn the_personality_can_be_asked_but_not_changed() {
        assert_eq!(answer(libc::SYS_personality, &[0xffff_ffff]), ALLOW);
        assert_eq!(
            answer(libc::SYS_personality, &[u64::from(libc::ADDR_NO_RANDOMIZE.cast_unsigned())]),
            errno(libc::EPERM)
        );
    }

    #[test]
    fn terminals_get_no_input_from_steps() {
        assert_eq!(answer(libc::SYS_ioctl, &[0, libc::TIOCSTI]), errno(libc::EPERM));
        assert_eq!(answer(libc::SYS_ioctl, &[0, libc::TCGETS]), ALLOW);
    }

    #[test]
    fn other_doors_to_the_kernel_are_shut() {
        // 32-bit calls on a 64-bit kernel.
        assert_eq!(answer_on(0x4000_0003, 20, &[]), libc::SECCOMP_RET_KILL_PROCESS);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(answer_on(ARCHITECTURE_NUMBER, X32_BIT + 39, &[]), errno(libc::ENOSYS));
    }
}
