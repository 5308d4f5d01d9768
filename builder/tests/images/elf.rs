//! Programs of a few instructions, so that images for two architectures need no compiler.

/// Where the program is loaded.
const BASE: u64 = 0x40_0000;
/// The length of the ELF header and of one program header.
const HEADERS: usize = 64 + 56;

/// What a program does when it has written its text.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// It ends with the number of its arguments as exit code.
    Exit,
    /// It runs for ever.
    Stay,
    /// It does what no processor knows.
    Crash,
}

/// Makes a static Linux program that writes `text` and ends with the number of its arguments as exit code.
pub(crate) fn program(arch: &str, text: &str) -> Vec<u8> {
    program_and(arch, text, Then::Exit)
}

/// Makes a static Linux program that writes `text` and then does something else.
pub(crate) fn program_and(arch: &str, text: &str, then: Then) -> Vec<u8> {
    let (machine, code) = match arch {
        "amd64" => (62_u16, amd64(text, then)),
        "arm64" => (183, arm64(text, then)),
        other => panic!("{other}"),
    };
    let size = (HEADERS + code.len() + text.len()) as u64;
    let mut elf = Vec::new();
    // Source: System V ABI, "ELF Header": 64 bits, little-endian, an executable with one segment.
    elf.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    elf.extend([2_u16, machine].map(u16::to_le_bytes).concat());
    elf.extend(1_u32.to_le_bytes());
    elf.extend([BASE + HEADERS as u64, 64, 0].map(u64::to_le_bytes).concat());
    elf.extend(0_u32.to_le_bytes());
    elf.extend([64_u16, 56, 1, 64, 0, 0].map(u16::to_le_bytes).concat());
    elf.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    elf.extend([0, BASE, BASE, size, size, 0x1000].map(u64::to_le_bytes).concat());
    elf.extend(code);
    elf.extend(text.bytes());
    elf
}

/// `write(1, text, length)`, `exit(argc - 1)`.
fn amd64(text: &str, then: Then) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    let [a, b, c, d] = length;
    let last = match then {
        Then::Exit => [0x0f, 0x05],  // syscall
        Then::Stay => [0xeb, 0xfe],  // jmp to itself
        Then::Crash => [0x0f, 0x0b], // ud2
    };
    vec![
        0xb8, 1, 0, 0, 0, // mov eax, 1
        0xbf, 1, 0, 0, 0, // mov edi, 1
        0x48, 0x8d, 0x35, 21, 0, 0, 0, // lea rsi, [rip + 21]: behind the last instruction
        0xba, a, b, c, d, // mov edx, length
        0x0f, 0x05, // syscall
        0xb8, 60, 0, 0, 0, // mov eax, 60
        0x48, 0x8b, 0x3c, 0x24, // mov rdi, [rsp]
        0x48, 0xff, 0xcf, // dec rdi
        last[0], last[1],
    ]
}

/// The same.
fn arm64(text: &str, then: Then) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    let move_to = |register: u32, value: u32| 0xd280_0000 | (value << 5) | register;
    let (call, behind) = (0xd400_0001, 8 << 5);
    let last = match then {
        Then::Exit => call,
        Then::Stay => 0x1400_0000, // b to itself
        Then::Crash => 0,          // udf
    };
    let code = [
        move_to(0, 1),
        0x1000_0001 | behind, // adr x1, 32: behind the last instruction
        move_to(2, length),
        move_to(8, 64),
        call,
        0xf940_03e0, // ldr x0, [sp]
        0xd100_0400, // sub x0, x0, 1
        move_to(8, 93),
        last,
    ];
    code.map(u32::to_le_bytes).concat()
}
