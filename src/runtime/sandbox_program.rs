//! The program of every sandbox, assembled by hand: a static ELF file of a few hundred bytes.
//!
//! It must run on any engine without a compiler, a registry or a C library, so it is made here, instruction by
//! instruction. As process 1 of a pod it does exactly three things:
//!
//! 1. ignore SIGCHLD, so that the kernel itself reaps every orphan of the pod;
//! 2. block SIGTERM and SIGINT (process 1 would otherwise not even receive them), then
//! 3. wait for one of the two and exit with 0. It uses no processor time meanwhile.
//!
//! System call numbers: Linux `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`.

/// Where the file is mapped; any free page-aligned address serves.
const BASE: u64 = 0x40_0000;
/// Segment alignment: the largest page size of arm64 kernels, a multiple of every smaller one.
const ALIGN: u64 = 0x1_0000;
const ELF_HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const PROGRAM_HEADERS: usize = 2;
const CODE_OFFSET: usize = ELF_HEADER_BYTES + PROGRAM_HEADERS * PROGRAM_HEADER_BYTES;

const SIGINT: u32 = 2;
const SIGTERM: u32 = 15;
const SIGCHLD: u32 = 17;
/// The kernel's signal sets are 64 bits wide; every signal call wants to hear that.
const SIGNAL_SET_BYTES: u32 = 8;

/// The program for a processor architecture by its Go name; `None` where there is none.
pub(crate) fn elf(architecture: &str) -> Option<Vec<u8>> {
    match architecture {
        "amd64" => Some(file(0x3e, &x86_64())),
        "arm64" => Some(file(0xb7, &aarch64())),
        _ => None,
    }
}

/// The constant data behind the code: `struct sigaction` with the handler SIG_IGN (1), and the set of signals to wait
/// for. Signal n is bit n-1.
fn data() -> [u8; 40] {
    let mut data = [0; 40];
    data[0] = 1;
    let mask = 1u64 << (SIGTERM - 1) | 1u64 << (SIGINT - 1);
    data[32..].copy_from_slice(&mask.to_le_bytes());
    data
}

const SIGACTION_OFFSET: usize = 0;
const MASK_OFFSET: usize = 32;

/// Code and data for x86-64. Arguments go in rdi, rsi, rdx and r10, the call's number in rax; rdx and r10 survive.
fn x86_64() -> Vec<u8> {
    const CODE_BYTES: usize = 72;
    let mut code: Vec<u8> = Vec::new();
    // lea REG, [rip + distance]: the distance counts from the end of this 7-byte instruction.
    let lea = |code: &mut Vec<u8>, register: u8, data_offset: usize| {
        let distance = (CODE_BYTES + data_offset - (code.len() + 7)) as u32;
        code.extend([0x48, 0x8d, register]);
        code.extend(distance.to_le_bytes());
    };
    let number = |code: &mut Vec<u8>, opcode: u8, value: u32| {
        code.push(opcode);
        code.extend(value.to_le_bytes());
    };
    const LEA_RSI: u8 = 0x35;
    const LEA_RDI: u8 = 0x3d;
    const MOV_EAX: u8 = 0xb8;
    const MOV_EDI: u8 = 0xbf;
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    const ZERO_EDX: [u8; 2] = [0x31, 0xd2];
    const ZERO_ESI: [u8; 2] = [0x31, 0xf6];
    const ZERO_EDI: [u8; 2] = [0x31, 0xff];

    // rt_sigaction(SIGCHLD, &ignore, NULL, 8)
    code.extend(ZERO_EDX);
    code.push(0x41); // with the next byte: mov r10d, imm32
    number(&mut code, 0xba, SIGNAL_SET_BYTES);
    number(&mut code, MOV_EDI, SIGCHLD);
    lea(&mut code, LEA_RSI, SIGACTION_OFFSET);
    number(&mut code, MOV_EAX, 13);
    code.extend(SYSCALL);
    // rt_sigprocmask(SIG_BLOCK = 0, &mask, NULL, 8)
    code.extend(ZERO_EDI);
    lea(&mut code, LEA_RSI, MASK_OFFSET);
    number(&mut code, MOV_EAX, 14);
    code.extend(SYSCALL);
    // wait: rt_sigtimedwait(&mask, NULL, NULL, 8)
    let wait = code.len();
    lea(&mut code, LEA_RDI, MASK_OFFSET);
    code.extend(ZERO_ESI);
    number(&mut code, MOV_EAX, 128);
    code.extend(SYSCALL);
    // test eax, eax; jle wait: an interruption (EINTR) comes back as a negative number.
    code.extend([0x85, 0xc0, 0x7e]);
    let back = wait as i64 - (code.len() as i64 + 1);
    code.push(back as i8 as u8);
    // exit_group(0)
    code.extend(ZERO_EDI);
    number(&mut code, MOV_EAX, 231);
    code.extend(SYSCALL);
    code.extend(data());
    code
}

/// Code and data for arm64. Arguments go in x0 to x3, the call's number in x8; only x0 changes in a call.
fn aarch64() -> Vec<u8> {
    const INSTRUCTIONS: usize = 19;
    const SVC: u32 = 0xd400_0001;
    const CMP_X0_ZERO: u32 = 0xf100_001f;
    let mut code: Vec<u32> = Vec::new();
    // movz xREG, #value
    let movz = |register: u32, value: u32| 0xd280_0000 | value << 5 | register;
    // adr xREG, data: the distance counts from this instruction.
    let adr = |at: usize, register: u32, data_offset: usize| {
        let distance = ((INSTRUCTIONS - at) * 4 + data_offset) as u32;
        0x1000_0000 | (distance & 3) << 29 | (distance >> 2) << 5 | register
    };

    // rt_sigaction(SIGCHLD, &ignore, NULL, 8)
    code.push(movz(0, SIGCHLD));
    code.push(adr(code.len(), 1, SIGACTION_OFFSET));
    code.push(movz(2, 0));
    code.push(movz(3, SIGNAL_SET_BYTES));
    code.push(movz(8, 134));
    code.push(SVC);
    // rt_sigprocmask(SIG_BLOCK = 0, &mask, NULL, 8)
    code.push(movz(0, 0));
    code.push(adr(code.len(), 1, MASK_OFFSET));
    code.push(movz(8, 135));
    code.push(SVC);
    // wait: rt_sigtimedwait(&mask, NULL, NULL, 8)
    let wait = code.len();
    code.push(adr(code.len(), 0, MASK_OFFSET));
    code.push(movz(1, 0));
    code.push(movz(8, 137));
    code.push(SVC);
    // cmp x0, #0; b.le wait
    code.push(CMP_X0_ZERO);
    let back = (wait as i32 - code.len() as i32) as u32 & 0x7_ffff;
    code.push(0x5400_000d | back << 5);
    // exit_group(0)
    code.push(movz(0, 0));
    code.push(movz(8, 94));
    code.push(SVC);
    code.iter().flat_map(|word| word.to_le_bytes()).chain(data()).collect()
}

/// Wraps code into an ELF executable with one readable and executable segment and a stack that is not executable.
fn file(machine: u16, code: &[u8]) -> Vec<u8> {
    let total = (CODE_OFFSET + code.len()) as u64;
    let mut file = Vec::with_capacity(CODE_OFFSET + code.len());
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // 64-bit, little endian, version 1, System V ABI.
    put(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    put(&2u16.to_le_bytes()); // an executable at fixed addresses
    put(&machine.to_le_bytes());
    put(&1u32.to_le_bytes());
    put(&(BASE + CODE_OFFSET as u64).to_le_bytes()); // entry
    put(&(ELF_HEADER_BYTES as u64).to_le_bytes()); // program headers follow
    put(&0u64.to_le_bytes()); // no sections
    put(&0u32.to_le_bytes());
    for half in [ELF_HEADER_BYTES, PROGRAM_HEADER_BYTES, PROGRAM_HEADERS, 64, 0, 0] {
        put(&(half as u16).to_le_bytes());
    }
    // PT_LOAD, readable and executable: the whole file.
    put(&1u32.to_le_bytes());
    put(&5u32.to_le_bytes());
    for word in [0, BASE, BASE, total, total, ALIGN] {
        put(&word.to_le_bytes());
    }
    // PT_GNU_STACK, readable and writable.
    put(&0x6474_e551u32.to_le_bytes());
    put(&6u32.to_le_bytes());
    for word in [0u64, 0, 0, 0, 0, 16] {
        put(&word.to_le_bytes());
    }
    put(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(architecture: &str) -> Vec<u8> {
        elf(architecture).unwrap()[CODE_OFFSET..].to_vec()
    }

    #[test]
    fn there_is_a_program_for_each_architecture_and_none_for_others() {
        for architecture in ["amd64", "arm64"] {
            let file = elf(architecture).unwrap();
            assert_eq!(&file[..4], b"\x7fELF");
            // The file size in the load segment is the file's size: nothing is read beyond its end.
            let size = u64::from_le_bytes(file[64 + 32..64 + 40].try_into().unwrap());
            assert_eq!(size, file.len() as u64);
        }
        assert_eq!(elf("riscv64"), None);
    }

    #[test]
    fn data_follows_the_code_where_the_code_looks_for_it() {
        // x86-64: the third instruction pair is `mov edi`, then `lea rsi`: rip-relative from its end.
        let x86 = code("amd64");
        let lea = x86.windows(3).position(|bytes| bytes == [0x48, 0x8d, 0x35]).unwrap();
        let distance = u32::from_le_bytes(x86[lea + 3..lea + 7].try_into().unwrap()) as usize;
        assert_eq!(x86[lea + 7 + distance..lea + 15 + distance], 1u64.to_le_bytes(), "SIG_IGN");
        // arm64: `adr x1` is the second instruction.
        let arm = code("arm64");
        let adr = u32::from_le_bytes(arm[4..8].try_into().unwrap());
        let distance = ((adr >> 5 & 0x7_ffff) << 2 | adr >> 29 & 3) as usize;
        assert_eq!(arm[4 + distance..12 + distance], 1u64.to_le_bytes(), "SIG_IGN");
    }

    /// Runs the program for this machine's own architecture as an ordinary process.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[tokio::test]
    async fn it_waits_and_ends_on_a_signal() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sandbox");
        std::fs::write(&path, elf("amd64").unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = tokio::process::Command::new(&path).kill_on_drop(true).spawn().unwrap();
        let id = child.id().unwrap();
        // It sleeps nowhere but in its wait, and by then ignores SIGCHLD (bit 16). Before that SIGTERM would kill it.
        let status = format!("/proc/{id}/status");
        let ready = async {
            loop {
                let now = std::fs::read_to_string(&status).unwrap();
                let ignored = now.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
                let ignores_children = u64::from_str_radix(ignored, 16).unwrap() >> (SIGCHLD - 1) & 1 == 1;
                if ignores_children && now.contains("State:\tS") {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), ready).await.unwrap();
        let sent = std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status().unwrap();
        assert!(sent.success());
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), child.wait()).await.unwrap();
        assert_eq!(ended.unwrap().code(), Some(0));
    }
}
