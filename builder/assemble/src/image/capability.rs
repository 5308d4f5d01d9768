//! What a program may do without being root, as Linux keeps it with the file.

use super::ImageError;

/// The extended attribute that holds a file's capabilities.
pub const CAPABILITY: &str = "security.capability";

/// Version 2 of the format: 64 bits, no namespace.
///
/// Source: Linux, `include/uapi/linux/capability.h`, `VFS_CAP_REVISION_2`.
const REVISION_2: u32 = 0x0200_0000;

/// The capabilities are there when the program starts, without its asking (`VFS_CAP_FLAGS_EFFECTIVE`).
const EFFECTIVE: u32 = 1;

/// The names in the order of their numbers.
///
/// Source: Linux 6.1, `include/uapi/linux/capability.h`.
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// Returns the value of [`CAPABILITY`] that gives a program these capabilities, permitted and effective.
///
/// The order of the names does not matter. Source: Linux, `capability.h`, `struct vfs_cap_data`: the magic number,
/// then permitted and inheritable of the lower and of the upper 32 bits, all little-endian.
pub fn capability(names: &[String]) -> Result<Vec<u8>, ImageError> {
    if names.is_empty() {
        return Err(ImageError::NoCapability);
    }
    let mut permitted = 0_u64;
    for name in names {
        let number = NAMES.iter().position(|known| known == name);
        permitted |= 1 << number.ok_or_else(|| ImageError::Capability(name.clone()))?;
    }
    let permitted = permitted.to_le_bytes();
    let (lower, upper) = permitted.split_at(4);
    let magic = (REVISION_2 | EFFECTIVE).to_le_bytes();
    Ok([&magic[..], lower, &[0; 4], upper, &[0; 4]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Result<Vec<u8>, ImageError> {
        capability(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_bytes_are_those_that_setcap_writes() {
        // `setcap cap_net_bind_service+ep f && getfattr -n security.capability -e hex f`
        let bind = of(&["cap_net_bind_service"]).unwrap();
        assert_eq!(bind, b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        // `setcap cap_chown,cap_net_raw,cap_checkpoint_restore+ep f`
        let several = of(&["cap_net_raw", "cap_checkpoint_restore", "cap_chown"]).unwrap();
        assert_eq!(several, b"\x01\0\0\x02\x01\x20\0\0\0\0\0\0\0\x01\0\0\0\0\0\0");
    }

    #[test]
    fn refuses_what_linux_does_not_know() {
        for names in [&["cap_net_bind"][..], &["CAP_CHOWN"], &["cap_chown", ""], &[]] {
            assert!(of(names).is_err(), "accepted {names:?}");
        }
    }
}
