//! Messages against bytes written by hand, as a little-endian machine has
//! them.

use super::*;
use crate::states::State;

/// Bytes of a length, zero but for what is given at offsets.
fn bytes(length: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (offset, part) in parts {
        bytes[*offset..*offset + part.len()].copy_from_slice(part);
    }
    bytes
}

#[test]
fn numbers_of_the_table() {
    assert_eq!(Command::ALL.len(), 27);
    for (number, command) in Command::ALL.iter().enumerate() {
        assert_eq!(command.number(), number as i32);
        assert_eq!(Command::from_number(number as i32), Some(*command));
    }
    assert_eq!(Command::from_number(27), None);
    assert_eq!(Command::from_number(-1), None);
}

/// What `lxc-console -t 1` sends, by hand, on a little-endian machine.
#[cfg(target_endian = "little")]
#[test]
fn request_bytes() {
    let bytes = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(RequestHeader::inline(Command::GetTtyFd, 1).encode(), bytes);
    assert_eq!(
        RequestHeader::decode(&bytes),
        Ok(RequestHeader {
            command: 0,
            data_len: 0,
            inline: 1
        })
    );
    let item = RequestHeader::with_data(7, 9).encode();
    assert_eq!(item, [7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn next_free_tty_is_minus_one() {
    let header = RequestHeader::inline(Command::GetTtyFd, -1_i64 as u64);
    assert_eq!(
        RequestHeader::decode(&header.encode())
            .unwrap()
            .inline_i32(),
        -1
    );
    let short = RequestHeader::inline(Command::GetTtyFd, u64::from(u32::MAX));
    assert_eq!(short.inline_i32(), -1);
}

#[test]
fn lengths_are_checked() {
    let request = |length: i32| {
        let mut bytes = [0; HEADER_LEN];
        bytes[4..8].copy_from_slice(&length.to_ne_bytes());
        RequestHeader::decode(&bytes)
    };
    assert!(request(8192).is_ok());
    assert_eq!(request(8193), Err(WireError::DataLength(8193)));
    assert_eq!(request(-1), Err(WireError::DataLength(-1)));
    assert!(RequestHeader::decode(&[0; 12]).is_err());
    assert!(ResponseHeader::decode(&[0; 17]).is_err());
}

#[test]
fn responses() {
    let refused = ResponseHeader::failure(1);
    assert_eq!(refused.encode()[..4], (-1_i32).to_ne_bytes());
    let state = ResponseHeader::inline(2);
    assert_eq!(ResponseHeader::decode(&state.encode()), Ok(state));
}

#[test]
fn texts_end_in_one_nul() {
    assert_eq!(encode_text("lxc.arch"), b"lxc.arch\0");
    assert_eq!(decode_text(b"lxc.arch\0"), Ok("lxc.arch"));
    assert_eq!(decode_text(b"\0"), Ok(""));
    for bad in [&b""[..], b"abc", b"a\0b\0", b"\xff\0"] {
        assert_eq!(decode_text(bad), Err(WireError::Text));
    }
}

#[test]
fn state_interest() {
    let wanted = bytes(32, &[(0, &[1]), (8, &[1])]);
    let interest = StateInterest::of(&[State::Stopped, State::Running]);
    assert_eq!(interest.encode().as_slice(), wanted);
    assert_eq!(StateInterest::decode(&wanted), Ok(interest));
    assert!(interest.is_met_by(State::Running) && !interest.is_met_by(State::Frozen));
    let next = StateInterest::decode(&bytes(32, &[(8, &[2])])).unwrap();
    assert_eq!(next, StateInterest::next_running());
    assert!(next.wants(State::Running) && !next.is_met_by(State::Running));
    assert!(StateInterest::decode(&[0; 31]).is_err());
}

#[test]
fn console_log() {
    let wanted = bytes(24, &[(1, &[1]), (8, &[0, 16]), (16, &[1])]);
    let log = ConsoleLog {
        clear: false,
        read: true,
        read_max: 4096,
        write_log_file: true,
    };
    assert_eq!(log.encode().as_slice(), wanted);
    assert_eq!(ConsoleLog::decode(&wanted), Ok(log));
    assert!(
        ConsoleLog::decode(&bytes(24, &[(0, &[0xff])]))
            .unwrap()
            .clear
    );
    assert!(ConsoleLog::decode(&[0; 25]).is_err());
}

#[test]
fn device_access() {
    let wanted = bytes(
        40,
        &[
            (0, b"c"),
            (4, &[1]),
            (8, &[0xff; 4]),
            (12, b"rw"),
            (16, &[1]),
        ],
    );
    let rule = DeviceAccess {
        kind: DeviceKind::Character,
        major: Some(1),
        minor: None,
        read: true,
        write: true,
        mknod: false,
        allow: true,
    };
    assert_eq!(rule.encode().as_slice(), wanted);
    assert_eq!(DeviceAccess::decode(&wanted), Ok(rule));
    // The sender's list pointers do not count.
    let mut pointers = wanted.clone();
    pointers[24..].fill(0xaa);
    assert_eq!(DeviceAccess::decode(&pointers), Ok(rule));
    for (offset, part) in [
        (0, &b"x"[..]),
        (4, &[0xfe, 0xff, 0xff, 0xff]),
        (12, b"rwx"),
        (12, b"rwmr"),
    ] {
        let mut bad = wanted.clone();
        bad[offset..offset + part.len()].copy_from_slice(part);
        assert!(DeviceAccess::decode(&bad).is_err(), "{part:?}");
    }
}

#[test]
fn device_rules() {
    let rule = DeviceAccess::parse("c 136:* rwm", true).unwrap();
    assert_eq!(
        (rule.kind, rule.major, rule.minor),
        (DeviceKind::Character, Some(136), None)
    );
    assert!(rule.read && rule.write && rule.mknod && rule.allow);
    let all = DeviceAccess::parse("a", false).unwrap();
    assert_eq!(
        (all.kind, all.major, all.read, all.allow),
        (DeviceKind::All, None, true, false)
    );
    let mknod = DeviceAccess::parse("b *:* m", true).unwrap();
    assert!(mknod.mknod && !mknod.read && mknod.minor.is_none());
    assert_eq!(
        DeviceAccess::parse("a *:* rwm", true).unwrap().kind,
        DeviceKind::All
    );
    for bad in [
        "",
        "x 1:3 rwm",
        "c",
        "c 1 rwm",
        "c 1:3 rwx",
        "c 1:3 rwm 5",
        "c -1:3 r",
        "/dev/null rwm",
    ] {
        assert!(DeviceAccess::parse(bad, true).is_err(), "{bad}");
    }
}

#[test]
fn cgroup_context() {
    let context = CgroupContext {
        layout: CgroupLayout::Unified,
        utilities: CgroupLayout::Unified.utilities(),
        fd_count: 1,
    };
    let sent = context.encode();
    assert_eq!(sent[..12], bytes(12, &[(0, &[2]), (4, &[3]), (8, &[1])]));
    assert!(sent[12..92].iter().all(|byte| *byte == 0xff));
    assert_eq!(sent[92..], [0; 4]);
}

#[test]
fn cgroup_descriptor() {
    let wanted = bytes(
        80,
        &[
            (0, &[1]),
            (8, &[0xeb, 0xe0, 0x27, 0]),
            (12, &[0xff; 4]),
            (16, b"memory"),
        ],
    );
    let descriptor = CgroupDescriptor {
        layout: CgroupLayout::Hybrid,
        utilities: 0,
        filesystem: CgroupDescriptor::CGROUP1,
        controller: "memory".to_owned(),
    };
    assert_eq!(descriptor.encode().as_slice(), wanted);
    assert_eq!(CgroupDescriptor::decode(&wanted), Ok(descriptor));
    assert_eq!(
        CgroupDescriptor::CGROUP2.to_le_bytes(),
        [0x70, 0x72, 0x67, 0x63]
    );
    assert!(CgroupDescriptor::decode(&bytes(80, &[(16, &[b'x'; 64])])).is_err());
    assert!(CgroupDescriptor::decode(&bytes(80, &[(16, &[0xff])])).is_err());
}

#[test]
fn state_messages() {
    let wanted = bytes(264, &[(4, b"web"), (260, &[2])]);
    assert_eq!(
        StateMessage::state("web", State::Running)
            .encode()
            .as_slice(),
        wanted
    );
    let exit = StateMessage::decode(&bytes(264, &[(0, &[2]), (4, b"web"), (261, &[1])])).unwrap();
    assert_eq!(exit, StateMessage::exit_code("web", 256));
    let long = StateMessage::state(&"é".repeat(200), State::Stopped).encode();
    assert_eq!(StateMessage::decode(&long).unwrap().name, "é".repeat(127));
    assert!(StateMessage::decode(&bytes(264, &[(0, &[3])])).is_err());
    assert!(StateMessage::decode(&bytes(264, &[(4, &[b'x'; 256])])).is_err());
    assert!(StateMessage::decode(&[0; 263]).is_err());
}
