//! Options of skopeo and crane that somebody types out of habit: which one it is here.
//!
//! By likeness alone, `--src-tls-verify` would be taken for `--src-ca-file`.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// What they are here. Nothing of a value that was typed is repeated: it can be a password.
const HABITS: &[(&str, &str)] = &[
    (
        "--all",
        "everything is copied unless --platform chooses: leave it out",
    ),
    (
        "--multi-arch",
        "everything is copied unless --platform chooses",
    ),
    (
        "--preserve-digests",
        "digests stay unless --format or --compression change the form: leave it out",
    ),
    ("--tls-verify", "use --insecure for `--tls-verify=false`"),
    (
        "--src-tls-verify",
        "use --src-insecure for `--src-tls-verify=false`",
    ),
    (
        "--dest-tls-verify",
        "use --dest-insecure for `--dest-tls-verify=false`",
    ),
    ("--creds", "use --creds-file: others can read arguments"),
    (
        "--src-creds",
        "use --src-creds-file: others can read arguments",
    ),
    (
        "--dest-creds",
        "use --dest-creds-file: others can read arguments",
    ),
    ("--cert-dir", "use --ca-file"),
    ("--src-cert-dir", "use --src-ca-file"),
    ("--dest-cert-dir", "use --dest-ca-file"),
    ("--insecure", "use --src-insecure or --dest-insecure"),
    ("--override-arch", "use --platform OS/ARCHITECTURE"),
    ("--override-os", "use --platform OS/ARCHITECTURE"),
    (
        "--override-variant",
        "use --platform OS/ARCHITECTURE/VARIANT",
    ),
    (
        "--dest-compress-format",
        "use --compression ALGORITHM[:LEVEL]",
    ),
    ("--dest-compress-level", "use --compression ALGORITHM:LEVEL"),
    ("--remove-signatures", "use --no-referrers"),
    ("--jobs", "use --parallel"),
    ("--full-ref", "use --full"),
];

/// Puts what the option is here in the place of what it looks like.
pub(super) fn correct(error: &mut clap::Error) {
    if error.kind() != ErrorKind::UnknownArgument {
        return;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidArg) else {
        return;
    };
    let Some((_, here)) = HABITS.iter().find(|(option, _)| option == typed) else {
        return;
    };
    // The usage has the option in it that it looked like.
    for kind in [ContextKind::SuggestedArg, ContextKind::Usage] {
        error.remove(kind);
    }
    let tip = ContextValue::StyledStrs(vec![StyledStr::from(*here)]);
    error.insert(ContextKind::Suggested, tip);
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};
    use rstest::rstest;

    use super::*;
    use crate::cli::CommandLine;

    fn message(arguments: &[&str]) -> String {
        let mut error = CommandLine::try_parse_from(arguments).unwrap_err();
        correct(&mut error);
        error.to_string()
    }

    #[rstest]
    #[case(&["copy", "--all", "a", "b"], "tip: everything is copied")]
    #[case(&["copy", "--src-tls-verify=false", "a", "b"], "tip: use --src-insecure")]
    #[case(&["copy", "--dest-creds=user:canary", "a", "b"], "tip: use --dest-creds-file")]
    #[case(&["list-tags", "--tls-verify=false", "a"], "tip: use --insecure")]
    #[case(&["copy", "--insecure", "a", "b"], "tip: use --src-insecure or")]
    #[case(&["copy", "--platfrom", "a", "b"], "'--platform'")]
    fn an_option_of_another_tool_is_told_what_it_is_here(
        #[case] arguments: &[&str],
        #[case] expected: &str,
    ) {
        let text = message(&[&["transship"], arguments].concat());
        assert!(text.contains(expected), "{text}");
        assert!(
            !text.contains("--src-ca-file") && !text.contains("--parallel"),
            "{text}"
        );
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn what_is_recommended_exists() {
        let command = CommandLine::command();
        let options: Vec<String> = command
            .get_subcommands()
            .flat_map(clap::Command::get_arguments)
            .filter_map(|argument| argument.get_long())
            .map(|long| format!("--{long}"))
            .collect();
        for (option, here) in HABITS {
            let named = here
                .split([' ', ':', '`', '='])
                .filter(|word| word.starts_with("--") && word != option);
            for name in named {
                assert!(options.contains(&name.to_owned()), "{here}");
            }
        }
    }
}
