//! Device policy in the unified hierarchy: a small program that the kernel
//! asks at each use of a device (BPF_PROG_TYPE_CGROUP_DEVICE; for the encoding
//! see the kernel's bpf/standardization/instruction-set.rst).

use crate::sys;
use gantry_core::cgroup::DevicePolicy;
use gantry_core::command::{DeviceAccess, DeviceKind};
use std::io;
use std::os::fd::OwnedFd;

/// The rules in force, and the program that does them.
#[derive(Default)]
pub(crate) struct Devices {
    policy: DevicePolicy,
    program: Option<OwnedFd>,
}

impl Devices {
    /// Puts a policy in force in a group, in one step if another was.
    pub(crate) fn enforce(&mut self, group: &OwnedFd, policy: DevicePolicy) -> io::Result<()> {
        if self.program.is_some() || !policy.is_open() {
            let program = sys::load_device_program(&assemble(&policy))?;
            sys::attach_device_program(group, &program, self.program.as_ref())?;
            self.program = Some(program);
        }
        self.policy = policy;
        Ok(())
    }

    /// Takes in one more rule.
    pub(crate) fn change(&mut self, group: &OwnedFd, rule: &DeviceAccess) -> io::Result<()> {
        let mut policy = self.policy.clone();
        policy.change(rule);
        self.enforce(group, policy)
    }
}

// Operations, as far as they are needed.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbc;
const SET: u8 = 0xb7;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

// Registers: the answer; the question (`struct bpf_cgroup_dev_ctx`), later
// what is being looked at; and the question's parts.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const SCRATCH: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// The fields of the question: the access in the upper half of the first word,
// the kind in the lower.
const ACCESS_TYPE_FIELD: i16 = 0;
const MAJOR_FIELD: i16 = 4;
const MINOR_FIELD: i16 = 8;
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ALL: i32 = MKNOD | READ | WRITE;

/// `struct bpf_insn`
fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    let mut bytes = [0; 8];
    let [_, registers, offset_place @ ..] = &mut bytes;
    *registers = if cfg!(target_endian = "little") {
        to | from << 4
    } else {
        to << 4 | from
    };
    let (offset_place, value_place) = offset_place.split_at_mut(2);
    offset_place.copy_from_slice(&offset.to_ne_bytes());
    value_place.copy_from_slice(&value.to_ne_bytes());
    bytes[0] = code;
    u64::from_ne_bytes(bytes)
}

fn answer(allowed: bool) -> [u64; 2] {
    [
        instruction(SET, ANSWER, 0, 0, i32::from(allowed)),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// The program of a policy.
fn assemble(policy: &DevicePolicy) -> Vec<u64> {
    let load = |to, field| instruction(LOAD_WORD, to, CONTEXT, field, 0);
    let mut program = vec![
        load(KIND, ACCESS_TYPE_FIELD),
        instruction(AND, KIND, 0, 0, 0xffff),
        load(ACCESS, ACCESS_TYPE_FIELD),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        load(MAJOR, MAJOR_FIELD),
        load(MINOR, MINOR_FIELD),
    ];
    for exception in &policy.exceptions {
        program.extend(block(exception, policy.allows));
    }
    program.extend(answer(policy.allows));
    program
}

/// Answers if the exception is about the question, else goes on behind.
fn block(exception: &DeviceAccess, allows: bool) -> Vec<u64> {
    let mut tests = Vec::new();
    let mut unless = |register, value| tests.push((JUMP_UNLESS_EQUAL, register, 0, value));
    match exception.kind {
        DeviceKind::Block => unless(KIND, BLOCK),
        DeviceKind::Character => unless(KIND, CHARACTER),
        DeviceKind::All => {}
    }
    for (register, number) in [(MAJOR, exception.major), (MINOR, exception.minor)] {
        if let Some(number) = number {
            unless(register, i32::try_from(number).unwrap_or(i32::MAX));
        }
    }
    let bits = [
        (exception.mknod, MKNOD),
        (exception.read, READ),
        (exception.write, WRITE),
    ];
    let covered: i32 = bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum();
    // An exception that denies counts if it is about any of what is asked for;
    // one that allows must be about all of it.
    let (mask, jump) = match allows {
        true => (covered, JUMP_IF_EQUAL),
        false => (ALL & !covered, JUMP_UNLESS_EQUAL),
    };
    tests.extend([
        (MOVE, SCRATCH, ACCESS, 0),
        (AND, SCRATCH, 0, mask),
        (jump, SCRATCH, 0, 0),
    ]);
    let answer = answer(!allows);
    let end = tests.len() + answer.len();
    let tests = tests.into_iter().enumerate();
    let tests = tests.map(|(index, (code, to, from, value))| {
        let offset = match code {
            JUMP_IF_EQUAL | JUMP_UNLESS_EQUAL => (end - index - 1) as i16,
            _ => 0,
        };
        instruction(code, to, from, offset, value)
    });
    tests.chain(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_core::settings::CgroupVersion;

    /// What the kernel would answer: runs the program on a question.
    fn ask(policy: &DevicePolicy, kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let program = assemble(policy);
        let question = [(access << 16 | kind) as u32, major, minor];
        let mut registers = [0_u64; 6];
        let mut at = 0;
        loop {
            let [code, operands, rest @ ..] = program[at].to_ne_bytes();
            let (to, from) = (usize::from(operands & 15), usize::from(operands >> 4));
            let offset = i16::from_ne_bytes([rest[0], rest[1]]);
            let value = i32::from_ne_bytes([rest[2], rest[3], rest[4], rest[5]]);
            at += 1;
            let jumps = match code {
                LOAD_WORD => {
                    registers[to] = question[offset as usize / 4].into();
                    false
                }
                MOVE => {
                    registers[to] = registers[from];
                    false
                }
                SET => {
                    registers[to] = value as u64;
                    false
                }
                AND => {
                    registers[to] &= value as u64;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= value;
                    false
                }
                JUMP_IF_EQUAL => registers[to] == value as u64,
                JUMP_UNLESS_EQUAL => registers[to] != value as u64,
                EXIT => return registers[0] == 1,
                other => panic!("unknown operation {other:#x}"),
            };
            if jumps {
                at += offset as usize;
            }
        }
    }

    fn policy(rules: &[(&str, bool)]) -> DevicePolicy {
        let rules: Vec<_> = rules
            .iter()
            .map(|(text, allow)| DeviceAccess::parse(text, *allow).unwrap())
            .collect();
        DevicePolicy::from_rules(CgroupVersion::V2, &rules)
    }

    #[test]
    fn what_alone_is_allowed() {
        let rules = [
            ("a", false),
            ("c 1:3 rw", true),
            ("b 7:* rwm", true),
            ("c *:* m", true),
        ];
        let policy = policy(&rules);
        let yes = [
            (CHARACTER, READ | WRITE, 1, 3),
            (CHARACTER, READ, 1, 3),
            (CHARACTER, MKNOD, 9, 9),
            (BLOCK, ALL, 7, 5),
        ];
        for (kind, access, major, minor) in yes {
            assert!(ask(&policy, kind, access, major, minor), "{major}:{minor}");
        }
        let no = [
            // No single rule is about all of it.
            (CHARACTER, ALL, 1, 3),
            (CHARACTER, READ, 1, 5),
            (BLOCK, READ, 1, 3),
            (BLOCK, READ, 8, 5),
        ];
        for (kind, access, major, minor) in no {
            assert!(!ask(&policy, kind, access, major, minor), "{major}:{minor}");
        }
    }

    #[test]
    fn what_alone_is_denied() {
        let policy = policy(&[("a", true), ("c 10:229 w", false), ("b *:1 rwm", false)]);
        assert!(ask(&policy, CHARACTER, READ, 10, 229));
        assert!(ask(&policy, BLOCK, ALL, 8, 2));
        assert!(!ask(&policy, CHARACTER, READ | WRITE, 10, 229));
        assert!(!ask(&policy, BLOCK, READ, 8, 1));
    }

    #[test]
    fn nothing_and_everything() {
        assert!(!ask(&policy(&[("a", false)]), CHARACTER, READ, 1, 3));
        assert!(ask(&policy(&[]), BLOCK, ALL, 8, 0));
    }
}
