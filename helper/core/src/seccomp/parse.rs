//! The grammar of profiles.

use super::{
    Action, Architecture, Call, Comparison, Condition, EACCES, MNT_FORCE, Profile, ProfileError,
    Rule,
};

/// seccomp(2): a call has six arguments.
const MAX_ARGUMENTS: usize = 6;

type Parsed<T> = Result<T, String>;

pub(super) fn profile(text: &str) -> Result<Profile, ProfileError> {
    let mut lines = (1..).zip(text.lines().map(str::trim));
    let at = |line, message| ProfileError { line, message };
    let version = match lines.next() {
        Some((_, "1")) => 1,
        Some((_, "2")) => 2,
        _ => return Err(at(1, "the version must be 1 or 2".to_owned())),
    };
    let policy = lines
        .next()
        .ok_or_else(|| "there is no policy; add 'allowlist' or 'denylist'".to_owned())
        .and_then(|(_, line)| policy(line))
        .map_err(|message| at(2, message))?;
    let mut rules = Vec::new();
    let mut section = Section::All;
    for (number, line) in lines {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let read = match version {
            1 => version_1(line, policy).map(|rule| rules.push(rule)),
            _ => version_2(line, policy, &mut section).map(|rule| rules.extend(rule)),
        };
        read.map_err(|message| at(number, message))?;
    }
    if version == 1 && policy.rule != Action::Allow {
        return Err(at(2, "version 1 knows 'allowlist' only".to_owned()));
    }
    Ok(Profile {
        default: policy.default,
        rules,
        compatible: version == 2,
    })
}

/// What becomes of calls without a rule, and by a rule without an action.
#[derive(Clone, Copy)]
struct Policy {
    default: Action,
    rule: Action,
}

fn policy(line: &str) -> Parsed<Policy> {
    let (word, rest) = split_word(line);
    let (default, rule) = match word {
        "allowlist" | "whitelist" => (Action::Kill, Action::Allow),
        "denylist" | "blacklist" => (Action::Allow, Action::Kill),
        _ => {
            return Err(format!(
                "'{word}' is no policy; write 'allowlist' or 'denylist'"
            ));
        }
    };
    let default = match rest {
        "" => default,
        rest => action(rest)?.ok_or_else(|| format!("'{rest}' is no action"))?,
    };
    Ok(Policy { default, rule })
}

fn version_1(line: &str, policy: Policy) -> Parsed<Rule> {
    let (word, _) = split_word(line);
    let number = word
        .parse()
        .map_err(|_| format!("'{word}' is no system call's number"))?;
    Ok(Rule {
        architecture: None,
        call: Call::Number(number),
        action: policy.rule,
        conditions: Vec::new(),
    })
}

/// Which architecture the rules are for that follow a section's header.
enum Section {
    All,
    Only(Architecture),
}

fn version_2(line: &str, policy: Policy, section: &mut Section) -> Parsed<Option<Rule>> {
    if line.starts_with('[') {
        *section = header(line)?;
        return Ok(None);
    }
    let architecture = match section {
        Section::All => None,
        Section::Only(architecture) => Some(*architecture),
    };
    let (call, rest) = split_word(line);
    if call == "reject_force_umount" {
        return Ok(Some(Rule {
            architecture,
            call: Call::Name("umount2".to_owned()),
            action: Action::Errno(EACCES),
            conditions: vec![Condition {
                argument: 1,
                comparison: Comparison::MaskedEqual(MNT_FORCE),
                value: MNT_FORCE,
            }],
        }));
    }
    Ok(Some(Rule {
        architecture,
        call: Call::Name(call.to_owned()),
        // As LXC has it, another word in the action's place is none.
        action: action(rest)?.unwrap_or(policy.rule),
        conditions: conditions(rest)?,
    }))
}

fn header(line: &str) -> Parsed<Section> {
    let name = line
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match name {
        Some("all" | "ALL") => Ok(Section::All),
        Some(name) => Architecture::from_name(name)
            .map(Section::Only)
            .ok_or_else(|| format!("the architecture '{name}' is unknown")),
        None => Err(format!("'{line}' is no section; it has no ']' at its end")),
    }
}

/// The action at the beginning of a text; none if it begins otherwise.
fn action(text: &str) -> Parsed<Option<Action>> {
    let word = text.split([' ', '\t', '[', '#']).next().unwrap_or_default();
    Ok(Some(match word {
        "kill" => Action::Kill,
        "allow" => Action::Allow,
        "trap" => Action::Trap,
        "notify" => Action::Notify,
        "errno" => {
            let (_, rest) = split_word(text);
            let number = rest.split([' ', '\t', '[', '#']).next().unwrap_or_default();
            let number = number
                .parse()
                .map_err(|_| format!("'errno' needs a number from 0 to 65535, not '{number}'"))?;
            Action::Errno(number)
        }
        _ => return Ok(None),
    }))
}

/// `[argument,value,comparison]` or `[argument,value,comparison,mask]`, any
/// number of them.
fn conditions(text: &str) -> Parsed<Vec<Condition>> {
    let mut conditions = Vec::new();
    let mut rest = text;
    while let Some((_, from)) = rest.split_once('[') {
        let (inner, after) = from
            .split_once(']')
            .ok_or_else(|| format!("the condition '[{from}' has no ']'"))?;
        conditions.push(condition(inner).ok_or_else(|| {
            format!("'[{inner}]' is no condition; write [argument,value,comparison]")
        })?);
        rest = after;
    }
    if conditions.len() > MAX_ARGUMENTS {
        return Err("there are more than six conditions".to_owned());
    }
    Ok(conditions)
}

fn condition(text: &str) -> Option<Condition> {
    let mut parts = text.split(',').map(str::trim);
    let argument = number(parts.next()?)?;
    let value = number(parts.next()?)?;
    let name = parts.next()?;
    let mask = parts.next().map(number);
    if argument >= MAX_ARGUMENTS as u64 || parts.next().is_some() || mask == Some(None) {
        return None;
    }
    let comparison = match name {
        "SCMP_CMP_NE" | "!=" => Comparison::NotEqual,
        "SCMP_CMP_LT" | "<" => Comparison::Less,
        "SCMP_CMP_LE" | "<=" => Comparison::LessOrEqual,
        "SCMP_CMP_EQ" | "==" => Comparison::Equal,
        "SCMP_CMP_GE" | ">=" => Comparison::GreaterOrEqual,
        "SCMP_CMP_GT" | ">" => Comparison::Greater,
        "SCMP_CMP_MASKED_EQ" | "&=" => Comparison::MaskedEqual(mask.flatten().unwrap_or(0)),
        _ => return None,
    };
    Some(Condition {
        argument: argument as u32,
        comparison,
        value,
    })
}

/// A number as C writes it: decimal, 0x for hexadecimal, 0 for octal; a
/// negative one stands for its bits.
fn number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (digits, radix) = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// The first word, and what follows the blanks after it.
fn split_word(line: &str) -> (&str, &str) {
    line.split_once([' ', '\t'])
        .map_or((line, ""), |(word, rest)| (word, rest.trim_start()))
}
