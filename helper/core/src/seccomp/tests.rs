use super::*;
use proptest::prelude::*;

fn rules(text: &str) -> Vec<Rule> {
    Profile::parse(text).unwrap().rules
}

fn fault(text: &str) -> (u32, String) {
    let error = Profile::parse(text).unwrap_err();
    (error.line, error.message)
}

fn rule(call: &str, action: Action) -> Rule {
    Rule {
        architecture: None,
        call: Call::Name(call.to_owned()),
        action,
        conditions: Vec::new(),
    }
}

#[test]
fn the_common_profile_denies_and_lets_the_rest_through() {
    let profile = Profile::parse(COMMON).unwrap();
    assert_eq!(profile.default, Action::Allow);
    assert!(profile.compatible);
    assert_eq!(profile.rules.len(), 6);
    assert_eq!(
        profile.rules[0],
        Rule {
            conditions: vec![Condition {
                argument: 1,
                comparison: Comparison::MaskedEqual(1),
                value: 1
            }],
            ..rule("umount2", Action::Errno(13))
        }
    );
    assert_eq!(profile.rules[1], rule("kexec_load", Action::Errno(1)));
}

#[test]
fn version_1_is_a_list_of_allowed_numbers() {
    let profile = Profile::parse("1\nwhitelist\n0\n231\n").unwrap();
    assert_eq!((profile.default, profile.compatible), (Action::Kill, false));
    assert_eq!(profile.rules[1].call, Call::Number(231));
    assert_eq!(profile.rules[1].action, Action::Allow);
    assert_eq!(fault("1\ndenylist\n0\n").0, 2);
    assert_eq!(fault("1\nallowlist\nread\n").0, 3);
}

#[test]
fn policies_have_defaults_and_take_others() {
    let of = |text: &str| {
        let profile = Profile::parse(text).unwrap();
        (profile.default, profile.rules[0].action)
    };
    assert_eq!(of("2\nallowlist\nread"), (Action::Kill, Action::Allow));
    assert_eq!(of("2\nblacklist\nread"), (Action::Allow, Action::Kill));
    assert_eq!(
        of("2\nwhitelist errno 38\nread"),
        (Action::Errno(38), Action::Allow)
    );
    assert_eq!(
        of("2\ndenylist allow\nmount notify"),
        (Action::Allow, Action::Notify)
    );
    assert_eq!(fault("2\ndenylist perhaps\n").0, 2);
    assert_eq!(fault("2\ngreylist\n").0, 2);
    assert_eq!(fault("2\n").0, 2);
    assert_eq!(fault("3\nallowlist\n").0, 1);
    assert_eq!(fault("").0, 1);
}

#[test]
fn sections_limit_rules_to_an_architecture() {
    let architectures: Vec<_> = rules(
        "2\ndenylist\nread\n[x86]\nread\n[X86_64]\nread\n# a comment\n\n[all]\nread errno 5\n[arm64]\nread trap",
    )
    .into_iter()
    .map(|rule| rule.architecture)
    .collect();
    let (x86, x86_64, arm64) = (
        Some(Architecture::X86),
        Some(Architecture::X86_64),
        Some(Architecture::Arm64),
    );
    assert_eq!(architectures, [None, x86, x86_64, None, arm64]);
    assert_eq!(fault("2\ndenylist\n[vax]\nread\n").0, 3);
    assert_eq!(fault("2\ndenylist\n[X86_64\nread\n").0, 3);
    assert_eq!(Architecture::from_name("Arm64"), None);
}

#[test]
fn conditions_compare_arguments() {
    let with = |conditions: &str| {
        rules(&format!("2\nallowlist\nioctl {conditions}"))
            .remove(0)
            .conditions
    };
    assert_eq!(
        with("allow [1,0x5401,==] [0,-1,SCMP_CMP_NE]"),
        [
            Condition {
                argument: 1,
                comparison: Comparison::Equal,
                value: 0x5401
            },
            Condition {
                argument: 0,
                comparison: Comparison::NotEqual,
                value: u64::MAX
            }
        ]
    );
    assert_eq!(
        with("[2,010,&=,0xff]"),
        [Condition {
            argument: 2,
            comparison: Comparison::MaskedEqual(0xff),
            value: 8
        }]
    );
    for wrong in ["[6,0,==]", "[0,0]", "[0,0,~]", "[0,x,==]", "[0,0,==", "[]"] {
        assert_eq!(
            fault(&format!("2\nallowlist\nioctl {wrong}")).0,
            3,
            "{wrong}"
        );
    }
}

#[test]
fn what_is_no_action_is_the_policys_as_with_lxc() {
    assert_eq!(rules("2\ndenylist\nread log")[0].action, Action::Kill);
    assert_eq!(rules("2\nallowlist\nread # why")[0].action, Action::Allow);
    assert_eq!(
        rules("2\ndenylist\nread errno 7[0,1,==]")[0].action,
        Action::Errno(7)
    );
    assert_eq!(fault("2\ndenylist\nread errno\n").0, 3);
    assert_eq!(fault("2\ndenylist\nread errno 65536\n").0, 3);
}

#[test]
fn machines_have_compatible_architectures() {
    assert_eq!(Architecture::of_machine("x86_64").len(), 3);
    assert_eq!(Architecture::of_machine("armv7l"), [Architecture::Arm]);
    assert_eq!(Architecture::of_machine("riscv64"), []);
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "[12]\n(allow|deny)list.{0,40}\n(.{0,60}\n){0,8}") {
        if let Err(error) = Profile::parse(&text) {
            prop_assert!(error.line as usize <= text.lines().count().max(2));
        }
    }

    #[test]
    fn rules_mean_what_they_say(call in "[a-z_0-9]{1,20}", errno in any::<u16>(), argument in 0..6u32, value in any::<u64>()) {
        prop_assume!(call != "reject_force_umount");
        let text = format!("2\ndenylist\n{call} errno {errno} [{argument},{value:#x},>=]\n");
        let expected = Rule {
            conditions: vec![Condition { argument, comparison: Comparison::GreaterOrEqual, value }],
            ..rule(&call, Action::Errno(errno))
        };
        prop_assert_eq!(rules(&text), [expected]);
    }
}
