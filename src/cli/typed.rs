//! The command line as people type it: other words for the same commands, the same for every noun, and what to
//! run instead of a command that other products have. Also how help lists the options that every command
//! accepts.

use std::borrow::Cow;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory as _, Error, FromArgMatches as _};

use super::Cli;

/// Shown beside a command in its help.
const SHOWN: [(&str, &str); 2] = [("list", "ls"), ("remove", "rm")];

/// Other words for a command, under whatever noun it is.
const WORDS: [(&str, &[&str]); 9] = [
    ("add", &["create", "new", "register"]),
    ("show", &["get", "describe", "info"]),
    ("edit", &["update", "set", "modify"]),
    ("remove", &["delete", "del"]),
    ("suspend", &["disable", "deactivate"]),
    ("resume", &["enable", "activate", "unsuspend"]),
    ("rotate", &["renew", "roll"]),
    ("check", &["validate", "test"]),
    ("inspect", &["decode"]),
];

/// Other words for a command under one noun.
const OF_NOUN: [(&str, &str, &[&str]); 5] = [
    ("credential", "revoke", &["remove", "rm", "delete"]),
    ("delegation", "revoke", &["remove", "rm", "delete"]),
    ("administrator", "revoke", &["remove", "rm", "delete"]),
    (
        "token",
        "get",
        &["create", "new", "issue", "mint", "request"],
    ),
    ("token", "verify", &["validate", "check"]),
];

/// Other words for a noun, or for a command without one.
const NOUNS: [(&str, &[&str]); 14] = [
    ("agent", &["agents", "client", "clients"]),
    ("credential", &["credentials", "cred", "creds"]),
    ("delegation", &["delegations"]),
    ("trusted-issuer", &["trusted-issuers"]),
    ("group", &["groups"]),
    ("resource", &["resources", "audience", "audiences"]),
    ("role", &["roles"]),
    ("token", &["tokens"]),
    ("key", &["keys"]),
    ("audit", &["log", "logs", "events"]),
    ("administrator", &["administrators", "admin", "admins"]),
    ("serve", &["server", "start", "run"]),
    ("healthcheck", &["health", "status"]),
    ("completions", &["completion"]),
];

/// What to run instead of an unknown command: the noun before it (empty: none), the words, and the remedy.
const INSTEAD: [(&str, &[&str], &str); 15] = [
    (
        "agent",
        &["revoke", "block", "ban", "kill", "stop", "terminate"],
        "`firman agent suspend NAME` stops an agent; `firman credential revoke AGENT ID` ends one credential, `firman token revoke JTI` one token",
    ),
    (
        "agent",
        &["rotate", "renew", "rekey"],
        "`firman credential rotate AGENT`",
    ),
    (
        "agent",
        &["grant", "assign", "allow"],
        "`firman agent edit NAME --add-role ROLE`",
    ),
    ("agent", &["token", "login"], "`firman token get`"),
    (
        "role",
        &["grant", "allow"],
        "`firman role edit NAME --grant RESOURCE=SCOPES`",
    ),
    (
        "role",
        &["assign", "give"],
        "`firman agent edit AGENT --add-role NAME`",
    ),
    (
        "group",
        &["join", "add-member", "assign"],
        "`firman agent edit AGENT --add-group NAME`",
    ),
    ("group", &["members"], "`firman group show NAME`"),
    (
        "token",
        &["refresh", "renew"],
        "`firman token get` gets a new one, with `--watch` again and again",
    ),
    (
        "key",
        &["add", "create", "new", "generate"],
        "`firman key rotate` publishes new signing keys; an agent's own key: `firman credential add AGENT --generate-key FILE`",
    ),
    (
        "audit",
        &["tail", "follow", "watch"],
        "`firman audit list --follow`",
    ),
    (
        "",
        &["init", "setup", "install"],
        "`firman serve` creates what it needs at its first start; `firman quickstart` shows every step",
    ),
    (
        "",
        &["login", "auth", "whoami"],
        "no login is needed: commands read the admin token from `FIRMAN_ADMIN_TOKEN` or from the data directory",
    ),
    (
        "",
        &["user", "users", "people"],
        "`firman agent add` registers an agent; people come from a trusted issuer: `firman trusted-issuer add`",
    ),
    (
        "",
        &["scope", "scopes", "permission", "permissions"],
        "scopes belong to a resource: `firman resource edit NAME --add-scope SCOPES`",
    ),
];

/// Verbs that may be typed before a noun, and the command that each means.
const VERBS: [(&str, &str); 12] = [
    ("create", "add"),
    ("add", "add"),
    ("get", "show"),
    ("describe", "show"),
    ("show", "show"),
    ("delete", "remove"),
    ("rm", "remove"),
    ("remove", "remove"),
    ("ls", "list"),
    ("list", "list"),
    ("edit", "edit"),
    ("update", "edit"),
];

/// The same for options.
const OPTIONS_INSTEAD: [(&str, &str); 3] = [
    ("--json", "`--output json`"),
    ("--format", "`--output json` or `--output table`"),
    ("--force-yes", "`--yes`"),
];

/// Commands that cannot be undone are never suggested.
const IRREVERSIBLE: [&str; 2] = ["remove", "revoke"];

/// Every command with its other words.
pub(super) fn spelled() -> Command {
    Cli::command().mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        let others = named(&NOUNS, &name);
        with_verbs(command.aliases(others), &name)
    })
}

fn with_verbs(command: Command, noun: &str) -> Command {
    command.mut_args(with_short_yes).mut_subcommands(|verb| {
        let name = verb.get_name().to_owned();
        let of_noun = OF_NOUN
            .iter()
            .find(|(of, known, _)| *of == noun && *known == name)
            .map_or(&[][..], |(_, _, words)| words);
        let mut verb = verb.aliases(named(&WORDS, &name).iter().chain(of_noun).copied());
        if let Some((_, shown)) = SHOWN.iter().find(|(known, _)| *known == name) {
            verb = verb.visible_alias(*shown);
        }
        with_verbs(verb, &name)
    })
}

/// The command tree as help shows it: global options appear once, in the help of the program itself. They are accepted
/// everywhere; completions and manual pages list them from [`spelled`].
fn with_global_options_once(command: Command) -> Command {
    let globals = command.get_arguments().filter(|arg| arg.is_global_set());
    let version = Arg::new("version")
        .short('V')
        .long("version")
        .action(ArgAction::Version);
    let hidden: Vec<Arg> = globals
        .cloned()
        .chain([version])
        .map(|arg| arg.hide(true))
        .collect();
    command.mut_subcommands(|below| without(&hidden, below))
}

fn without(hidden: &[Arg], command: Command) -> Command {
    // A command may have its own meaning for one of them.
    let own = |arg: &&Arg| {
        command
            .get_arguments()
            .any(|own| own.get_id() == arg.get_id())
    };
    let inherited: Vec<Arg> = hidden.iter().filter(|arg| !own(arg)).cloned().collect();
    command
        .disable_version_flag(true)
        .args(inherited)
        .help_template(BELOW)
        .mut_subcommands(|below| without(hidden, below))
}

/// The help of a command, with a pointer to the options that it does not list.
const BELOW: &str = "{before-help}{about-with-newline}
{usage-heading} {usage}

{all-args}{after-help}

Global options: firman --help";

fn with_short_yes(arg: Arg) -> Arg {
    if arg.get_long() == Some("yes") {
        arg.short('y')
    } else {
        arg
    }
}

fn named<'w>(list: &[(&str, &'w [&'w str])], name: &str) -> &'w [&'w str] {
    list.iter()
        .find(|(known, _)| *known == name)
        .map_or(&[], |(_, words)| words)
}

/// The meaning of a command line.
pub(super) enum Typed {
    /// A command.
    Command(Box<Cli>),
    /// `firman version`.
    Version,
}

/// Reads a command line; `args` begin with the program's name.
///
/// # Errors
/// An invalid command line, or a request for help.
pub(super) fn parse<T: Into<OsString> + Clone>(
    args: impl IntoIterator<Item = T>,
) -> Result<Typed, Error> {
    let command = || {
        let version = Command::new("version")
            .about("Print the version")
            .hide(true);
        with_global_options_once(spelled()).subcommand(version)
    };
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let mut matches = command().try_get_matches_from(with_help_asked_for(args))?;
    if matches.subcommand_name() == Some("version") {
        return Ok(Typed::Version);
    }
    let cli = Cli::from_arg_matches_mut(&mut matches);
    cli.map(|cli| Typed::Command(Box::new(cli)))
        .map_err(|error| error.format(&mut command()))
}

/// `firman help agent add` and `firman agent help add` as `firman agent add --help`: the word counts where a
/// command is expected.
fn with_help_asked_for(mut args: Vec<OsString>) -> Vec<OsString> {
    let root = spelled();
    let mut command = &root;
    for at in 1..args.len() {
        let Some(word) = args[at].to_str() else { break };
        if word == "help" && command.has_subcommands() {
            args.remove(at);
            args.push("--help".into());
            break;
        }
        match command.find_subcommand(word) {
            Some(below) => command = below,
            None => break,
        }
    }
    args
}

/// What to run instead of the command line `args`, which begins with the program's name. The error's own
/// suggestions stay if they can be undone, by the names that help lists.
pub(super) fn instead(error: &mut Error, args: &[OsString]) -> Option<Cow<'static, str>> {
    let text = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    };
    let kind = error.kind();
    if kind == ErrorKind::UnknownArgument {
        let typed = text(ContextKind::InvalidArg);
        let name = typed.split(['=', ' ']).next().unwrap_or_default();
        let hint = OPTIONS_INSTEAD.iter().find(|(option, _)| *option == name);
        return hint.map(|(_, hint)| Cow::Borrowed(*hint));
    }
    if kind != ErrorKind::InvalidSubcommand {
        return None;
    }
    let typed = text(ContextKind::InvalidSubcommand);
    let usage = text(ContextKind::Usage);
    let nouns = nouns_of(&usage);
    let noun = nouns.last().copied().unwrap_or_default();
    let hint = INSTEAD
        .iter()
        .find(|(of, words, _)| *of == noun && words.contains(&typed.as_str()))
        .map(|(_, _, hint)| Cow::Borrowed(*hint));
    let is_verb =
        noun.is_empty() && (typed == "ps" || VERBS.iter().any(|(verb, _)| *verb == typed));
    let hint = hint.or_else(|| is_verb.then(|| noun_first(&typed, args)).flatten());
    let similar = match error.remove(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::String(word)) => vec![word],
        Some(ContextValue::Strings(words)) => words,
        _ => Vec::new(),
    };
    let names = suggested(&nouns, &similar);
    if hint.is_none() && !is_verb && !names.is_empty() {
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(names),
        );
    }
    hint
}

/// `firman agent list` for `list agents`, and for a bare `list`.
fn noun_first(verb: &str, args: &[OsString]) -> Option<Cow<'static, str>> {
    let root = spelled();
    let is_list = ["ls", "list", "ps"].contains(&verb);
    let mut words = args.iter().skip(1).filter_map(|arg| arg.to_str());
    let next = words.find(|word| *word == verb).and_then(|_| words.next());
    let Some(next) = next.filter(|word| !word.starts_with('-')) else {
        return is_list.then_some(Cow::Borrowed("`firman agent list`"));
    };
    let noun = root.find_subcommand(next)?;
    let name = VERBS.iter().find(|(word, _)| *word == verb)?.1;
    let command = noun
        .find_subcommand(verb)
        .or_else(|| noun.find_subcommand(name))?;
    Some(format!("`firman {} {}`", noun.get_name(), command.get_name()).into())
}

/// The names of the commands below `nouns` that `words` mean, each once, without those that cannot be undone.
fn suggested(nouns: &[&str], words: &[String]) -> Vec<String> {
    let root = spelled();
    let below = nouns
        .iter()
        .try_fold(&root, |command, noun| command.find_subcommand(noun));
    let mut names: Vec<String> = words
        .iter()
        .filter_map(|word| Some(below?.find_subcommand(word)?.get_name().to_owned()))
        .filter(|name| !IRREVERSIBLE.contains(&name.as_str()))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// `key consumer` of `Usage: firman key consumer [OPTIONS] <COMMAND>`.
fn nouns_of(usage: &str) -> Vec<&str> {
    let words = usage
        .split_whitespace()
        .skip_while(|word| *word != "firman");
    let nouns = words
        .skip(1)
        .take_while(|word| !word.starts_with(['[', '<']));
    nouns.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> (String, Option<Cow<'static, str>>) {
        let Err(mut error) = parse(line.split(' ')) else {
            panic!("{line} was accepted");
        };
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let hint = instead(&mut error, &args);
        (error.render().to_string(), hint)
    }

    #[test]
    fn the_command_line_is_well_formed_with_all_its_words() {
        spelled().debug_assert();
    }

    #[test]
    fn commands_are_found_by_the_words_of_other_products() {
        for line in [
            "firman agents ls",
            "firman client create a --owner o --secret",
            "firman agent get a",
            "firman agent rm a -y",
            "firman agent delete a --yes",
            "firman agent update a --owner o",
            "firman agent disable a",
            "firman agent enable a",
            "firman group ls",
            "firman group new g",
            "firman group rm g -y",
            "firman role ls",
            "firman role describe r",
            "firman role rm r -y",
            "firman resource ls",
            "firman resource rm r -y",
            "firman trusted-issuer ls",
            "firman trusted-issuer rm t -y",
            "firman delegation ls",
            "firman delegation rm d -y",
            "firman admin ls",
            "firman admin rm a -y",
            "firman key ls",
            "firman key consumer ls",
            "firman key consumer rm c -y",
            "firman key consumer create c",
            "firman logs ls",
            "firman start",
            "firman status",
            "firman config validate",
            "firman version",
        ] {
            assert!(parse(line.split(' ')).is_ok(), "{line}");
        }
    }

    #[test]
    fn the_word_help_is_the_option_help() {
        for line in [
            "firman help",
            "firman help agent",
            "firman help agent add",
            "firman agent help add",
            "firman agent add --help",
        ] {
            let error = parse(line.split(' ')).err().expect("help");
            assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_undone_is_not_suggested() {
        for line in [
            "firman agent revoke a",
            "firman group remov g",
            "firman group reomve g",
            "firman credential revok a",
            "firman key revok k",
        ] {
            let (text, _) = said(line);
            let tip = text.lines().find(|line| line.contains("tip:"));
            let tip = tip.unwrap_or_default();
            assert!(!tip.contains("'re"), "{line}: {text}");
        }
        assert!(said("firman agent lst").0.contains("'list'"));
    }

    #[test]
    fn words_of_other_products_lead_to_a_command() {
        for (line, expected) in [
            ("firman agent revoke a", "firman agent suspend NAME"),
            ("firman agent rotate a", "firman credential rotate"),
            ("firman role assign r", "firman agent edit AGENT --add-role"),
            ("firman audit tail", "firman audit list --follow"),
            ("firman key generate", "firman key rotate"),
            ("firman init", "firman serve"),
            ("firman login", "FIRMAN_ADMIN_TOKEN"),
            ("firman agent list --json", "--output json"),
        ] {
            let hint = said(line).1.unwrap_or_default();
            assert!(hint.contains(expected), "{line}: {hint}");
        }
    }

    #[test]
    fn a_verb_before_its_noun_leads_to_the_command() {
        for (line, expected) in [
            ("firman create agent", "`firman agent add`"),
            ("firman get agents", "`firman agent show`"),
            ("firman -o json describe roles r", "`firman role show`"),
            ("firman delete group g", "`firman group remove`"),
            ("firman rm credential a", "`firman credential revoke`"),
            ("firman update resource r", "`firman resource edit`"),
            ("firman list agents", "`firman agent list`"),
            ("firman get token", "`firman token get`"),
            ("firman create token", "`firman token get`"),
            ("firman add trusted-issuer t", "`firman trusted-issuer add`"),
            ("firman ls", "`firman agent list`"),
            ("firman list", "`firman agent list`"),
            ("firman ps", "`firman agent list`"),
            ("firman list --all", "`firman agent list`"),
            ("firman agent rotate a", "`firman credential rotate AGENT`"),
        ] {
            let (text, hint) = said(line);
            assert_eq!(hint.as_deref(), Some(expected), "{line}");
            assert!(!text.contains("tip:"), "{line}: {text}");
        }
        for line in [
            "firman show",
            "firman edit nonesuch",
            "firman rm quickstart",
        ] {
            let (text, hint) = said(line);
            assert_eq!(hint, None, "{line}");
            assert!(!text.contains("tip:"), "{line}: {text}");
        }
    }

    #[test]
    fn no_word_leads_to_two_commands() {
        fn check(command: &Command) {
            let mut words: Vec<&str> = command
                .get_subcommands()
                .flat_map(|sub| std::iter::once(sub.get_name()).chain(sub.get_all_aliases()))
                .collect();
            let count = words.len();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), count, "below {}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&spelled());
    }

    #[test]
    fn every_command_says_what_it_is_for_and_ends_with_examples_that_parse() {
        fn check(command: &Command, path: &str, faults: &mut Vec<String>) {
            let about = command.get_about().map(ToString::to_string);
            let about = about.unwrap_or_default();
            if about.is_empty() || about.lines().count() != 1 || about.ends_with('.') {
                faults.push(format!("{path}: the about `{about}`"));
            }
            let after = command.get_after_help().map(ToString::to_string);
            let after = after.unwrap_or_default();
            let examples = after
                .split_once("Examples:\n")
                .or_else(|| after.split_once("Example:\n"))
                .map_or("", |(_, lines)| lines);
            let begins = format!("{path} ");
            if !examples
                .lines()
                .any(|line| format!("{line} ").contains(&begins))
            {
                faults.push(format!("{path}: no example"));
            }
            for line in examples.lines() {
                faults.extend(fault_of(line));
            }
            for below in command.get_subcommands() {
                let path = format!("{path} {}", below.get_name());
                check(below, &path, faults);
            }
        }
        let mut faults = Vec::new();
        for below in spelled().get_subcommands() {
            check(below, &format!("firman {}", below.get_name()), &mut faults);
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    /// Why a line of examples does not parse. Variables before it and a pipe after it are the shell's.
    fn fault_of(line: &str) -> Option<String> {
        let at = line.find("firman ")?;
        let command = line[at..].split(['|', '>', '<']).next()?;
        let error = parse(shell_words(command)).err()?;
        Some(format!("{line}: {}", error.kind()))
    }

    /// Words as a shell splits them, without its expansions.
    fn shell_words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quote = None;
        for c in line.trim().chars() {
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), _) if open == c => quote = None,
                (None, ' ') => words.push(String::new()),
                (None | Some(_), _) => words.last_mut().expect("one word").push(c),
            }
        }
        words
    }

    #[test]
    fn global_options_are_listed_once_and_accepted_everywhere() {
        let help = |line: &str| {
            let error = parse(line.split(' ')).err().expect("help");
            error.render().to_string()
        };
        assert!(help("firman --help").contains("--data-dir <DIR>"));
        for line in ["firman agent --help", "firman agent add --help"] {
            let text = help(line);
            assert!(!text.contains("--data-dir"), "{text}");
            assert!(!text.contains("--version"), "{text}");
            assert!(
                text.ends_with("\nGlobal options: firman --help\n"),
                "{text}"
            );
        }
        assert!(parse("firman agent list --output json --data-dir x".split(' ')).is_ok());
        let version = parse("firman agent list --version".split(' ')).err();
        assert_eq!(
            version.map(|error| error.kind()),
            Some(ErrorKind::DisplayVersion)
        );
    }
}
